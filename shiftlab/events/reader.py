"""Reading events: the reader of a file is found by what the file holds, and what it gives is checked."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits, EventTable, concatenate
from shiftlab.events.hdf5.file import is_hdf5, open_hdf5, reading
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens, concatenate_tokens
from shiftlab.events.unique import SeenKeys
from shiftlab.registry import Registry
from shiftlab.units import PARTICLES, SEMANTIC

__all__ = [
    "BadEvent",
    "Description",
    "Level",
    "Origin",
    "Reader",
    "Source",
    "open_events",
    "read",
    "read_tokens",
    "readers",
    "stream",
    "validate",
]

Origin = tuple[float, float, float]
"""Position in the file's frame, cm, that becomes the corner (0, 0, 0) of the detector's frame."""

Level = Literal["deposits", "images", "tokens"]
"""What the events of a file are: energy deposits, voxel images, or reconstructed tokens."""

Events = Deposits | Image | Tokens


@dataclass(frozen=True)
class Description:
    """What a file is and what is in it, without reading its events.

    Attributes:
        format: Name of the reader.
        dialect: Revision or dialect of the format, say ``v2``; empty where there is one only.
        holds: Level of the events.
        events: Number of events.
        rows: Number of rows of each table of the file.
        units: Unit of each column that is read.
        missing: What the level knows and this file does not have, say ``length``; effects that need it are refused.
        dataset: Name and revision of the data set, ``name/revision``; empty where the file does not say.
        attributes: What the file says of itself; values that are pickles are named, never loaded.
    """

    format: str
    dialect: str
    holds: Level
    events: int
    rows: dict[str, int]
    units: dict[str, str]
    missing: tuple[str, ...] = ()
    dataset: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadEvent:
    """An event that was left out because the caller asked for it.

    Attributes:
        number: Its place in the file, from 0.
        reason: The error that it gave.
    """

    number: int
    reason: str


class Source(ABC):
    """An open file of events, any slice of which can be read; memory does not grow with the file.

    Attributes:
        path: The file.
        holds: Level of its events.
    """

    holds: ClassVar[Level] = "deposits"

    def __init__(self, path: Path) -> None:
        """Remember the file's name, for messages."""
        self.path = path

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of events, every one of the file counted."""

    @abstractmethod
    def read(self, events: slice) -> Any:
        """Return the events ``first:last`` (ends given, step 1, not empty) as ``holds`` says.

        Raises:
            DataError: an event is bad; the message names file, table or dataset, and row.
        """

    @abstractmethod
    def describe(self) -> Description:
        """Return what the file is and what is in it."""


class Reader(ABC):
    """A file format of simulated events.

    Attributes:
        name: Name of the format in the registry.
        summary: What the format is, in a few words.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Say whether the file's content is of this format; never by its name; never raises for foreign files."""

    def accepts_hdf5(self, file: Any) -> bool | None:
        """Say of an HDF5 file that is open for all readers what ``accepts`` says of its path; None leaves it to that.

        Readers of HDF5 that have this spare the file one opening each. Errors of h5py may leave it.
        """
        return None

    @abstractmethod
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> AbstractContextManager[Source]:
        """Open a file; ``origin`` is subtracted from positions.

        Raises:
            DataError: the file as a whole cannot be used: truncated, a column missing or of a wrong type.
        """


@cache
def readers() -> Registry[Reader]:
    """Return the register of readers, entry-point group ``shiftlab.readers``."""
    return Registry("shiftlab.readers", Reader, "reader")  # type: ignore[type-abstract]


