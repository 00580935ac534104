"""A package of our own: its algorithm is used by a study without an edit of concilium."""
