"""An open sample file, whatever it holds: its events, and what it says of itself."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from shiftlab.errors import DataError
from shiftlab.events.reader import Description, Source
from shiftlab.events.sample.columns import EventColumns, Offsets

__all__ = ["SampleSource", "attributes"]

_TOLD_ELSEWHERE: Final = ("decoding", "dataset", "missing", "columns", "units", "global_columns", "global_units")
"""Attributes that a description does not repeat."""


def attributes(file: Any) -> dict[str, Any]:
    """Return the attributes of a file as plain values; what is neither text nor number is named by its type."""
    found: dict[str, Any] = {}
    for name in file.attrs:
        try:
            value = file.attrs[name]
            found[name] = value.tolist() if hasattr(value, "tolist") else value
        except (OSError, TypeError, ValueError) as error:
            found[name] = f"not readable ({error})"
    return found


class SampleSource(Source):
    """What the samples of deposits, images and tokens have in common."""

    version: ClassVar[str] = ""

    def __init__(self, path: Path, file: Any, events: EventColumns) -> None:
        """Keep the open file and its table of events."""
        super().__init__(path)
        self._file, self._events = file, events

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._events)

    @abstractmethod
    def rows(self) -> dict[str, int]:
        """Return the number of rows of each table but that of the events."""

    @abstractmethod
    def units(self) -> dict[str, str]:
        """Return the unit of each column that has one."""

    def missing(self) -> tuple[str, ...]:
        """Return what the level knows and this file does not have."""
        return ()

    def describe(self) -> Description:
        """Return what is in the file."""
        said = {name: value for name, value in attributes(self._file).items() if name not in _TOLD_ELSEWHERE}
        dialect = "version " + str(said.pop("format")).rsplit(" ", 1)[-1]
        return Description(
            format="sample",
            dialect=dialect,
            holds=self.holds,
            events=len(self),
            rows={"events": len(self), **self.rows()},
            units=self.units(),
            missing=self.missing(),
            dataset=self._events.dataset,
            attributes={n: v if isinstance(v, str) else json.dumps(v, default=str) for n, v in said.items()},
        )

    def _table(self, name: str, columns: Mapping[str, Any]) -> Offsets:
        """Return the offsets of a table.

        Raises:
            DataError: they are of another number of events than the file, or do not fit the columns.
        """
        offsets = Offsets(self.path, self._file, name, columns)
        if len(offsets) != len(self):
            raise DataError(f"{self.path}: {name} is of {len(offsets)} events; events/key is of {len(self)}.")
        return offsets
