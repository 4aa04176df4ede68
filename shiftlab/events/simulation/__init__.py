"""Own samples: Achilles neutrino vertices and particle guns, carried through liquid argon by Geant4."""
