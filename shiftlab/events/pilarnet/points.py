"""Voxels of PILArNet-M: the dataset ``point`` as columns, each number checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.pilarnet.layout import POINT, Layout, entries, refuse_width, where
from shiftlab.events.reader import Origin

__all__ = ["PITCH", "SIDE", "Points", "read_points"]

PITCH: Final = 0.3
"""Edge of a voxel, cm (arXiv:2502.02558)."""

SIDE: Final = 768
"""Voxels along each axis (arXiv:2502.02558)."""

_BLOCK: Final = 32
"""Events that are read and worked on at once: their numbers stay in the processor's cache."""

_LAST: Final = int(np.float32(SIDE - 1).view(np.uint32))
_INFINITE: Final = int(np.float32(np.inf).view(np.uint32))
"""Bits of numbers: those of floating-point numbers that are not negative have the order of the numbers."""

_UNKEPT: Final = ("dE", "t", "n_electrons", "dx")
"""Columns that may be blank; times are never kept."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Points:
    """Voxels of many events.

    Attributes:
        counts: int64 (event,), voxels of each event.
        position: float32 (voxel, 3), cm, centre of the voxel.
        energy: float32 (voxel,), MeV.
        length: float32 (voxel,), cm; 0 where the file has none.
        electrons: float32 (voxel,); None where the file has none.
        visible: float64 (event,), MeV, sum of the energies of each event.
    """

    counts: NDArray[np.int64]
    position: Floats
    energy: Floats
    length: Floats
    electrons: Floats | None
    visible: NDArray[np.float64]


class _Columns:
    """Columns that grow while blocks of events are read, so that every number is written once."""

    def __init__(self, layout: Layout) -> None:
        """Start with no rows."""
        self.rows = 0
        self.position = np.empty((0, 3), dtype=np.float32)
        self.single = {"energy": np.empty(0, dtype=np.float32)}
        if "dx" not in layout.blank:
            self.single["length"] = np.empty(0, dtype=np.float32)
        if "n_electrons" not in layout.blank:
            self.single["electrons"] = np.empty(0, dtype=np.float32)

    def extend(self, rows: int, done: float) -> slice:
        """Return the place of ``rows`` more; ``done`` is the fraction of the events that is read with them."""
        first, self.rows = self.rows, self.rows + rows
        if self.rows > len(self.position):
            room = int(1.2 * self.rows / done) + 1
            self.position = _grown(self.position, first, room)
            self.single = {name: _grown(column, first, room) for name, column in self.single.items()}
        return slice(first, self.rows)

    def finish(self, counts: NDArray[np.int64], visible: NDArray[np.float64]) -> Points:
        """Give back the room that was not needed and return the columns."""
        self.position.resize((self.rows, 3), refcheck=False)
        for column in self.single.values():
            column.resize(self.rows, refcheck=False)
        length = self.single.get("length")
        return Points(
            counts=counts,
            position=self.position,
            energy=self.single["energy"],
            length=np.zeros(self.rows, dtype=np.float32) if length is None else length,
            electrons=self.single.get("electrons"),
            visible=visible,
        )


def _grown(column: Floats, rows: int, room: int) -> Floats:
    """Return an array with room for ``room`` rows that begins with the first ``rows`` of ``column``."""
    larger = np.empty((room, *column.shape[1:]), dtype=np.float32)
    larger[:rows] = column[:rows]
    return larger


@dataclass(frozen=True)
class _Block:
    """A few events of ``point`` as the file has them."""

    dataset: Any
    first: int
    tables: list[NDArray[Any]]

    def copy(self, targets: Mapping[int, Floats]) -> None:
        """Write columns, by number, of all voxels into their targets, event by event, which is kind to the cache."""
        row = 0
        for table in self.tables:
            for column, target in targets.items():
                target[row : row + len(table)] = table[:, column]
            row += len(table)

    def refuse(self, bad: Callable[[NDArray[Any]], NDArray[np.bool_]], column: int, allowed: str) -> None:
        """Raise DataError for the first voxel whose number in a column is ``bad``, if there is one."""
        for number, table in enumerate(self.tables):
            found = np.flatnonzero(bad(table[:, column]))
            if len(found):
                point = f"point {found[0]}: column '{POINT[column]}' is {table[found[0], column]}"
                raise DataError(f"{where(self.dataset, self.first + number)}, {point}; {allowed}.")


def read_points(dataset: Any, events: slice, layout: Layout, origin: Origin) -> Points:
    """Return the voxels of the events of a file.

    Position is (index + 1/2) 0.3 cm minus ``origin``; energy is column ``dE``, or ``value`` where ``dE`` is blank;
    length is ``dx`` and electrons ``n_electrons``. ``dx`` is taken in cm: the card of the data set says mm, but only
    with cm do its electrons agree with any recombination law (19 MeV/cm and not 192 MeV/cm for a fraction of 0.27).

    Raises:
        DataError: an entry is not whole rows, an index is no whole number from 0 to 767, or another column is NaN
            in some voxels and not in others, infinite or negative; the message names dataset, row and voxel.
    """
    columns = _Columns(layout)
    counts = np.zeros(events.stop - events.start, dtype=np.int64)
    visible = np.zeros(len(counts))
    for first in range(events.start, events.stop, _BLOCK):
        found, sizes = entries(dataset, slice(first, min(first + _BLOCK, events.stop)))
        rows = refuse_width(dataset, first, sizes, len(POINT))
        done = first - events.start + len(found)
        block = _Block(dataset, first, [flat.reshape(-1, len(POINT)) for flat in found])
        place = columns.extend(int(rows.sum()), done / len(counts))
        _write(block, columns, place, layout, origin)
        counts[done - len(found) : done] = rows
        visible[done - len(found) : done] = _sums(columns.single["energy"][place], rows)
    return columns.finish(counts, visible)


def _write(block: _Block, columns: _Columns, place: slice, layout: Layout, origin: Origin) -> None:
    """Write the voxels of a block of events into their place, checked."""
    sources = {"energy": "value" if "dE" in layout.blank else "dE", "length": "dx", "electrons": "n_electrons"}
    position = columns.position[place]
    amounts = {POINT.index(sources[name]): column[place] for name, column in columns.single.items()}
    # NaN and overflow are found and refused here.
    with np.errstate(invalid="ignore", over="ignore"):
        # Columns that are not kept are copied too: to check many events at once costs less than event by event.
        room = np.empty((len(_UNKEPT), len(position)), dtype=np.float32)
        unkept = {POINT.index(name): room[i] for i, name in enumerate(_UNKEPT) if POINT.index(name) not in amounts}
        block.copy({axis: position[:, axis] for axis in range(3)} | amounts | unkept)
        _refuse(block, position, amounts, unkept, layout)
    position += np.float32(0.5)
    position *= np.float32(PITCH)
    if any(origin):
        position -= np.asarray(origin, dtype=np.float32)


def _sums(column: Floats, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64 (event,): the sum of each event's numbers; 0 for an event without."""
    total = np.zeros(len(counts))
    full = np.flatnonzero(counts)
    if len(full):
        total[full] = np.add.reduceat(column, (np.cumsum(counts) - counts)[full], dtype=np.float64)
    return total


