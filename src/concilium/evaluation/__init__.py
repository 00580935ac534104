"""Evaluation from sums that add up over hospitals."""
