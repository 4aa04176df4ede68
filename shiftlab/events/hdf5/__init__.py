"""What the readers of HDF5 share: safe opening, tables whose rows belong to events, rows of variable length."""

from shiftlab.events.hdf5.file import open_hdf5, overlap, reading, refuse_overlap, require, table
from shiftlab.events.hdf5.sorting import sort_events

__all__ = ["open_hdf5", "overlap", "reading", "refuse_overlap", "require", "sort_events", "table"]
