"""Zero padding of OmniLearned's arrays (event, slot, column): what is a particle, what is padding, what is neither.

OmniLearned takes a slot for a particle if and only if its column 2, log pT, is not zero (``valid_mask`` in its
``dataloader.py``, ``network.py``). Here a slot is padding if all of it is zero and no particle comes after it. A slot
with log pT = 0 (pT of exactly 1 in the file's unit) and other kinematics that are not zero is a particle that
OmniLearned would lose; it is kept. Everything else is refused: an empty slot before a particle, and a slot whose
kinematics are all zero while another column is not.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError

__all__ = ["KINEMATICS", "LOG_PT", "pad", "unpad"]

LOG_PT: Final = 2
"""Column that says whether a slot is a particle."""

KINEMATICS: Final = 4
"""How many columns, from the first, are kinematics: delta eta, delta phi, log pT, log E."""


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
    real = block[:, :, LOG_PT] != 0
    rows = np.take(block.reshape(-1, block.shape[2]), np.flatnonzero(real), axis=0)
    in_front = not bool(np.any(real[:, 1:] > real[:, :-1]))
    # Every number that is not zero lies in a particle: then all other slots are padding, without looking at each.
    if in_front and _nonzero(block) == _nonzero(rows):
        return real.sum(axis=1, dtype=np.int64), rows
    return _unpad_with_care(block, where, first)


def _nonzero(values: NDArray[np.float32]) -> int:
    # Counted as integers, five times as fast; -0.0 then counts too, and leaves the answer to the careful way.
    return int(np.count_nonzero(values.view(np.uint32)))


def _unpad_with_care(
    block: NDArray[np.float32], where: str, first: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
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
