"""Public sensor-level models: their units, their packages and their checkpoint files."""
