"""HDF5 files and their compound tables, with errors that say which file, table and column is at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from shiftlab.errors import DataError, nearest
from shiftlab.events.hdf5.heaps import ALWAYS, refuse_broken_heaps

__all__ = [
    "columns_of",
    "is_hdf5",
    "open_hdf5",
    "overlap",
    "reading",
    "recognised",
    "refuse_overlap",
    "refuse_short_chunks",
    "require",
    "table",
]

# What h5py raises for files that are damaged, according to which of its layers meets the damage.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError, OverflowError, SystemError)

_MOST_COMPRESSED = 2000
"""A deflate stream gives back at most 1032 bytes for one (zlib's documentation); no table is packed more tightly."""

_KINDS = {"real": "f", "integer": "iu", "text": "S", "flag": "b"}
_WORDS = {"real": "floating-point numbers", "integer": "integers", "text": "byte strings", "flag": "booleans"}


@contextmanager
def open_hdf5(path: Path, *, cache: int | None = None) -> Iterator[Any]:
    """Open an HDF5 file for reading; errors of what is done with it while it is open are the caller's own.

    Args:
        path: The file.
        cache: Bytes of decompressed chunks that each dataset keeps; None for HDF5's default.

    Raises:
        DataError: it is not HDF5, or is truncated.
    """
    if not h5py.is_hdf5(path):
        raise DataError(f"{path}: not an HDF5 file.")
    if path.stat().st_size <= ALWAYS:
        refuse_broken_heaps(path)
    with reading(path):
        file = h5py.File(path, "r", rdcc_nbytes=cache)
    with file:
        yield file


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Guard the calls of h5py that read from ``path``; nothing else belongs inside.

    Raises:
        DataError: the file breaks off or is damaged where it is read.
    """
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{path}: truncated or damaged HDF5 file ({error}).") from error


def is_hdf5(path: Path) -> bool:
    """Say whether the file has the signature of HDF5."""
    return bool(h5py.is_hdf5(path))


def recognised(path: Path, test: Callable[[Any], bool]) -> bool:
    """Say whether a file is HDF5 and, opened, passes a test.

    Raises:
        DataError: the file is HDF5 but truncated or damaged.
    """
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file, reading(path):
        return test(file)


def columns_of(file: Any, name: str) -> frozenset[str]:
    """Return the names of the columns of the compound dataset ``name``; none if there is no such."""
    return frozenset(getattr(getattr(file.get(name), "dtype", None), "names", None) or ())


def overlap(have: Set[str], wanted: Sequence[str]) -> float:
    """Return which fraction of the wanted columns is there."""
    return len(have & set(wanted)) / len(wanted)


def table(file: Any, name: str) -> Any:
    """Return the compound dataset ``name``.

    Raises:
        DataError: the file has none, or the dataset claims more rows than its bytes can hold.
    """
    with reading(file.filename):
        dataset = file.get(name)
        dtype: Any = getattr(dataset, "dtype", None)
        if not isinstance(dataset, h5py.Dataset) or dtype.names is None or dataset.ndim != 1:
            raise DataError(f"{file.filename}: no table '{name}'; it has {', '.join(sorted(file)) or 'nothing'}.")
        stored = dataset.id.get_storage_size()
    refuse_overlap(dtype, f"{file.filename}: table '{name}'")
    if len(dataset) * dtype.itemsize > _MOST_COMPRESSED * stored:
        raise DataError(
            f"{file.filename}: table '{name}' claims {len(dataset)} rows of {dtype.itemsize} bytes, "
            f"but the file holds {stored} bytes of it: truncated or damaged HDF5 file."
        )
    refuse_short_chunks(dataset, f"{file.filename}: table '{name}'")
    return dataset


def refuse_short_chunks(dataset: Any, where: str) -> None:
    """Refuse a dataset in plain chunks of which fewer bytes are stored than it has.

    Damage that hides the compression of a dataset leaves this behind; HDF5 would then give whatever was in memory.

    Raises:
        DataError: naming the dataset and both numbers.
    """
    if dataset.chunks is None or dataset.id.get_create_plist().get_nfilters():
        return
    stored = dataset.id.get_storage_size()
    if stored < dataset.nbytes:
        raise DataError(f"{where}: {stored} bytes are stored of {dataset.nbytes}: truncated or damaged HDF5 file.")


def refuse_overlap(dtype: Any, where: str) -> None:
    """Refuse columns that lie in each other's bytes, as those of a damaged type do: HDF5 would write past the rows.

    Raises:
        DataError: naming table and column.
    """
    end, before = 0, ""
    for name, (given, offset, *_) in sorted(dtype.fields.items(), key=lambda field: int(field[1][1])):
        if offset < end or offset + given.itemsize > dtype.itemsize:
            neighbour = f"'{before}'" if offset < end else "the next row"
            raise DataError(f"{where}: column '{name}' lies in the bytes of {neighbour}: damaged HDF5 file.")
        end, before = offset + given.itemsize, name


def require(dataset: Any, wanted: Mapping[str, str]) -> None:
    """Refuse a table whose columns are not those that are wanted, in any order.

    Args:
        dataset: The compound dataset.
        wanted: Kind of each column: real, integer, text, flag, or vector (three real numbers).

    Raises:
        DataError: a column is missing (the message lists those that are there) or of another type.
    """
    dtype = dataset.dtype  # worked out anew at each call
    have = dtype.names
    where = f"{dataset.file.filename}: table '{dataset.name.lstrip('/')}'"
    for name, kind in wanted.items():
        if name not in have:
            close = nearest(name, have)
            hint = f" Is it '{close}'?" if close else ""
            raise DataError(f"{where} has no column '{name}'.{hint} It has {', '.join(have)}.")
        shape = (3,) if kind == "vector" else ()
        scalar = "real" if kind == "vector" else kind
        given = dtype[name]
        if given.base.kind not in _KINDS[scalar] or given.shape != shape:
            allowed = f"three {_WORDS[scalar]} a row" if shape else _WORDS[scalar]
            raise DataError(f"{where}: column '{name}' is of type {given}; allowed: {allowed}.")
