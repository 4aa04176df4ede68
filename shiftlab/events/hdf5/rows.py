"""Rows of variable length in HDF5: what each row points at, held to the heaps before the library follows it.

A row is stored as a length, the address of a global heap and the number of an object in it. HDF5 2.0 and older follow
a damaged one out of its memory, which ends the process. Layout: HDF5 file format specification, version 3, sections
III.E (global heap) and IV.A.2.d (variable-length types).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["CHECKED", "refuse_broken_rows", "row_type"]

CHECKED: Final = 64 << 20
"""Files of at most so many bytes are checked."""

_ROW: Final = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_OBJECT: Final = struct.Struct("<H6xQ")

_NUMBERS: Final = tuple(
    getattr(h5py.h5t, name + order)
    for name in (*(f"STD_{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)), "IEEE_F32", "IEEE_F64")
    for order in ("LE", "BE")
)
"""Types of numbers that a row may have; the library does not survive some that damage makes."""


def row_type(dataset: Any) -> np.dtype[Any] | None:
    """Return the type of the numbers of a 1-D dataset of variable-length arrays; None for any other dataset."""
    kind = dataset.id.get_type() if isinstance(dataset, h5py.Dataset) and dataset.ndim == 1 else None
    if not isinstance(kind, h5py.h5t.TypeVlenID):
        return None
    # After a version of two bytes come class and version of the type, then what sort of variable length: 0, a sequence.
    if kind.encode()[3:6] != bytes(3) or not any(kind.get_super().equal(number) for number in _NUMBERS):
        return None
    found: np.dtype[Any] = np.dtype(h5py.check_vlen_dtype(dataset.dtype))
    return found


def refuse_broken_rows(path: Path, file: Any, datasets: Iterable[Any]) -> None:
    """Refuse datasets of variable-length arrays with a row that points at no object of a heap, or beyond its end.

    Files above ``CHECKED`` bytes and datasets that are compressed are passed unseen.

    Raises:
        DataError: naming the dataset and the row.
    """
    if path.stat().st_size > CHECKED:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heaps: dict[int, dict[int, int]] = {}
        base = int(file.userblock_size)
        for dataset in datasets:
            kind = row_type(dataset)
            size = 0 if kind is None else kind.itemsize
            for first, rows in _rows(dataset, content):
                # The library follows an empty row too, unless its address is 0.
                for number in np.flatnonzero((rows["length"] > 0) | (rows["address"] > 0)).tolist():
                    length, address, index = rows[number].tolist()
                    if address not in heaps:
                        heaps[address] = _objects(content, address + base)
                    if heaps[address].get(index, -1) < length * size:
                        name = dataset.name.lstrip("/")
                        raise DataError(
                            f"{path}: truncated or damaged HDF5 file (dataset '{name}', row {first + number})."
                        )


def _rows(dataset: Any, content: mmap.mmap) -> Iterator[tuple[int, NDArray[np.void]]]:
    """Give the number of the first row and the rows as they are stored, for each piece of the dataset in the file."""
    pieces: list[tuple[int, int, int]] = []
    if dataset.chunks is None:
        if dataset.id.get_offset() is not None:
            pieces.append((0, dataset.id.get_offset(), len(dataset)))
    elif dataset.id.get_create_plist().get_nfilters() == 0:
        chunks = [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]
        pieces += [(one.chunk_offset[0], one.byte_offset, dataset.chunks[0]) for one in chunks]
    for first, place, count in pieces:
        count = min(count, len(dataset) - first)
        # What lies beyond the end of the file, the library sees by itself.
        if 0 < count <= (len(content) - place) // _ROW.itemsize:
            yield first, np.frombuffer(content[place : place + count * _ROW.itemsize], dtype=_ROW)


def _objects(content: mmap.mmap, start: int) -> dict[int, int]:
    """Return the bytes of each object of the heap at ``start``, by its number; nothing if the heap is damaged."""
    if start + 16 > len(content) or content[start : start + 8] != b"GCOL\x01\x00\x00\x00":
        return {}
    end = start + int.from_bytes(content[start + 8 : start + 16], "little")
    if end > len(content):
        return {}
    found: dict[int, int] = {}
    here = start + 16
    while here + 16 <= end:
        index, size = _OBJECT.unpack_from(content, here)
        if index == 0:
            # Free space, whose size counts its header, is the last object.
            return found if 16 <= size <= end - here else {}
        if here + 16 + size > end or index in found:
            return {}
        found[index] = size
        here += 16 + (size + 7) // 8 * 8
    return found
