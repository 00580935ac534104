"""One TOML file to one run folder."""
