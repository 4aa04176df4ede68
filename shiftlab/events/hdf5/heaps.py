"""Global heaps of HDF5 files, where arrays of variable length and texts lie, walked before the library walks them.

In a heap whose bytes are lost (blocks of zeros, as a copy that broke off leaves them) HDF5 2.0 and
older step from object to object by a size of 0, and never come back; nothing in Python can stop it.
The layout is section III.E of the HDF5 file format specification, version 3.
"""

from __future__ import annotations

import mmap
import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Final

from shiftlab.errors import DataError

__all__ = ["ALWAYS", "refuse_broken_heaps"]

ALWAYS: Final = 64 << 20
"""Files of at most so many bytes are walked whenever they are opened; it takes about 1 ms for each MiB, once."""

_HEAP: Final = re.compile(rb"GCOL\x01\x00\x00\x00")
_HEADER: Final = struct.Struct("<H6xQ")
"""Index, count of references and padding, size; each object of a heap begins with it."""


def refuse_broken_heaps(path: Path) -> None:
    """Refuse a file in which the HDF5 library would never come to the end of a heap.

    Raises:
        DataError: naming the place of the heap.
    """
    about = path.stat()
    place = _first_broken(path, about.st_size, about.st_mtime_ns, about.st_ino)
    if place is not None:
        raise DataError(f"{path}: truncated or damaged HDF5 file (heap of variable-length values at byte {place}).")


@lru_cache(maxsize=256)
def _first_broken(path: Path, size: int, changed: int, inode: int) -> int | None:
    """Return the place of the first heap without end; size, time and inode tell one content of a file from another."""
    if size == 0:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for found in _HEAP.finditer(content):
            if _endless(content, found.start()):
                return found.start()
    return None


def _endless(content: mmap.mmap, start: int) -> bool:
    """Say whether a step of size 0 is met on the way through the heap at ``start``."""
    if start + 16 > len(content):
        return False
    (size,) = struct.unpack_from("<Q", content, start + 8)
    end = start + size
    if end > len(content):
        return False  # the library sees this by itself
    here = start + 16
    while here + 16 <= end:
        index, length = _HEADER.unpack_from(content, here)
        # Object 0 is the free space, whose size counts its header; the others are padded to 8 bytes.
        step = length if index == 0 else (16 + (length + 7) // 8 * 8) % 2**64
        if step == 0:
            return True
        here += step
    return False
