"""PILArNet-M: multi-particle events in a liquid-argon volume, as flat rows of variable length in HDF5."""

from shiftlab.events.pilarnet.reader import PilarnetReader

__all__ = ["PilarnetReader"]
