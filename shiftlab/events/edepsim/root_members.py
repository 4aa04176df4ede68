"""Vectors of objects as ROOT stores them member by member: all values of one member, then all of the next.

ROOT writes a ``std::vector`` of objects inside a split branch in this way unless told otherwise (bit 14 of the
version number says so), and uproot does not read it. The layout, big-endian: four bytes with the length of what
follows (bit 30 set), two of version, two of the class's own version, and for each vector its number of objects in
four bytes, then one column per member, in the order of the class's streamer information in the file. Columns of
``std::vector`` and ``std::string`` have a length and version of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["FOUR_VECTOR", "WIDTHS", "first_of_lists", "four_vectors", "members"]

_LENGTH = 0x3FFFFFFF
_MEMBER_WISE = 0x4000

_OBJECT: Final = np.dtype({"names": ["version"], "formats": [">u2"], "offsets": [0], "itemsize": 10})
_THREE_VECTOR: Final = np.dtype(
    {
        "names": ["head", "x", "y", "z"],
        "formats": [">u4", ">f8", ">f8", ">f8"],
        "offsets": [0, 16, 24, 32],
        "itemsize": 40,
    }
)
FOUR_VECTOR: Final = np.dtype(
    {
        "names": ["head", "x", "y", "z", "e"],
        "formats": [">u4", ">f8", ">f8", ">f8", ">f8"],
        "offsets": [0, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""A TLorentzVector in the file: length, version, TObject, the same for its TVector3, then x, y, z and t or E."""

WIDTHS: Final[Mapping[str, np.dtype[Any] | None]] = {
    "TObject": _OBJECT,
    "int": np.dtype(">i4"),
    "float": np.dtype(">f4"),
    "double": np.dtype(">f8"),
    "TVector3": _THREE_VECTOR,
    "TLorentzVector": FOUR_VECTOR,
    "vector<int>": None,
    "string": None,
}
"""Type of one value of a member in the file, by the member's C++ type; None where it varies in length."""

_HEADS: Final = {"TVector3": 0x40000000 | 36, "TLorentzVector": 0x40000000 | 60}


def members(
    data: NDArray[np.uint8], count: int, layout: Sequence[tuple[str, str]], where: str
) -> list[dict[str, NDArray[Any]]]:
    """Return the columns of each of ``count`` vectors of objects.

    Args:
        data: uint8 (byte,), one entry of the branch.
        count: How many vectors the entry holds.
        layout: Name and C++ type of each member, in the order of the streamer information.
        where: File, branch and entry, for messages.

    Returns:
        For each vector, an array per member; members of varying length come as the int32 values of all objects.

    Raises:
        DataError: a type that is not known, or bytes that are not laid out so.
    """
    for name, kind in layout:
        if kind not in WIDTHS:
            raise DataError(f"{where}: member '{name}' is of type {kind}; known are {', '.join(WIDTHS)}.")
    if count == 0 and len(data) == 0:
        return []
    content = data.tobytes()
    version = int.from_bytes(content[4:6], "big")
    if len(content) < 8 or int.from_bytes(content[:4], "big") & _LENGTH != len(content) - 4:
        raise DataError(f"{where}: its length is not what it says: damaged.")
    if not version & _MEMBER_WISE:
        raise DataError(f"{where}: not stored member by member, ROOT's default; write it with that default.")
    at = 8 if content[6:8] != b"\0\0" else 12  # a class without a version has a checksum instead
    found = []
    for _ in range(count):
        size = int.from_bytes(content[at : at + 4], "big")
        columns, at = _columns(content, at + 4, size, layout, where)
        found.append(columns)
    if at != len(content):
        raise DataError(f"{where}: {len(content) - at} bytes too many for {count} vectors: damaged.")
    return found


def _columns(
    content: bytes, at: int, size: int, layout: Sequence[tuple[str, str]], where: str
) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the columns of one vector of ``size`` objects, and where it ends."""
    columns: dict[str, NDArray[Any]] = {}
    for name, kind in layout:
        width = WIDTHS[kind]
        if size == 0:
            columns[name] = np.empty(0, dtype=width or ">i4")
            continue
        own = (int.from_bytes(content[at : at + 4], "big") & _LENGTH) + 4
        length = own if width is None else size * width.itemsize
        if length < 6 * (width is None) or at + length > len(content):
            raise DataError(f"{where}: member '{name}' ends after the entry does: damaged.")
        if width is not None:
            columns[name] = np.frombuffer(content, width, size, at)
            if kind in _HEADS and np.any(columns[name]["head"] != _HEADS[kind]):
                raise DataError(f"{where}: member '{name}' is not a {kind} as ROOT has written it since 1999.")
        elif kind == "vector<int>":
            columns[name] = np.frombuffer(content, ">i4", (length - 6) // 4, at + 6)
        at += length
    return columns, at


def first_of_lists(flat: NDArray[np.int32], size: int, where: str) -> NDArray[np.int64]:
    """Return the first value (int64) of each of ``size`` lists that follow each other as (length, values...).

    Raises:
        DataError: a list is empty, or they do not fill ``flat``.
    """
    values, first, at = flat.tolist(), [], 0
    for _ in range(size):
        if at + 1 >= len(values) or values[at] < 1:
            raise DataError(f"{where}: a hit segment without a contributing particle.")
        first.append(values[at + 1])
        at += 1 + values[at]
    if at != len(values):
        raise DataError(f"{where}: the lists of contributing particles do not add up: damaged.")
    return np.array(first, dtype=np.int64)


def four_vectors(data: NDArray[np.uint8], where: str) -> NDArray[np.float64]:
    """Return float64 (vector, 4), x, y, z and t or E, of an entry that holds TLorentzVectors alone.

    Raises:
        DataError: bytes that are not laid out so.
    """
    size, rest = divmod(len(data), FOUR_VECTOR.itemsize)
    rows = np.frombuffer(data.tobytes(), FOUR_VECTOR, size)
    if rest or np.any(rows["head"] != _HEADS["TLorentzVector"]):
        raise DataError(f"{where}: not a row of TLorentzVectors: damaged.")
    return np.stack([rows[name] for name in "xyze"], axis=1).astype(np.float64)
