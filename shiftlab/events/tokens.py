"""Reconstructed particles and clusters of many events as flat tokens, with one row of globals per event."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import EventTable, concatenate_tables
from shiftlab.events.ragged import ragged_rows

__all__ = ["Tokens", "concatenate_tokens", "in_units"]


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
        truth: named float64 (token,) tensors, what is true of each token; NaN where the file does not say.
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
    truth: Mapping[str, Tensor] = field(default_factory=dict)

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
        rows, offsets = ragged_rows(self.offsets, index)
        return replace(
            self,
            offsets=offsets,
            features=self.features[rows],
            valid=self.valid[rows],
            particle=self.particle[rows],
            globals=self.globals[index],
            global_valid=self.global_valid[index],
            events=self.events.take(index),
            truth={name: value[rows] for name, value in self.truth.items()},
        )

    def to(self, device: torch.device | str) -> Tokens:
        """Return the same events on ``device``."""
        names = ("offsets", "features", "valid", "particle", "globals", "global_valid", "events")
        moved = {name: getattr(self, name).to(device) for name in names}
        return replace(self, **moved, truth={name: value.to(device) for name, value in self.truth.items()})

    def check(self, path: str | Path, first: int = 0) -> None:
        """Refuse NaN or infinite features and globals, and kinds out of range; ``first`` is the first event's number.

        Raises:
            DataError: naming file, event, token and column.
        """
        # A finite sum has finite terms; only a sum that is not finite is worth the search for the term.
        if not bool(torch.isfinite(self.features.sum())) and len(bad := torch.nonzero(~torch.isfinite(self.features))):
            row, column = bad[0].tolist()
            raise DataError(f"{path}: {self._token(row, first)}: {self.columns[column]} is NaN or infinite.")
        low, high = torch.aminmax(self.particle) if len(self.particle) else (0, -1)
        if low < 0 or high >= len(self.kinds):
            row = int(torch.nonzero((self.particle < 0) | (self.particle >= len(self.kinds)))[0])
            kind = int(self.particle[row])
            raise DataError(f"{path}: {self._token(row, first)}: kind {kind}; allowed: 0 to {len(self.kinds) - 1}.")
        if not bool(torch.isfinite(self.globals.sum())) and len(bad := torch.nonzero(~torch.isfinite(self.globals))):
            event, column = bad[0].tolist()
            raise DataError(f"{path}: event {first + event}: global {self.global_columns[column]} is NaN or infinite.")

    def _token(self, row: int, first: int) -> str:
        event = int(torch.searchsorted(self.offsets, row, right=True)) - 1
        return f"event {first + event}, token {row - int(self.offsets[event])}"


def in_units(tokens: Tokens, unit: Literal["MeV", "GeV"]) -> Tokens:
    """Return the tokens with their energies in ``unit``: columns and globals in log(MeV) or log(GeV), MeV or GeV.

    A logarithm moves by ln(1000), worked out in float64 and rounded once; entries that are not valid stay 0.
    Other units stay, among them ``log(MeV/cm)``, and so does the truth. A floor inside a logarithm moves with
    it: log(E + 1e-6 MeV) becomes log(E + 1e-9 GeV).

    Raises:
        DataError: ``unit`` is neither.
    """
    if unit not in ("MeV", "GeV"):
        raise DataError(f"energies in '{unit}'; allowed: MeV, GeV.")
    features = _rescaled(tokens.features, tokens.units, tokens.valid, unit)
    numbers = _rescaled(tokens.globals, tokens.global_units, tokens.global_valid, unit)
    return replace(
        tokens,
        features=features,
        units=tuple(_renamed(one, unit) for one in tokens.units),
        globals=numbers,
        global_units=tuple(_renamed(one, unit) for one in tokens.global_units),
    )


def _renamed(old: str, unit: str) -> str:
    return {"log(MeV)": f"log({unit})", "log(GeV)": f"log({unit})", "MeV": unit, "GeV": unit}.get(old, old)


def _rescaled(values: Tensor, units: Sequence[str], valid: Tensor, unit: str) -> Tensor:
    """Return float32 (row, column) with the columns whose unit changes in the new one."""
    changed = [i for i, old in enumerate(units) if _renamed(old, unit) != old]
    if not changed:
        return values
    result = values.clone()
    power = 3 if unit == "MeV" else -3
    for i in changed:
        column = values[:, i].double()
        if units[i].startswith("log("):
            column = column + math.copysign(math.log(1000.0), power)
        else:
            column = column * 1000.0 if power > 0 else column / 1000.0
        result[:, i] = torch.where(valid[:, i], column.to(values.dtype), values[:, i])
    return result


def concatenate_tokens(parts: Sequence[Tokens]) -> Tokens:
    """Return the events of all parts, one after another; truth that a part lacks is NaN there.

    Raises:
        DataError: the parts differ in columns, units or kinds, or there is none.
    """
    if not parts:
        raise DataError("no events: every one was left out.")
    first = parts[0]
    if len(parts) == 1:
        return first
    fixed: Mapping[str, tuple[str, ...]] = {
        name: getattr(first, name) for name in ("columns", "units", "kinds", "global_columns", "global_units")
    }
    for part in parts:
        for name, value in fixed.items():
            if getattr(part, name) != value:
                raise DataError(f"tokens with different {name} cannot be joined: {value} and {getattr(part, name)}.")
    offsets = torch.zeros(sum(len(part) for part in parts) + 1, dtype=torch.int64)
    torch.cumsum(torch.cat([part.counts for part in parts]), 0, out=offsets[1:])
    names = sorted({name for part in parts for name in part.truth})
    blank = [torch.full((len(part.features),), float("nan"), dtype=torch.float64) for part in parts]
    return replace(
        first,
        offsets=offsets,
        features=torch.cat([part.features for part in parts]),
        valid=torch.cat([part.valid for part in parts]),
        particle=torch.cat([part.particle for part in parts]),
        globals=torch.cat([part.globals for part in parts]),
        global_valid=torch.cat([part.global_valid for part in parts]),
        events=concatenate_tables([part.events for part in parts]),
        truth={n: torch.cat([p.truth.get(n, b) for p, b in zip(parts, blank, strict=True)]) for n in names},
    )
