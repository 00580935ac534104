"""How much say an update has. One file, one weighting; its name is its name in a study."""
