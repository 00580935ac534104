"""What a hospital minimises. One file, one loss; its name is its name in a study."""
