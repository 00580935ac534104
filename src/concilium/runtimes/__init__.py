"""How the clients of one machine are run: one file, one way. All give the same answers."""
