"""What models of reconstructed particles look at: contracts with units, batches, observations, public checkpoints."""
