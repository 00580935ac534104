"""A shim: what runs is the installed package."""
