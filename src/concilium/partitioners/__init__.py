"""How exams are dealt out to hospitals. One file, one way; its name is its name in a study."""
