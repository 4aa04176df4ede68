"""Shifts of generation: the same vertices carried by another model."""
