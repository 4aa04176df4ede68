"""Tables whose rows belong to events: rows of a range of events, read block by block and kept for one block only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import reading, require, table

__all__ = ["Block", "EventRows"]

_BLOCK_BYTES = 32 * 2**20


class Block:
    """Rows of a table that are in memory, with the number of the first, for messages.

    Attributes:
        pieces: The rows, as the file has them, in one array per stretch that was read.
        first: Number of the first row in the table.
        event: int64 (row,), the event number of each.
    """

    def __init__(self, owner: EventRows, pieces: list[NDArray[Any]], first: int, event: NDArray[np.int64]) -> None:
        """Remember the table that the rows are of."""
        self._owner, self.pieces, self.first, self.event = owner, pieces, first, event

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.event)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column by its name in the reader."""
        columns = [piece[self._owner.names[name]] for piece in self.pieces]
        return np.asarray(columns[0]) if len(columns) == 1 else np.concatenate(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the file has."""
        return self._owner.columns

    def column(self, name: str) -> str:
        """Return the name that a column has in the file."""
        return self._owner.names[name]

    def integers(self, name: str, *, least: int | None = None, most: int | None = None) -> NDArray[np.int64]:
        """Return a column as int64 (row,).

        Raises:
            DataError: a number is out of range; the message names file, table, event, row and column.
        """
        column = self[name].astype(np.int64)
        low = np.iinfo(np.int64).min if least is None else least
        high = np.iinfo(np.int64).max if most is None else most
        if len(column) and (column.min() < low or column.max() > high):
            row = int(np.flatnonzero((column < low) | (column > high))[0])
            allowed = " and ".join(
                f"{word} {bound}" for word, bound in (("at least", least), ("at most", most)) if bound is not None
            )
            raise self.error(row, f"column '{self._owner.names[name]}' is {column[row]}; allowed: {allowed}.")
        return column

    def reals(self, name: str, *, positive: bool = False) -> NDArray[np.float64]:
        """Return a column as float64 (row,), or (row, 3) for vectors.

        Raises:
            DataError: a number is NaN, infinite or, where ``positive``, less than 0; the message names file, table,
                event, row and column.
        """
        column = self[name].astype(np.float64)
        self._refuse([name], column, positive=positive)
        return column

    def points(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return three columns as float64 (row, 3); errors as for ``reals``."""
        result = np.empty((len(self), 3))
        at = 0
        for piece in self.pieces:
            for axis, name in enumerate(names):
                result[at : at + len(piece), axis] = piece[self._owner.names[name]]
            at += len(piece)
        self._refuse(names, result, positive=False)
        return result

    def error(self, row: int, what: str) -> DataError:
        """Return the error that says what is wrong with a row of the block."""
        place = f"table '{self._owner.name}', event {self.event[row]}"
        return DataError(f"{self._owner.path}: {place}: row {self.first + row}: {what}")

    def _refuse(self, names: Sequence[str], values: NDArray[np.float64], *, positive: bool) -> None:
        if len(values) == 0:
            return
        least, most = values.min(), values.max()  # both are NaN where any value is
        if np.isfinite(least) and np.isfinite(most) and not (positive and least < 0.0):
            return
        bad = ~np.isfinite(values) | (values < 0 if positive else False)
        place = np.argwhere(bad)[0].tolist()
        row, name = place[0], self._owner.names[names[min(place[-1], len(names) - 1) if len(names) > 1 else 0]]
        allowed = "a finite number, not negative" if positive else "a finite number"
        where = f"table '{self._owner.name}', event {self.event[row]}: column '{name}' is {values[tuple(place)]}"
        raise DataError(f"{self._owner.path}: {where} (row {self.first + row}); it must be {allowed}.")


class EventRows:
    """A compound dataset whose rows are in ascending order of their events.

    Memory holds one block of rows (32 MiB, or one HDF5 chunk), whatever the length of the table. Blocks end where
    HDF5's own chunks end, so that reading a file from first to last unpacks each chunk once.

    Attributes:
        path: File, for messages.
        name: Name of the table.
        columns: Names of the columns that the file has.
        names: Name in the file of each column, by its name in the reader.
    """

    def __init__(self, file: Any, name: str, wanted: Mapping[str, str], names: Mapping[str, str]) -> None:
        """Open a table.

        Args:
            file: The open HDF5 file.
            name: Name of the table.
            wanted: Kind of each column (``hdf5.require``), by its name in the reader; ``event`` is among them.
            names: Its name in the file, where that is another.

        Raises:
            DataError: no such table; a column is missing or of a wrong type.
        """
        self.path, self.name = str(file.filename), name
        self.dataset = table(file, name)
        with reading(self.path):
            chunk = self.dataset.chunks[0] if self.dataset.chunks else 1
            dtype = self.dataset.dtype
            self.columns: tuple[str, ...] = dtype.names
        self.names: dict[str, str] = {column: column for column in (*self.columns, *wanted)} | dict(names)
        require(self.dataset, {self.names[column]: kind for column, kind in wanted.items()})
        wished = max(1, _BLOCK_BYTES // dtype.itemsize)
        self._size: int = -(-wished // chunk) * chunk
        self._number, self._block = -1, np.empty(0, dtype=dtype)
        self._event = np.empty(0, dtype=np.int64)
        self._ends: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.dataset.shape[0])

    def blocks(self) -> Iterator[Block]:
        """Give every row of the table, a block at a time; errors as for ``between``."""
        for number in range(self._blocks):
            self._load(number)
            yield Block(self, [self._block], number * self._size, self._event)

    def events(self) -> NDArray[np.int64]:
        """Return the distinct event numbers (int64, ascending); errors as for ``between``."""
        found = [_distinct(block.event) for block in self.blocks()]
        return _distinct(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def between(self, first: int | None, before: int | None) -> Block:
        """Return the rows whose event number is at least ``first`` and less than ``before``; None is no bound.

        Raises:
            DataError: the rows are not in ascending order of their events, or the file is damaged; the message
                names file, table and row.
        """
        number = self._find(first)
        start = number * self._size
        rows, events = [self._block[:0]], [self._event[:0]]
        while number < self._blocks:
            self._load(number)
            low = 0 if first is None else int(np.searchsorted(self._event, first))
            high = len(self._event) if before is None else int(np.searchsorted(self._event, before))
            if len(rows) == 1:
                start = number * self._size + low
            rows.append(self._block[low:high])
            events.append(self._event[low:high])
            if high < len(self._event):
                break
            number += 1
        mine = [i for i, piece in enumerate(rows) if len(piece)] or [0]
        numbers = events[mine[0]] if len(mine) == 1 else np.concatenate([events[i] for i in mine])
        return Block(self, [rows[i] for i in mine], start, numbers)

    def ends(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the first and the last ``count`` rows, as the file has them; errors as for ``between``."""
        if self._blocks == 1:
            self._load(0)
        starts = (0, max(len(self) - count, 0))
        first, last = (self._stretch(start, min(start + count, len(self))) for start in starts)
        return first, last

    def _stretch(self, start: int, stop: int) -> NDArray[Any]:
        low = self._number * self._size
        if 0 <= low <= start and stop <= low + len(self._block):
            return self._block[start - low : stop - low]
        with reading(self.path):
            return np.asarray(self.dataset[start:stop])

    @property
    def _blocks(self) -> int:
        return -(-len(self) // self._size)

    def _find(self, first: int | None) -> int:
        """Return the number of the first block that may hold an event of at least ``first``."""
        if first is None or self._blocks == 0:
            return 0
        if self._number >= 0 and first > self._event[-1] and self._number + 1 < self._blocks:
            self._load(self._number + 1)  # files are mostly read from first to last
        kept = self._number
        after = kept == 0 or self._ends.get(kept - 1, (0, first))[1] < first
        if kept >= 0 and first <= self._event[-1] and (after or self._event[0] < first):
            return kept
        low, high = 0, self._blocks - 1
        while low < high:
            middle = (low + high) // 2
            if self._last(middle) < first:
                low = middle + 1
            else:
                high = middle
        return low

    def _last(self, number: int) -> int:
        """Return the event of the last row of a block, without keeping the block."""
        known = self._ends.get(number)
        if known is not None:
            return known[1]
        row = min((number + 1) * self._size, len(self.dataset)) - 1
        with reading(self.path):
            return int(self.dataset[row][self.names["event"]])

    def _load(self, number: int) -> None:
        """Make ``number`` the block that is kept."""
        if number == self._number:
            return
        start = number * self._size
        with reading(self.path):
            block = self.dataset[start : start + self._size]
        event = block[self.names["event"]].astype(np.int64)
        falls = np.flatnonzero(event[1:] < event[:-1])
        if len(falls):
            raise self._unsorted(start + int(falls[0]) + 1, event[falls[0] + 1], event[falls[0]])
        if number - 1 in self._ends and self._ends[number - 1][1] > event[0]:
            raise self._unsorted(start, event[0], self._ends[number - 1][1])
        if number + 1 in self._ends and self._ends[number + 1][0] < event[-1]:
            raise self._unsorted(start + len(event), self._ends[number + 1][0], event[-1])
        self._number, self._block, self._event = number, block, event
        self._ends[number] = (int(event[0]), int(event[-1]))

    def _unsorted(self, row: int, event: Any, previous: Any) -> DataError:
        column = self.names["event"]
        return DataError(
            f"{self.path}: table '{self.name}', row {row}: {column} {event} after {previous}: unsorted events; the "
            "rows of each event must be together and the events ascending. Sort them with "
            "`shiftlab convert IN OUT --sort`."
        )


def _distinct(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct values of an ascending array."""
    return events[np.flatnonzero(np.diff(events, prepend=events[0] - 1))] if len(events) else events
