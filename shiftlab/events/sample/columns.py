"""Columns of a sample file: what each must look like, and reading those of a slice of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.deposits import EventTable
from shiftlab.events.hdf5.file import reading, refuse_short_chunks

__all__ = [
    "EventColumns",
    "Offsets",
    "Rows",
    "column",
    "flags",
    "json_attribute",
    "json_text",
    "read_rows",
    "same_length",
    "truth_columns",
]

_INTEGERS: Final = ("<u4", "<i8")


@dataclass(frozen=True)
class Rows:
    """What a piece of events adds to a file.

    Attributes:
        columns: rows of each dataset, by its name, say ``deposits/x``.
        ends: table (``deposits``) -> int64 (event,): rows of that table up to the end of each event of the piece.
        constants: attributes of the file that every piece must agree on.
        units: unit of a dataset, by its name.
    """

    columns: Mapping[str, NDArray[Any]]
    ends: Mapping[str, NDArray[np.int64]]
    constants: Mapping[str, str | list[int]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def json_text(values: Any) -> str:
    """Return a list of text as it is kept in an attribute."""
    return json.dumps(list(values), ensure_ascii=False)


def column(path: Path, file: Any, name: str, types: tuple[str, ...], tail: tuple[int, ...] = ()) -> Any:
    """Return the dataset ``name``, say ``events/key``, of one of the NumPy types and with rows of shape ``tail``.

    Raises:
        DataError: the group has no such dataset (the message lists what it has), or it is of another type or shape.
    """
    try:
        found = file[name]
    except KeyError:
        place, leaf = name.rsplit("/", 1)
        group = file.get(place)
        have = ", ".join(sorted(group)) if isinstance(group, h5py.Group) else ""
        raise DataError(f"{path}: group '{place}' has no column '{leaf}'. It has {have or 'none'}.") from None
    if not isinstance(found, h5py.Dataset) or found.dtype.str not in types or found.shape[1:] != tail:
        given = f"{found.dtype} of shape {found.shape}" if isinstance(found, h5py.Dataset) else "a group"
        wanted = " or ".join(str(np.dtype(one)) for one in types)
        raise DataError(f"{path}: column '{name}' is {given}; it must be {wanted} of shape {('row', *tail)}.")
    refuse_short_chunks(found, f"{path}: column '{name}'")
    return found


def read_rows(path: Path, columns: Mapping[str, Any], rows: slice) -> dict[str, NDArray[Any]]:
    """Return the rows of each dataset.

    Raises:
        DataError: the file breaks off or is damaged there.
    """
    with reading(path):
        return {name: one[rows] for name, one in columns.items()}


def truth_columns(path: Path, file: Any, types: tuple[str, ...], group: str = "events/truth") -> dict[str, Any]:
    """Return the datasets of a group by name.

    Raises:
        DataError: there is no such group, or a dataset of it is of another type.
    """
    found = file.get(group)
    if not isinstance(found, h5py.Group):
        have = file.get(group.rsplit("/", 1)[0], {})
        raise DataError(
            f"{path}: group 'events' has no column 'truth'. It has {', '.join(sorted(have)) or 'none'}."
            if group == "events/truth"
            else f"{path}: no group '{group}'."
        )
    return {name: column(path, file, f"{group}/{name}", types) for name in found}


def same_length(path: Path, columns: Mapping[str, Any], rows: int, why: str) -> None:
    """Refuse columns that have another number of rows.

    Raises:
        DataError: naming the column, its length and what decides it.
    """
    for name, one in columns.items():
        if len(one) != rows:
            raise DataError(
                f"{path}: {why} does not fit the lengths of its columns: '{name}' has {len(one)}, not {rows}."
            )


def json_attribute(path: Path, file: Any, name: str) -> tuple[Any, ...]:
    """Return the list that a text attribute holds as JSON.

    Raises:
        DataError: the attribute is missing, or is not such a list.
    """
    text = file.attrs.get(name)
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise DataError(f"{path}: attribute '{name}' must be a list in JSON; it is {text!r}.")
    return tuple(values)


def flags(path: Path, name: str, values: NDArray[np.uint8]) -> torch.Tensor:
    """Return bool tensors of bytes that are 0 or 1.

    Raises:
        DataError: a byte is neither.
    """
    if values.size and values.max() > 1:
        raise DataError(f"{path}: column '{name}' has the value {values.max()}; allowed are 0 and 1.")
    return torch.from_numpy(values.view(np.bool_))


class Offsets:
    """Where the rows of each event begin in one table; only the part that is asked for is read.

    Attributes:
        total: Rows of the table.
    """

    def __init__(self, path: Path, file: Any, name: str, columns: Mapping[str, Any]) -> None:
        """Check that the last offset fits the columns of the table.

        Raises:
            DataError: it does not, or there is no such column of offsets.
        """
        self._path, self._name = path, name
        self._offsets = column(path, file, name, _INTEGERS)
        if len(self._offsets) == 0:
            raise DataError(f"{path}: {name} is empty; it must begin with 0.")
        self._events, self.total = len(self._offsets) - 1, int(self._offsets[-1])
        same_length(path, columns, self.total, name)

    def __len__(self) -> int:
        """Return the number of events."""
        return self._events

    def read(self, events: slice) -> tuple[slice, NDArray[np.int64]]:
        """Return the rows of the events ``first:last`` and int64 (event + 1,) offsets within those.

        Raises:
            DataError: offsets descend or reach beyond the table.
        """
        with reading(self._path):
            here = self._offsets[events.start : events.stop + 1].astype(np.int64, copy=False)
        if np.any(here[1:] < here[:-1]) or here[0] < 0 or here[-1] > self.total:
            event = events.start + int(np.argmax(np.diff(here) < 0))
            raise DataError(f"{self._path}: {self._name} must ascend from 0 to {self.total}; see event {event}.")
        return slice(int(here[0]), int(here[-1])), here - here[0]


class EventColumns:
    """The table of events of a sample file of version 1 or 2."""

    def __init__(self, path: Path, file: Any, version: int) -> None:
        """Look for its columns.

        Raises:
            DataError: one is missing, of another type or of another length.
        """
        number = "<f4" if version == 1 else "<f8"
        self._path = path
        self.columns = {name: column(path, file, f"events/{name}", ("<i8",)) for name in ("key", "vertex")}
        self.columns["weight"] = column(path, file, "events/weight", (number,))
        self.columns["sample"] = column(path, file, "events/sample", ("|u1",) if version == 1 else ("<u2",))
        if version > 1:
            self.columns["selected"] = column(path, file, "events/selected", ("|u1",))
        self.truth = truth_columns(path, file, (number,))
        self._names = np.array([str(name) for name in json_attribute(path, file, "samples")], dtype=object)
        dataset = file.attrs.get("dataset", "")
        self.dataset = dataset if isinstance(dataset, str) else ""
        self._events = len(self.columns["key"])
        same_length(path, {**self.columns, **self.truth}, self._events, "events/key")

    def __len__(self) -> int:
        """Return the number of events."""
        return self._events

    def read(self, events: slice) -> EventTable:
        """Return the rows of some events.

        Raises:
            DataError: a row names no sample, or is neither selected nor not.
        """
        read = read_rows(self._path, self.columns, events)
        truth = read_rows(self._path, self.truth, events)
        codes = read["sample"]
        if codes.max() >= len(self._names):
            raise DataError(
                f"{self._path}: event {events.start + int(codes.argmax())}: sample {codes.max()}; "
                f"the file names {len(self._names)} samples."
            )
        selected = read["selected"] if "selected" in read else np.ones(len(codes), dtype=np.uint8)
        return EventTable(
            key=torch.from_numpy(read["key"]),
            vertex=torch.from_numpy(read["vertex"]),
            weight=torch.from_numpy(read["weight"].astype(np.float64, copy=False)),
            sample=tuple(self._names[codes].tolist()),
            truth={name: torch.from_numpy(one.astype(np.float64, copy=False)) for name, one in truth.items()},
            selected=flags(self._path, "events/selected", selected),
            dataset=self.dataset,
        )
