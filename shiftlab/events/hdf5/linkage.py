"""Links between the tables of a file: rows to events, steps to the particles that made them, particles to parents."""

from __future__ import annotations

from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import reading
from shiftlab.events.hdf5.tables import Block, EventRows
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks, circle

__all__ = [
    "LARGEST",
    "attributes_of",
    "check_parents",
    "event_bounds",
    "event_of_rows",
    "masses",
    "refuse_long_steps",
    "refuse_repeated",
    "rows_of_tracks",
]

LARGEST: Final = 2**31 - 2
"""Largest number that a particle may have in its event: ``Deposits.instance`` is int32, and edep-sim counts from 0."""

LONGEST_STEP: Final = 1e5
"""cm; a step of a kilometre is a damaged number, and would be cut into more parts than memory holds."""

_MASSES: Final = {
    11: 0.51099895,
    13: 105.6583755,
    15: 1776.93,
    111: 134.9768,
    211: 139.57039,
    130: 497.611,
    310: 497.611,
    321: 493.677,
    2112: 939.5654205,
    2212: 938.2720882,
    3112: 1197.449,
    3122: 1115.683,
    3212: 1192.642,
    3222: 1189.37,
    **dict.fromkeys((12, 14, 16, 22), 0.0),
}
"""Masses in MeV of the particles that a detector sees (Particle Data Group, Phys. Rev. D 110, 030001 (2024))."""

_TEXT_LENGTH = 200


def refuse_long_steps(block: Block, steps: Steps) -> Steps:
    """Return the steps of a block's rows.

    Raises:
        DataError: one is longer than ``LONGEST_STEP``; the message names file, table, event and row.
    """
    both = (steps.start, steps.end)
    if len(steps) and max(one.max() for one in both) - min(one.min() for one in both) <= LONGEST_STEP:
        return steps  # nothing lies so far apart
    far = np.flatnonzero(np.abs(steps.end - steps.start).max(axis=1, initial=0.0) > LONGEST_STEP)
    if len(far):
        row = int(far[0])
        start, end = steps.start[row].tolist(), steps.end[row].tolist()
        raise block.error(row, f"a step from {start} to {end} cm; at most {LONGEST_STEP:g} cm are allowed.")
    return steps


def masses(pdg: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mass in MeV (float64, shaped as ``pdg``) of particles by PDG code; NaN for nuclei and others."""
    result = np.full(pdg.shape, np.nan)
    code = np.abs(pdg)
    for number, mass in _MASSES.items():
        result[code == number] = mass
    return result


def event_bounds(numbers: NDArray[np.int64], events: slice) -> tuple[int | None, int | None]:
    """Return the event numbers from which and before which rows belong to a slice of events.

    Rows of events that the list does not have fall to the event before them, so that no row goes unread.

    Args:
        numbers: int64 (event,), ascending.
        events: First and last, as ends of the slice.
    """
    first = None if events.start == 0 else int(numbers[events.start])
    return first, None if events.stop >= len(numbers) else int(numbers[events.stop])


def refuse_repeated(rows: EventRows, numbers: NDArray[np.int64], events: slice) -> None:
    """Refuse a slice of events of which one is in the list twice.

    Raises:
        DataError: naming file, table, rows and event.
    """
    around = numbers[max(events.start - 1, 0) : events.stop + 1]
    twice = np.flatnonzero(around[1:] == around[:-1])
    if len(twice):
        row = max(events.start - 1, 0) + int(twice[0])
        raise DataError(
            f"{rows.path}: table '{rows.name}', rows {row} and {row + 1}: the table '{rows.name}' has "
            f"{rows.names['event']} {numbers[row]} twice; event ids must be unique."
        )


def event_of_rows(block: Block, numbers: NDArray[np.int64], owner: str) -> NDArray[np.int64]:
    """Return the place (int64) of each row's event in ``numbers``, which is ascending.

    Raises:
        DataError: a row belongs to an event that the table ``owner`` does not have.
    """
    counts = np.searchsorted(block.event, numbers, "right") - np.searchsorted(block.event, numbers, "left")
    if counts.sum() != len(block):
        row = int(np.flatnonzero(~np.isin(block.event, numbers))[0])
        raise block.error(row, f"{block.column('event')} {block.event[row]} is not in the table '{owner}'.")
    return np.repeat(np.arange(len(numbers)), counts)


def rows_of_tracks(
    block: Block, event: NDArray[np.int64], number: NDArray[np.int64], tracks: Tracks, column: str
) -> NDArray[np.int64]:
    """Return the row in ``tracks`` (int64) of the particle that each row of ``block`` names.

    Raises:
        DataError: there is no such particle.
    """
    track = tracks.rows(event, number)
    wrong = np.flatnonzero(track < 0)
    if len(wrong):
        row = int(wrong[0])
        raise block.error(row, f"{block.column(column)} {block[column][row]} is not in the table 'trajectories'.")
    return track


def check_parents(block: Block, tracks: Tracks, number: str, parent: str) -> None:
    """Refuse trajectories that repeat, whose parent is not there, or whose ancestors go in a circle.

    Args:
        block: The rows that the tracks were made of.
        tracks: The tracks, in the order of the rows.
        number: Column of the particle's number.
        parent: Column of its parent's.

    Raises:
        DataError: naming file, table, event and row.
    """
    first = tracks.rows(tracks.event, tracks.number)
    again = np.flatnonzero(first != np.arange(len(first)))
    if len(again):
        row = int(again[0])
        raise block.error(row, f"{block.column(number)} {block[number][row]} is there twice in its event.")
    orphan = np.flatnonzero((tracks.rows(tracks.event, tracks.parent) < 0) & (tracks.parent != 0))
    if len(orphan):
        row = int(orphan[0])
        raise block.error(row, f"{block.column(parent)} {block[parent][row]} is not in the table 'trajectories'.")
    row = circle(tracks)
    if row >= 0:
        raise block.error(row, f"{block.column(number)} {block[number][row]} is its own ancestor.")


def attributes_of(file: Any) -> dict[str, str]:
    """Return what a file says of itself: text and numbers; anything else is named, not loaded.

    Raises:
        DataError: the file is damaged.
    """
    result = {}
    with reading(str(file.filename)):
        for name in file.attrs:
            kind = file.attrs.get_id(name).dtype.kind
            result[str(name)] = _shown(file.attrs[name]) if kind in "biufSO" else "binary: not loaded"
    return result


def _shown(value: Any) -> str:
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.bytes_ | bytes):
        value = "binary: not loaded" if value[:1] == b"\x80" else value.decode("utf-8", "backslashreplace")
    text = str(value)
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]}..."