def _refuse(
    block: _Block, index: Floats, amounts: Mapping[int, Floats], unkept: Mapping[int, Floats], layout: Layout
) -> None:
    """Refuse voxel indices that are none, amounts that are none, and numbers in blank columns."""
    if _highest(index) > _LAST or not (np.floor(index) == index).all():
        for axis in range(3):
            block.refuse(_no_index, axis, f"voxel indices are whole numbers from 0 to {SIDE - 1}")
    for column, values in amounts.items():
        if _highest(values) >= _INFINITE:
            block.refuse(_no_amount, column, "a finite number, not negative, is needed")
    time = POINT.index("t")
    if "t" not in layout.blank and np.isnan(unkept[time].max(initial=0.0)):
        block.refuse(_blank, time, "this column has numbers in other voxels; it must be NaN in all or in none")
    for name in layout.blank:
        column = POINT.index(name)
        if not np.isnan(unkept[column]).all():
            block.refuse(_filled, column, "this column is NaN in other voxels; it must be so in all or in none")


def _highest(column: Floats) -> int:
    """Return the largest of the numbers' bits: not above those of x if all lie in [0, x], else by sign or NaN above."""
    return int(column.view(np.uint32).max(initial=0))


def _no_index(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(~((np.floor(column) == column) & (column >= 0) & (column < SIDE)))


def _no_amount(column: NDArray[Any]) -> NDArray[np.bool_]:
    return ~((column >= 0) & (column.astype(np.float32) < np.inf))


def _blank(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(column))


def _filled(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(column))
