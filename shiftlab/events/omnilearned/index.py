"""OmniLearned's ``file_index.npy``: which file of a folder, and which of its rows, each event is.

OmniLearned numbers a folder's files in the order in which the operating system lists them, and the index does not
record their names (``load_data`` in its ``dataloader.py``). The same order is used here, and an index that does not fit
the files in that order is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.provenance import write_whole

__all__ = ["index_files", "is_index", "read_index", "runs", "write_file_index"]

_NAME = "file_index.npy"


def index_files(folder: Path) -> list[Path]:
    """Return the HDF5 files of a folder in OmniLearned's order: ``*.h5`` as listed, then ``*.hdf5`` as listed."""
    return [*folder.glob("*.h5"), *folder.glob("*.hdf5")]


def is_index(path: Path) -> bool:
    """Say whether a file is a NumPy array of whole numbers with two columns."""
    with path.open("rb") as stream:
        if stream.read(6) != np.lib.format.MAGIC_PREFIX:
            return False
    try:
        index = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError):
        return False
    return isinstance(index, np.ndarray) and index.ndim == 2 and index.shape[1] == 2 and index.dtype.kind in "iu"


def read_index(path: Path, files: list[tuple[Path, int]]) -> NDArray[Any]:
    """Return the index (event, 2), mapped from disk.

    Args:
        path: The index.
        files: Path and number of events of each file, in OmniLearned's order.

    Raises:
        DataError: it points at a file or row that is not there.
    """
    index: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    lengths = np.array([length for _, length in files])
    for first in range(0, len(index), 1 << 20):
        file, row = index[first : first + (1 << 20)].T.astype(np.int64)
        bad = (file < 0) | (file >= len(files))
        bad |= (row < 0) | (row >= lengths[np.where(bad, 0, file)])
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            known = ", ".join(f"{i} {name.name} ({length} events)" for i, (name, length) in enumerate(files))
            raise DataError(
                f"{path}: row {first + at}: file {file[at]}, event {row[at]}; there are {known}, in the order in which "
                "this machine lists them. Delete the index and write it anew if the files were copied."
            )
    return index


def runs(index: NDArray[Any]) -> list[tuple[int, int, int]]:
    """Return (file, first, last) for each run of consecutive rows of one file, in the order of the index."""
    file, row = index.T.astype(np.int64)
    starts = np.flatnonzero((np.diff(file, prepend=-1) != 0) | (np.diff(row, prepend=-2) != 1))
    stops = np.append(starts[1:], len(row))
    return [
        (int(file[start]), int(row[start]), int(row[stop - 1]) + 1) for start, stop in zip(starts, stops, strict=True)
    ]


def write_file_index(folder: str | Path) -> Path:
    """Write the index of every event of a folder's HDF5 files, whole or not at all, and return its path.

    Raises:
        DataError: the folder has no such file, or one has no ``data`` or more rows than int32 can count.
        RunError: the index cannot be written.
    """
    folder, pieces = Path(folder), []
    for number, path in enumerate(index_files(folder)):
        try:
            with h5py.File(path, "r") as file:
                length = len(file["data"])
        except (OSError, KeyError, TypeError) as error:
            raise DataError(f"{path}: no dataset 'data' can be read ({error}).") from error
        if length > np.iinfo(np.int32).max:
            raise DataError(f"{path}: {length} events; the index counts to {np.iinfo(np.int32).max}.")
        pieces.append(np.stack([np.full(length, number), np.arange(length)], axis=1).astype(np.int32))
    if not pieces:
        raise DataError(f"{folder}: no files *.h5 or *.hdf5.")
    with write_whole(folder / _NAME) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.concatenate(pieces), allow_pickle=False)
    return folder / _NAME
