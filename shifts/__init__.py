"""The catalogue of detector effects, one file per effect."""
