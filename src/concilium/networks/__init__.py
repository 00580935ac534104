"""Image encoders with a linear head. One file, one network; its name is its name in a study."""
