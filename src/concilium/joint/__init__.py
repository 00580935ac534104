"""The joint model of all labels: which findings go together, fitted from sums."""
