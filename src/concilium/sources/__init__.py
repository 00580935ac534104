"""Where exams come from. One file, one format; its name is the source's name in a study."""
