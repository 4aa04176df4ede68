"""Own samples: generator vertices, composed topologies and particle guns, carried through argon or polystyrene."""
