"""Zero padding of OmniLearned's arrays (event, slot, column): what is a particle, what is padding, what is neither.

OmniLearned takes a slot for a particle if and only if its column 2, log pT, is not zero (``valid_mask`` in its
``dataloader.py``, ``network.py``). Here a slot is padding if all of it is zero and no particle comes after it. A slot
with log pT = 0 (pT of exactly 1 in the file's unit) and other kinematics that are not zero is a particle that
OmniLearned would lose; it is kept. Everything else is refused: an empty slot before a particle, and a slot whose
kinematics are all zero while another column is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["KINEMATICS", "LOG_PT", "Particles", "gather", "pad", "unpad"]

LOG_PT: Final = 2
"""Column that says whether a slot is a particle."""

_BLOCK_BYTES: Final = 1 << 19
"""So many bytes are worked on at once: they and what comes of them stay in the processor's second cache."""

KINEMATICS: Final = 4
"""How many columns, from the first, are kinematics: delta eta, delta phi, log pT, log E."""


@dataclass(frozen=True)
class Particles:
    """Particles of many events without their padding.

    Attributes:
        counts: int64 (event,).
        features: float32 (particle, column), without the column that was parted from them.
        parted: float32 (particle,), that column; None where none was parted.
        finite: Whether every number is finite; False may be wrong where the numbers are huge.
    """

    counts: NDArray[np.int64]
    features: NDArray[np.float32]
    parted: NDArray[np.float32] | None
    finite: bool


def gather(block: NDArray[np.float32], part: int | None) -> Particles | None:
    """Return what ``unpad`` does, where all particles have a log pT that is not 0 and zeros are behind them.

    Args:
        block: float32 (event, slot, column), contiguous, zero-padded.
        part: Number of a column to part from the others, not the first.

    Returns:
        The particles; None where only ``unpad`` can tell what they are.
    """
    events, slots, columns = block.shape
    real = block[:, :, LOG_PT] != 0
    if np.any(real[:, 1:] > real[:, :-1]):
        return None
    counts = real.sum(axis=1, dtype=np.int64)
    total, full = int(counts.sum()), bool(real.all())
    features = np.empty((total, columns - (part is not None)), dtype=np.float32)
    parted = None if part is None else np.empty(total, dtype=np.float32)
    step, at, finite = max(1, _BLOCK_BYTES // max(slots * columns * 4, 1)), 0, True
    for first in range(0, events, step):
        here = block[first : first + step]
        rows = here.reshape(-1, columns) if full else _rows(here, real[first : first + step])
        # Every number that is not zero lies in a particle: then all other slots are padding, without looking at each.
        if not full and _nonzero(here) != _nonzero(rows):
            return None
        finite &= _part(rows, part, features[at : at + len(rows)], parted, at)
        at += len(rows)
    return Particles(counts, features, parted, finite)


def _rows(block: NDArray[np.float32], real: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the slots (particle, column) that are real; as one value each, NumPy copies runs of them in one piece."""
    columns = block.shape[2]
    whole = block.reshape(-1, columns).view(np.dtype((np.void, block.itemsize * columns)))[:, 0]
    return whole[real.reshape(-1)].view(np.float32).reshape(-1, columns)


def _part(
    rows: NDArray[np.float32],
    part: int | None,
    features: NDArray[np.float32],
    parted: NDArray[np.float32] | None,
    at: int,
) -> bool:
    """Write rows to their places and say whether their sum is finite."""
    given, target = torch.from_numpy(rows), torch.from_numpy(features)
    if part is None or parted is None:
        target.copy_(given)
    else:
        # PyTorch copies parts of rows a third faster than NumPy.
        target[:, :part] = given[:, :part]
        target[:, part:] = given[:, part + 1 :]
        parted[at : at + len(rows)] = rows[:, part]
    return math.isfinite(float(given.sum()))


def _nonzero(values: NDArray[np.float32]) -> int:
    # Counted as integers, five times as fast; -0.0 then counts too, and leaves the answer to the careful way.
    return int(np.count_nonzero(values.view(np.uint32)))


def unpad(block: NDArray[np.float32], where: str, first: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the number of particles of each event and their columns.

    Args:
        block: float32 (event, slot, column), zero-padded.
        where: File and dataset, for messages.
        first: Row of the first event in the dataset, for messages.

    Returns:
        int64 (event,) and float32 (particle, column).

    Raises:
        DataError: a slot is neither a particle nor padding; the message names the row and the slot.
    """
    filled = np.any(block != 0, axis=2)
    odd = np.argwhere(filled & ~np.any(block[:, :, :KINEMATICS] != 0, axis=2))
    if len(odd):
        event, slot = odd[0].tolist()
        column = int(np.flatnonzero(block[event, slot])[0])
        raise DataError(
            f"{where}, row {first + event}, particle {slot}: kinematics (columns 0 to 3) are all 0 but column {column} "
            f"is {block[event, slot, column]:g}: neither a particle nor padding."
        )
    slots = block.shape[1]
    counts = np.where(filled.any(axis=1), slots - np.argmax(filled[:, ::-1], axis=1), 0).astype(np.int64)
    inside = np.arange(slots) < counts[:, None]
    holes = np.argwhere(inside & ~filled)
    if len(holes):
        event, slot = holes[0].tolist()
        raise DataError(
            f"{where}, row {first + event}, particle {slot}: all columns are 0 but a particle follows; padding may "
            "only come last."
        )
    return counts, block[inside]


def pad(offsets: NDArray[np.int64], rows: NDArray[Any], slots: int, fill: float = 0.0) -> NDArray[Any]:
    """Return (event, slot, ...) with the rows of each event first and ``fill`` behind them.

    Args:
        offsets: int64 (event + 1,), starting at 0.
        rows: (particle, ...).
        slots: Slots of an event, at least as many as the most particles.
        fill: What padding holds.
    """
    counts = np.diff(offsets)
    block = np.full((len(counts), slots, *rows.shape[1:]), fill, dtype=rows.dtype)
    block[np.arange(slots) < counts[:, None]] = rows
    return block
