"""Effects on the light of plastic-scintillator strips and on what photomultipliers make of it."""
