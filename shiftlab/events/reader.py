"""Reading events: the reader of a file is found by what the file holds, and what it gives is checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.registry import Registry

__all__ = ["Origin", "Reader", "read", "readers", "validate"]

Origin = tuple[float, float, float]
"""Position in the file's frame, cm, that becomes the corner (0, 0, 0) of the detector's frame."""


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
        """Say whether the file's content is of this format; never by its name."""

    @abstractmethod
    def read(self, path: Path, origin: Origin = (0.0, 0.0, 0.0), events: slice | None = None) -> Deposits:
        """Return the file's events, or those of a slice over them; ``origin`` is subtracted from positions."""


@cache
def readers() -> Registry[Reader]:
    """Return the register of readers, entry-point group ``shiftlab.readers``."""
    return Registry("shiftlab.readers", Reader, "reader")  # type: ignore[type-abstract]


def read(path: str | Path, *, origin: Origin = (0.0, 0.0, 0.0), events: slice | None = None) -> Deposits:
    """Read simulated events of any format that a reader knows.

    Args:
        path: The file.
        origin: Position in the file's frame (cm) of the corner of the detector's frame, where x = 0 is
            the anode and the beam runs along z.
        events: Which events, as a slice over those of the file; only their rows are kept in memory.

    Raises:
        DataError: no such file, no reader knows it, or it holds what ``validate`` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty.")
    known = [entry() for entry in readers()]
    for reader in known:
        if reader.accepts(path):
            deposits = reader.read(path, origin, events)
            validate(deposits, path)
            return deposits
    formats = "; ".join(f"{reader.name}: {reader.summary}" for reader in known)
    raise DataError(f"{path}: of no known format. Known are {formats or 'none'}.")


def validate(deposits: Deposits, path: str | Path) -> None:
    """Refuse events that no result may be built on.

    Raises:
        DataError: no events, NaN or infinite positions, energies, lengths or weights, negative energies
            or lengths, or duplicate event keys; the message names file, event and column.
    """
    if len(deposits) == 0:
        raise DataError(f"{path}: no events.")
    for name in ("position", "energy", "length"):
        _refuse(deposits, ~torch.isfinite(getattr(deposits, name)), path, name, "NaN or infinite")
    for name in ("energy", "length"):
        _refuse(deposits, getattr(deposits, name) < 0, path, name, "negative")
    events = deposits.events
    for name, column in (("weight", events.weight), ("visible_energy", events.truth["visible_energy"])):
        bad = torch.nonzero(~torch.isfinite(column))
        if len(bad):
            raise DataError(f"{path}: event {int(bad[0])}: {name} is NaN or infinite.")
    keys, counts = torch.unique(events.key, return_counts=True)
    if len(keys) < len(events):
        repeated = torch.nonzero(events.key == keys[counts > 1][0]).squeeze(1).tolist()
        raise DataError(f"{path}: events {repeated[0]} and {repeated[1]} have the same key; keys must be unique.")


def _refuse(deposits: Deposits, bad: Tensor, path: str | Path, name: str, what: str) -> None:
    """Raise DataError for the first row of ``bad`` (deposit,) or (deposit, 3) that is True."""
    rows = torch.nonzero(bad)
    if len(rows) == 0:
        return
    row = int(rows[0, 0])
    column = f"{name} {'xyz'[int(rows[0, 1])]}" if bad.ndim == 2 else name
    event = int(torch.searchsorted(deposits.offsets, row, right=True)) - 1
    within = row - int(deposits.offsets[event])
    raise DataError(f"{path}: event {event}, deposit {within}: {column} is {what}.")
