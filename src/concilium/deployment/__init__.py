"""The same study over hospitals elsewhere: what a hospital allows, answers and remembers."""
