"""Rounds, phases, checkpoints and observers."""
