"""How far a shift moves a network's features, without any label: drift per layer, and whether it tells of harm."""
