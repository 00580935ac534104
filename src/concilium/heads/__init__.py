"""Exact heads from sums. One file, one head; its name is its name in a study."""