@contextmanager
def open_events(path: str | Path, *, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
    """Open a file of events of any format that a reader knows.

    Raises:
        DataError: no such file, no reader knows it, or the file as a whole cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty.")
    known = [entry() for entry in readers()]
    reader = _reader_of(path, known)
    if reader is not None:
        with reader.open(path, origin) as source:
            yield source
        return
    formats = "; ".join(f"{reader.name}: {reader.summary}" for reader in known)
    raise DataError(f"{path}: of no known format. Known are {formats or 'none'}.")


def _reader_of(path: Path, known: Sequence[Reader]) -> Reader | None:
    """Return the first reader that knows the file; those of HDF5 look at it while it is open once."""
    with ExitStack() as stack:
        file = stack.enter_context(open_hdf5(path)) if is_hdf5(path) else None
        for reader in known:
            answer = None
            if file is not None:
                with reading(path):
                    answer = reader.accepts_hdf5(file)
            if reader.accepts(path) if answer is None else answer:
                return reader
    return None


def read(
    path: str | Path,
    *,
    origin: Origin = (0.0, 0.0, 0.0),
    events: slice | None = None,
    skipped: list[BadEvent] | None = None,
) -> Deposits:
    """Read simulated energy deposits of any format that a reader knows.

    Args:
        path: The file.
        origin: Position in the file's frame (cm) of the corner of the detector's frame, where x = 0 is
            the anode and the beam runs along z.
        events: Which events, as a slice over those of the file; only their rows are kept in memory.
        skipped: None refuses bad events; a list gets those that were left out.

    Raises:
        DataError: no such file, no reader knows it, it holds no deposits, or an event is bad.
    """
    with open_events(path, origin=origin) as source:
        _require(source, "deposits")
        return concatenate(list(_pieces(source, [_span(source, events)], skipped)))


def read_tokens(path: str | Path, *, events: slice | None = None, skipped: list[BadEvent] | None = None) -> Tokens:
    """Read reconstructed tokens of any format that a reader knows; arguments and errors as for ``read``."""
    with open_events(path) as source:
        _require(source, "tokens")
        return concatenate_tokens(list(_pieces(source, [_span(source, events)], skipped)))


def stream(
    path: str | Path,
    *,
    origin: Origin = (0.0, 0.0, 0.0),
    chunk: int = 1024,
    part: tuple[int, int] = (0, 1),
    skipped: list[BadEvent] | None = None,
) -> Iterator[Any]:
    """Give the events of a file chunk by chunk; memory holds one chunk at a time.

    Args:
        path: The file.
        origin: As for ``read``.
        chunk: Events a chunk.
        part: (i, n) gives chunks i, i + n, i + 2n, ...: the share of worker i of n, each of which opens the file.
        skipped: As for ``read``.

    Raises:
        DataError: as ``read``.
        ConfigError: a chunk or part that cannot be.
    """
    first, step = part
    if chunk < 1:
        raise ConfigError(f"chunk = {chunk}; it must be at least 1.")
    if not 0 <= first < step:
        raise ConfigError(f"part = {part}; it must be (i, n) with 0 <= i < n.")
    with open_events(path, origin=origin) as source:
        starts = range(first * chunk, len(source), step * chunk)
        yield from _pieces(source, (slice(i, min(i + chunk, len(source))) for i in starts), skipped)


def _require(source: Source, wanted: Level) -> None:
    if source.holds != wanted:
        call = {"deposits": "read", "tokens": "read_tokens", "images": "open_events"}[source.holds]
        raise DataError(f"{source.path}: holds {source.holds}, not {wanted}; read it with {call}.")


def _span(source: Source, events: slice | None) -> slice:
    """Return the slice with its ends filled in."""
    if len(source) == 0:
        raise DataError(f"{source.path}: no events.")
    first, last, step = (events or slice(None)).indices(len(source))
    if step != 1 or last <= first:
        raise DataError(
            f"{source.path}: events {first}:{last}:{step} of {len(source)}: a non-empty slice of step 1 is wanted."
        )
    return slice(first, last)


def _pieces(source: Source, spans: Any, skipped: list[BadEvent] | None) -> Iterator[Any]:
    """Give the events of each span; a bad span is read event by event where bad events may be left out."""
    seen = SeenKeys()
    for span in spans:
        try:
            piece = _checked(source, span, seen)
        except DataError:
            if skipped is None:
                raise
            yield from _good_ones(source, span, skipped, seen)
        else:
            yield piece


def _checked(source: Source, span: slice, seen: SeenKeys) -> Any:
    piece = source.read(span)
    validate(piece, source.path, span.start)
    seen.add(piece.events.key.numpy(), span.start, source.path)
    return piece


def _good_ones(source: Source, span: slice, skipped: list[BadEvent], seen: SeenKeys) -> Iterator[Any]:
    good: list[Any] = []
    for number in range(span.start, span.stop):
        try:
            good.append(_checked(source, slice(number, number + 1), seen))
        except DataError as error:
            skipped.append(BadEvent(number, str(error)))
    if good and source.holds == "deposits":
        yield concatenate(good)
    elif good and source.holds == "tokens":
        yield concatenate_tokens(good)
    else:
        yield from good


def validate(events: Events, path: str | Path, first: int = 0) -> None:
    """Refuse events that no result may be built on.

    Args:
        events: Some events of a file.
        path: The file.
        first: Number of the first of them in the file, from 0.

    Raises:
        DataError: no events, NaN or infinite positions, energies, lengths or weights, negative energies
            or lengths, labels that no class has, or duplicate event keys; the message names file, event and column.
    """
    if len(events) == 0:
        raise DataError(f"{path}: no events.")
    if isinstance(events, Deposits):
        # Most events are good, which the smallest and the largest value tell in one pass; NaN is both. NumPy finds
        # them in one thread: workers that all start torch's threads for so little stand in each other's way.
        for name in ("position", "energy", "length"):
            values = getattr(events, name)
            low, high = _extremes(values)
            if not math.isfinite(low) or not math.isfinite(high):
                _refuse(events, ~torch.isfinite(values), path, name, "NaN or infinite", first)
            if low < 0 and name != "position":
                _refuse(events, values < 0, path, name, "negative", first)
        for name, labels in (("semantic", SEMANTIC), ("particle", PARTICLES)):
            values, most = getattr(events, name), len(labels) - 1
            low, high = _extremes(values)
            if low < -1 or high > most:
                _refuse(events, (values < -1) | (values > most), path, name, f"none of -1 to {most}", first)
        _finite(events.events, "visible_energy", events.events.truth["visible_energy"], path, first)
    if isinstance(events, Tokens):
        events.check(path, first)
    if isinstance(events, Image):
        for name in ("charge", "energy"):
            if not all(math.isfinite(value) for value in _extremes(getattr(events, name))):
                _refuse(events, ~torch.isfinite(getattr(events, name)), path, name, "NaN or infinite", first)
        cells = math.prod(events.shape)
        low, high = _extremes(events.cell)
        if low < 0 or high >= cells:
            _refuse(events, (events.cell < 0) | (events.cell >= cells), path, "cell", "outside the shape", first)
    table = events.events
    _finite(table, "weight", table.weight, path, first)
    keys = np.sort(table.key.numpy(force=True))
    twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        one, two = (first + i for i in torch.nonzero(table.key == int(twice[0])).squeeze(1)[:2].tolist())
        raise DataError(f"{path}: events {one} and {two} have the same key; keys must be unique.")


def _extremes(values: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value, NaN if one is, 0 if there is none."""
    array = values.numpy(force=True)
    return (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)


def _finite(table: EventTable, name: str, column: Tensor, path: str | Path, first: int) -> None:
    good = np.isfinite(column.numpy(force=True))
    if not good.all():
        raise DataError(f"{path}: event {first + int(good.argmin())}: {name} is NaN or infinite.")


def _refuse(events: Deposits | Image, bad: Tensor, path: str | Path, name: str, what: str, first: int) -> None:
    """Raise DataError for the first row of ``bad`` (row,) or (row, 3) that is True."""
    rows = torch.nonzero(bad)
    if len(rows) == 0:
        return
    row = int(rows[0, 0])
    column = f"{name} {'xyz'[int(rows[0, 1])]}" if bad.ndim == 2 else name
    event = int(torch.searchsorted(events.offsets, row, right=True)) - 1
    word = "deposit" if isinstance(events, Deposits) else "voxel"
    given = getattr(events, name)[tuple(rows[0].tolist())].item()
    raise DataError(
        f"{path}: event {first + event}, {word} {row - int(events.offsets[event])}: {column} is {what} ({given:g})."
    )
