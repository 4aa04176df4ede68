"""Images to train on: nominal, with labels, in memory or mapped from a file."""
