"""Reconstructed particles and clusters of many events as flat tokens, with one row of globals per event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import EventTable, concatenate_tables

__all__ = ["Tokens", "concatenate_tokens"]


@dataclass(frozen=True)
class Tokens:
    """Tokens; those of event i are rows ``offsets[i]:offsets[i + 1]``. Padding is gone: every row is a real token.

    Attributes:
        offsets: int64 (event + 1,).
        features: float32 (token, column), in the units that ``units`` says.
        columns: name of each column of ``features``.
        units: unit of each column, say ``log(MeV)``; part of the column, so that MeV is never taken for GeV.
        valid: bool (token, column), False where the file had a sentinel (-999, say); the feature is then 0.
        particle: int64 (token,), the token's kind in ``kinds``.
        kinds: name of each kind, say ``muon``, ``blob``.
        globals: float32 (event, global).
        global_columns: name of each global.
        global_units: unit of each global.
        global_valid: bool (event, global), False where the file had a sentinel.
        events: the table of events.
    """

    offsets: Tensor
    features: Tensor
    columns: tuple[str, ...]
    units: tuple[str, ...]
    valid: Tensor
    particle: Tensor
    kinds: tuple[str, ...]
    globals: Tensor
    global_columns: tuple[str, ...]
    global_units: tuple[str, ...]
    global_valid: Tensor
    events: EventTable

    def __len__(self) -> int:
        """Return the number of events (not of tokens)."""
        return len(self.events)

    @property
    def counts(self) -> Tensor:
        """int64 (event,): tokens of each event."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def event_index(self) -> Tensor:
        """int64 (token,): the event that each token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.counts)

    def column(self, name: str) -> Tensor:
        """Return float32 (token,): one column of the features.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.columns:
            raise DataError(f"tokens have no column '{name}'; they have {', '.join(self.columns)}.")
        return self.features[:, self.columns.index(name)]

    def take(self, index: Tensor | Sequence[int]) -> Tokens:
        """Return the events at ``index``, in that order, with their tokens."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.offsets.device)
        counts = self.counts[index]
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        within = torch.arange(int(offsets[-1]), device=counts.device) - torch.repeat_interleave(offsets[:-1], counts)
        rows = torch.repeat_interleave(self.offsets[:-1][index], counts) + within
        return Tokens(
            offsets=offsets,
            features=self.features[rows],
            columns=self.columns,
            units=self.units,
            valid=self.valid[rows],
            particle=self.particle[rows],
            kinds=self.kinds,
            globals=self.globals[index],
            global_columns=self.global_columns,
            global_units=self.global_units,
            global_valid=self.global_valid[index],
            events=self.events.take(index),
        )

    def check(self, path: str | Path) -> None:
        """Refuse NaN or infinite features and globals, and kinds out of range.

        Raises:
            DataError: naming file, event, token and column.
        """
        bad = torch.nonzero(~torch.isfinite(self.features))
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(f"{path}: {self._token(row)}: {self.columns[column]} is NaN or infinite.")
        bad = torch.nonzero((self.particle < 0) | (self.particle >= len(self.kinds)))
        if len(bad):
            row = int(bad[0])
            kind = int(self.particle[row])
            raise DataError(f"{path}: {self._token(row)}: kind {kind}; allowed: 0 to {len(self.kinds) - 1}.")
        bad = torch.nonzero(~torch.isfinite(self.globals))
        if len(bad):
            event, column = bad[0].tolist()
            raise DataError(f"{path}: event {event}: global {self.global_columns[column]} is NaN or infinite.")

    def _token(self, row: int) -> str:
        event = int(torch.searchsorted(self.offsets, row, right=True)) - 1
        return f"event {event}, token {row - int(self.offsets[event])}"


def concatenate_tokens(parts: Sequence[Tokens]) -> Tokens:
    """Return the events of all parts, one after another.

    Raises:
        DataError: the parts differ in columns, units or kinds, or there is none.
    """
    if not parts:
        raise DataError("no events: every one was left out.")
    first = parts[0]
    fixed: Mapping[str, tuple[str, ...]] = {
        name: getattr(first, name) for name in ("columns", "units", "kinds", "global_columns", "global_units")
    }
    for part in parts:
        for name, value in fixed.items():
            if getattr(part, name) != value:
                raise DataError(f"tokens with different {name} cannot be joined: {value} and {getattr(part, name)}.")
    offsets = torch.zeros(sum(len(part) for part in parts) + 1, dtype=torch.int64)
    torch.cumsum(torch.cat([part.counts for part in parts]), 0, out=offsets[1:])
    return Tokens(
        offsets=offsets,
        features=torch.cat([part.features for part in parts]),
        columns=first.columns,
        units=first.units,
        valid=torch.cat([part.valid for part in parts]),
        particle=torch.cat([part.particle for part in parts]),
        kinds=first.kinds,
        globals=torch.cat([part.globals for part in parts]),
        global_columns=first.global_columns,
        global_units=first.global_units,
        global_valid=torch.cat([part.global_valid for part in parts]),
        events=concatenate_tables([part.events for part in parts]),
    )
