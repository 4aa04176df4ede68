"""Names of events that a file does not name: a hash of the file's content, and a key for each row under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.events.keys import identity

__all__ = ["content_name", "ends", "row_keys"]

_SAMPLED = 256


def content_name(format: str, arrays: Iterable[NDArray[np.generic]]) -> str:
    """Return ``format/number`` from arrays of the file, say the first and last rows of each of its datasets."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(f"{array.shape}{array.dtype.kind}{array.dtype.itemsize}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return f"{format}/{identity(format, total.hexdigest())}"


def ends(length: int) -> tuple[slice, slice]:
    """Return the rows of a dataset that stand for it: its first and its last 256."""
    return slice(0, min(_SAMPLED, length)), slice(max(0, length - _SAMPLED), length)


def row_keys(name: str, rows: NDArray[np.int64]) -> Tensor:
    """Return int64 (row,): the key of each row number under a name; no two rows of a file have the same.

    A key is the row number, displaced by the hash of the name and mixed with the finaliser of splitmix64 (Steele,
    Lea and Flood 2014), which is one-to-one. A million take milliseconds, where a hash of text takes seconds.
    """
    with np.errstate(over="ignore"):
        z = rows.astype(np.uint64) + np.uint64(identity(name) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return torch.from_numpy(z.view(np.int64))
