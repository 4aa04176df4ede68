"""Effects of broken read-out channels."""
