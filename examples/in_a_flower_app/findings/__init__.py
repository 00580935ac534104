"""findings: a Flower / PyTorch app."""
