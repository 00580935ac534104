"""Who takes part in a round. One file, one sampling; its name is its name in a study."""
