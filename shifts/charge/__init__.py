"""Effects on the charge that ionisation makes."""
