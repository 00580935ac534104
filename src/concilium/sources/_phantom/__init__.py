"""How the phantom is drawn: who is imaged, with which findings, and what that looks like."""
