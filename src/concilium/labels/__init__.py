"""Which findings there are, what is known of them, and how they go together."""
