"""Deposits as integers of 16 and 8 bits: the arithmetic of the project's own sample format."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LOG_STEP",
    "POSITION_STEP",
    "decode_log",
    "decode_position",
    "difference",
    "encode_log",
    "encode_position",
    "merge",
    "restore",
]

POSITION_STEP: Final = 230.4 / 65536
"""Position quantum, cm (35 micrometres); a coordinate decodes to the middle of its quantum."""

LOG_STEP: Final = 0.002
"""Quantum of the logarithm of energy and length: each is right to 0.1%."""

SMALLEST: Final = 1.0e-6
"""Value of code 1, MeV or cm; code 0 is exactly 0 and smaller positive values become this."""

U16 = NDArray[np.uint16]


def encode_position(value: NDArray[np.float64]) -> U16:
    """Return uint16 codes of coordinates in [0, 230.4) cm."""
    return np.floor(value / POSITION_STEP).clip(0, 65535).astype(np.uint16)


def decode_position(code: U16) -> NDArray[np.float32]:
    """Return float32 cm: the middle of each quantum."""
    return ((code.astype(np.float64) + 0.5) * POSITION_STEP).astype(np.float32)


def encode_log(value: NDArray[np.float64]) -> U16:
    """Return uint16 codes: 0 for 0, else 1 + round(ln(value / SMALLEST) / LOG_STEP)."""
    safe = np.maximum(value, SMALLEST)
    code = 1.0 + np.rint(np.log(safe / SMALLEST) / LOG_STEP)
    return np.where(value > 0.0, code.clip(1, 65535), 0.0).astype(np.uint16)


def decode_log(code: U16) -> NDArray[np.float32]:
    """Return float32 MeV or cm for codes of ``encode_log``."""
    value = SMALLEST * np.exp((code.astype(np.float64) - 1.0) * LOG_STEP)
    return np.where(code > 0, value, 0.0).astype(np.float32)


def difference(code: U16, offsets: NDArray[np.int64]) -> U16:
    """Return each code minus the one before it in its event, modulo 2^16; the first stays itself."""
    result = code.copy()
    result[1:] -= code[:-1]
    first = offsets[:-1][np.diff(offsets) > 0]
    result[first] = code[first]
    return result


def restore(step: U16, offsets: NDArray[np.int64]) -> U16:
    """Undo ``difference``: running sums modulo 2^16 that begin anew in each event."""
    total = np.cumsum(step, dtype=np.uint16)
    before = np.concatenate([np.zeros(1, dtype=np.uint16), total])[offsets[:-1]]
    return np.asarray(total - np.repeat(before, np.diff(offsets)), dtype=np.uint16)


def merge(
    groups: NDArray[np.int64],
    position: NDArray[np.float64],
    energy: NDArray[np.float64],
    length: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Merge steps of equal group: energies and lengths add, positions are the energy-weighted mean.

    Energy and the mean dE/dx of the group are conserved exactly.

    Args:
        groups: int64 (step,), group number.
        position: float64 (step, 3).
        energy: float64 (step,), positive.
        length: float64 (step,).

    Returns:
        The row of the first step of each group, ascending, and the merged position, energy and length.
    """
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    member = rank[member]
    count = len(order)
    total = _sum(member, energy, count)
    weighted = [_sum(member, energy * position[:, axis], count) for axis in range(3)]
    middle = np.stack(weighted, axis=1) / total[:, None]
    return first[order], middle, total, _sum(member, length, count)


def _sum(member: NDArray[np.int64], value: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return float64 (count,): ``value`` summed over the rows of each member."""
    return np.bincount(member, weights=value, minlength=count).astype(np.float64)
