"""edep-sim: steps of Geant4 through a detector, in three HDF5 dialects and as ROOT files."""

from shiftlab.events.edepsim.reader import EdepSimReader
from shiftlab.events.edepsim.root import EdepSimRootReader

__all__ = ["EdepSimReader", "EdepSimRootReader"]
