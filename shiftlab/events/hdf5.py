"""HDF5 tables read by column name, with errors that say which file, table and column is at fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError, nearest

__all__ = ["columns", "event_rows", "open_hdf5", "overlap", "refuse_values", "table"]


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is not HDF5, is truncated, or breaks off while it is read.
    """
    if not h5py.is_hdf5(path):
        raise DataError(f"{path}: not an HDF5 file.")
    try:
        with h5py.File(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: truncated or damaged HDF5 file ({error}).") from error


def overlap(path: Path, name: str, wanted: Sequence[str]) -> float:
    """Return which fraction of the wanted columns the compound dataset ``name`` has; 0 if there is none."""
    if not h5py.is_hdf5(path):
        return 0.0
    with open_hdf5(path) as file:
        dataset = file.get(name)
        have = getattr(getattr(dataset, "dtype", None), "names", None) or ()
        return len(set(wanted) & set(have)) / len(wanted)


def table(file: Any, name: str) -> Any:
    """Return the compound dataset ``name``.

    Raises:
        DataError: the file has none.
    """
    dataset = file.get(name)
    if dataset is None or getattr(dataset, "dtype", None) is None or dataset.dtype.names is None:
        raise DataError(f"{file.filename}: no table '{name}'; it has {', '.join(sorted(file)) or 'nothing'}.")
    return dataset


def columns(dataset: Any, wanted: Sequence[str], rows: slice = slice(None)) -> dict[str, NDArray[Any]]:
    """Return the wanted columns of a compound dataset, in any order that the file has them.

    Raises:
        DataError: a column is missing; the message lists those that are there.
    """
    have = dataset.dtype.names
    for name in wanted:
        if name not in have:
            close = nearest(name, have)
            hint = f" Is it '{close}'?" if close else ""
            where = f"{dataset.file.filename}: table '{dataset.name.lstrip('/')}'"
            raise DataError(f"{where} has no column '{name}'.{hint} It has {', '.join(have)}.")
    block = dataset.fields(list(wanted))[rows]
    return {name: np.ascontiguousarray(block[name]) for name in wanted}


def event_rows(dataset: Any, column: str, first: int, last: int) -> slice:
    """Return the range of rows that holds every row whose event number lies in ``first`` to ``last``."""
    numbers = columns(dataset, [column])[column]
    rows = np.flatnonzero((numbers >= first) & (numbers <= last))
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def refuse_values(dataset: Any, values: dict[str, NDArray[Any]], event: NDArray[Any], positive: Sequence[str]) -> None:
    """Refuse NaN and infinite numbers, and negative ones in the columns of ``positive``.

    Args:
        dataset: The table, for the message.
        values: Columns of the table, all of one length.
        event: Event number of each row.
        positive: Names of columns that must not be negative.

    Raises:
        DataError: naming file, table, event and column.
    """
    for name, column in values.items():
        if column.dtype.kind != "f":
            continue
        bad = ~np.isfinite(column)
        if name in positive:
            bad |= column < 0
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            where = f"{dataset.file.filename}: table '{dataset.name.lstrip('/')}', event {event[row]}"
            allowed = "a finite number, not negative" if name in positive else "a finite number"
            raise DataError(f"{where}: column '{name}' is {column[row]}; it must be {allowed}.")
