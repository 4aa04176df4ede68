"""Uids of vertices in few bytes: the first one and the gaps to the next, each in as many bytes as the widest needs."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError

__all__ = ["packed", "uids_digest", "unpacked"]

_SIGN: Final = np.uint64(1 << 63)


def packed(uids: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    """Return ascending uids as two arrays for a safetensors file, exactly.

    Uids are hashes over 64 bits; of n sorted ones the gaps are near 2^64 / n, so that 100,000 take 7 bytes each.

    Args:
        uids: int64 (vertex,), ascending, none twice.

    Returns:
        ``first`` int64 (1,) or (0,), and ``gap`` uint8 (vertex - 1, bytes), little end first.
    """
    ordered = np.ascontiguousarray(uids, dtype=np.int64).view(np.uint64) ^ _SIGN
    gaps = np.diff(ordered)
    size = (int(gaps.max()).bit_length() + 7) // 8 if len(gaps) else 1
    columns = gaps.astype("<u8").view(np.uint8).reshape(len(gaps), 8)[:, :size]
    return {"first": np.asarray(uids[:1], dtype=np.int64), "gap": np.ascontiguousarray(columns)}


def unpacked(arrays: dict[str, NDArray[np.generic]]) -> NDArray[np.int64]:
    """Return what ``packed`` was given.

    Raises:
        ConfigError: the arrays are of another kind.
    """
    first, gap = arrays.get("first"), arrays.get("gap")
    if first is None or gap is None or first.dtype != np.int64 or gap.dtype != np.uint8 or gap.ndim != 2:
        raise ConfigError("uids of vertices: arrays 'first' (int64) and 'gap' (uint8, vertex by bytes) are wanted.")
    if len(first) > 1 or gap.shape[1] > 8 or (not len(first) and len(gap)):
        raise ConfigError(f"uids of vertices: 'first' of shape {first.shape} and 'gap' of {gap.shape} do not fit.")
    columns = np.zeros((len(gap), 8), dtype=np.uint8)
    columns[:, : gap.shape[1]] = gap
    steps = columns.view("<u8").reshape(len(gap)).astype(np.uint64)
    ordered = np.concatenate([first.view(np.uint64) ^ _SIGN, steps]).cumsum(dtype=np.uint64)
    return (ordered ^ _SIGN).view(np.int64)


def uids_digest(uids: NDArray[np.int64]) -> str:
    """Return the SHA-256 hex digest of ascending uids."""
    return hashlib.sha256(np.ascontiguousarray(uids, dtype="<i8").tobytes()).hexdigest()
