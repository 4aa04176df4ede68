"""Deposits as integers: the arithmetic of the project's own sample format, and how exact it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import ConfigError

__all__ = [
    "LOG_STEP",
    "POSITION_STEP",
    "Box",
    "Lattice",
    "decode_direction",
    "decode_log",
    "difference",
    "encode_direction",
    "encode_log",
    "merge",
    "restore",
]

POSITION_STEP: Final = 230.4 / 65536
"""Position quantum, cm (35 micrometres); a coordinate decodes to the middle of its quantum."""

_COARSEST: Final = 0.01
"""Largest position quantum, cm; boxes whose 65536th part is more are packed in 32 bits."""

LOG_STEP: Final = 0.002
"""Quantum of the logarithm of energy and length: each is right to 0.1%."""

SMALLEST: Final = 1.0e-6
"""Value of code 1, MeV or cm; code 0 is exactly 0 and smaller positive values become this."""

_BLOCK: Final = 8192
"""Values that are decoded at a time, so that what is worked out in between stays in the processor's cache."""

U16 = NDArray[np.uint16]
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Low and high corner of a volume, cm."""


@dataclass(frozen=True)
class Lattice:
    """Positions as unsigned integers: code k of an axis is the interval [k, k + 1] * step + origin, in cm.

    Attributes:
        origin: Where code 0 begins on each axis, cm.
        step: Quantum of each axis, cm; a decoded position is right to half of it (and to float32).
        bits: 16 or 32.
    """

    origin: tuple[float, float, float]
    step: tuple[float, float, float]
    bits: int

    @classmethod
    def of_box(cls, box: Box | None) -> Lattice:
        """Return the lattice of a box: 65536 codes a side, or quanta of 35 um in 32 bits where those are too coarse.

        Without a box, codes of 32 bits reach 75 km from the file's origin, in quanta of 35 um.

        Raises:
            ConfigError: a side of the box is not between 0 and 150 km.
        """
        if box is None:
            return cls((-(2.0**31) * POSITION_STEP,) * 3, (POSITION_STEP,) * 3, 32)
        low, high = box
        sides = [top - bottom for bottom, top in zip(low, high, strict=True)]
        if not all(0.0 < side <= 2**32 * POSITION_STEP for side in sides):
            raise ConfigError(f"box = {box}: low and high corner in cm, each side more than 0 and at most 150 km.")
        if max(sides) / 65536 <= _COARSEST:
            return cls(low, (sides[0] / 65536, sides[1] / 65536, sides[2] / 65536), 16)
        return cls(low, (POSITION_STEP,) * 3, 32)

    def encode(self, position: NDArray[np.floating], axis: int) -> NDArray[Any]:
        """Return the codes of coordinates (cm) along one axis; those outside become the nearest code."""
        code = np.floor((position.astype(np.float64) - self.origin[axis]) / self.step[axis])
        return code.clip(0, 2**self.bits - 1).astype(f"u{self.bits // 8}")

    def decode(self, code: NDArray[Any], axis: int, out: NDArray[np.float32]) -> None:
        """Write to ``out`` float32 cm: the middle of each quantum, worked out in float64 and rounded once."""
        origin, step = self.origin[axis], self.step[axis]
        room = np.empty(min(_BLOCK, len(code)))
        for first in range(0, len(code), _BLOCK):
            here = slice(first, first + _BLOCK)
            value = room[: len(code) - first]
            np.add(code[here], 0.5, out=value)
            np.multiply(value, step, out=value)
            if origin:
                np.add(value, origin, out=value)
            out[here] = value


@cache
def _log_table() -> NDArray[np.float32]:
    """Return float32 (65536,): the value of every code of ``encode_log``; infinite beyond float32."""
    with np.errstate(over="ignore"):
        value = SMALLEST * np.exp((np.arange(65536) - 1.0) * LOG_STEP)
        value[0] = 0.0
        return np.asarray(value, dtype=np.float32)


def encode_log(value: NDArray[np.floating]) -> U16:
    """Return uint16 codes: 0 for 0, else 1 + round(ln(value / SMALLEST) / LOG_STEP)."""
    safe = np.maximum(value.astype(np.float64), SMALLEST)
    code = 1.0 + np.rint(np.log(safe / SMALLEST) / LOG_STEP)
    return np.where(value > 0.0, code.clip(1, 65535), 0.0).astype(np.uint16)


def decode_log(code: U16) -> NDArray[np.float32]:
    """Return float32 MeV or cm (or electrons) for codes of ``encode_log``."""
    table, value = _log_table(), np.empty(len(code), dtype=np.float32)
    for first in range(0, len(code), _BLOCK):
        here = slice(first, first + _BLOCK)
        table.take(code[here], out=value[here], mode="clip")
    return value


def difference(code: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Return each code minus the one before it in its event, modulo 2^bits; the first stays itself."""
    result = code.copy()
    result[1:] -= code[:-1]
    first = offsets[:-1][np.diff(offsets) > 0]
    result[first] = code[first]
    return result


def restore(step: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Undo ``difference``: running sums modulo 2^bits that begin anew in each event; ``step`` is overwritten."""
    first = offsets[:-1][offsets[1:] > offsets[:-1]]
    if len(first) > 1:  # the code before an event's first one is the sum of the event before it
        step[first[1:]] -= np.add.reduceat(step, first, dtype=step.dtype)[:-1]
    # PyTorch sums four times as fast as NumPy, and as signed integers the same bits.
    signed = torch.from_numpy(step.view(f"i{step.itemsize}"))
    torch.cumsum(signed, 0, dtype=signed.dtype, out=signed)
    return step


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


def encode_direction(direction: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return int8 (row, 3) codes of unit vectors, to half a degree; those of length 0 (no direction) stay 0."""
    code: NDArray[np.int8] = np.rint(127.0 * direction).astype(np.int8)
    return code


def decode_direction(code: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return float32 (row, 3) unit vectors for codes of ``encode_direction``, 0 where there is no direction."""
    vector = code.astype(np.float32)
    length = np.sqrt((vector * vector).sum(axis=1, keepdims=True))
    unit: NDArray[np.float32] = np.divide(vector, length, out=np.zeros_like(vector), where=length > 0)
    return unit
