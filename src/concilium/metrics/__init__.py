"""What is measured. One file, one metric; its name is its name in a study."""
