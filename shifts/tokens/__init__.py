"""Effects on reconstructed particles and clusters, and on the weights of events."""
