"""Federated algorithms. One file, one algorithm; its name is its name in a study."""
