"""Effects of the read-out electronics."""
