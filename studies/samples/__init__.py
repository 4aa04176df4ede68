"""The samples of the demo: one that ships, for evaluation, and the commands that make it and the training sample."""
