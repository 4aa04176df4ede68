"""Placeholder; the lazy public names come with the packaging work."""

__version__ = "0.1.0"
