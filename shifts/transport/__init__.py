"""Effects on the charge while it drifts to the anode."""
