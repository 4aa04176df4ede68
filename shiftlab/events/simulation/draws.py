"""Random numbers of a simulated event as pure functions of its names: no generator, no order, no batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["stream_starts", "uniforms"]


def _words(prefix: str, names: Iterable[str | int], count: int) -> NDArray[np.uint64]:
    """Return uint64 (name, count): BLAKE2b hashes of ``prefix/name``."""
    blocks = [hashlib.blake2b(f"{prefix}/{name}".encode(), digest_size=8 * count).digest() for name in names]
    return np.frombuffer(b"".join(blocks), dtype="<u8").reshape(-1, count).astype(np.uint64)


def uniforms(prefix: str, names: Iterable[str | int], count: int) -> NDArray[np.float64]:
    """Return float64 (name, count): numbers uniform in [0, 1), fixed by ``prefix`` and each name alone.

    Args:
        prefix: Says what the numbers are for.
        names: One row for each.
        count: Numbers a row, at most 8.
    """
    return np.asarray((_words(prefix, names, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def stream_starts(prefix: str, names: Iterable[str | int]) -> NDArray[np.uint64]:
    """Return uint64 (name, 2): where in calzone's random stream (period 2^126) each primary begins.

    Two of a million primaries that each take 10^7 numbers overlap with a chance below 10^-18.
    """
    return _words(prefix, names, 2)
