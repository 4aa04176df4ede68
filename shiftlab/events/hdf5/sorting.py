"""A sorted copy of a file of event tables: the same rows, those of each event together, the events ascending."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import open_hdf5, reading
from shiftlab.provenance import write_whole

__all__ = ["sort_events"]

_EVENT = ("event_id", "eventID")


def sort_events(path: str | Path, target: str | Path) -> None:
    """Write a copy of an HDF5 file of tables with the rows of every table in order of their events.

    Rows of one event keep their order; nothing else changes. One table at a time is in memory.

    Args:
        path: A file of the geant4 or edepsim format.
        target: The copy; it must not exist.

    Raises:
        DataError: ``path`` cannot be read or has no table with an event column, or ``target`` exists.
        RunError: ``target`` cannot be written.
    """
    path, target = Path(path), Path(target)
    if target.exists():
        raise DataError(f"{target}: exists; a sorted copy is a new file.")
    with open_hdf5(path) as old, write_whole(target) as temporary, h5py.File(temporary, "w") as new:
        with reading(path):
            names = [name for name in old if getattr(getattr(old[name], "dtype", None), "names", None)]
            columns = {name: next((c for c in _EVENT if c in old[name].dtype.names), None) for name in names}
        if not any(columns.values()):
            raise DataError(f"{path}: no table with a column {' or '.join(_EVENT)}; it has {', '.join(sorted(old))}.")
        for name, column in columns.items():
            with reading(path):
                rows, chunks, packing = old[name][...], old[name].chunks, old[name].compression
            if column is not None:
                rows = rows[np.argsort(rows[column], kind="stable")]
            new.create_dataset(name, data=rows, chunks=chunks if len(rows) else None, compression=packing)
        with reading(path):
            new.attrs.update({name: old.attrs[name] for name in old.attrs})
