"""True particles of many events: one row per particle, columns by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.events.ragged import ragged_rows

__all__ = ["PARTICLE_COLUMNS", "ParticleTable", "concatenate_particles"]

PARTICLE_COLUMNS = {
    "number": "1",
    "interaction": "1",
    "parent": "1",
    "primary": "1",
    "particle": "1",
    "pdg": "1",
    "mass": "MeV",
    "kinetic": "MeV",
    "momentum": "MeV",
    "momentum_x": "MeV",
    "momentum_y": "MeV",
    "momentum_z": "MeV",
    "vertex_x": "cm",
    "vertex_y": "cm",
    "vertex_z": "cm",
}
"""Columns that a table may have, with their units. ``number`` is what ``Deposits.instance`` points at (unique in its
event), ``parent`` the parent's number, ``primary`` 1 or 0, ``particle`` an id of ``units.PARTICLES``."""


@dataclass(frozen=True)
class ParticleTable:
    """Particles; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        columns: float64 (particle,) by name, names and units as in PARTICLE_COLUMNS; NaN where the file has no value.
    """

    offsets: Tensor
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        """Return the number of events (not of particles)."""
        return len(self.offsets) - 1

    def take(self, index: Tensor) -> ParticleTable:
        """Return the particles of the events at ``index`` (int64), in that order."""
        rows, offsets = ragged_rows(self.offsets, index)
        return ParticleTable(offsets, {name: column[rows] for name, column in self.columns.items()})

    def to(self, device: torch.device | str) -> ParticleTable:
        """Return the same table on ``device``."""
        return ParticleTable(self.offsets.to(device), {name: c.to(device) for name, c in self.columns.items()})


def concatenate_particles(tables: Sequence[ParticleTable]) -> ParticleTable:
    """Return the particles of all tables, one after another; columns missing in a table are NaN."""
    counts = torch.cat([table.offsets.diff() for table in tables])
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int64)
    torch.cumsum(counts, 0, out=offsets[1:])
    given = dict.fromkeys(name for table in tables for name in table.columns)
    names = [
        *(name for name in PARTICLE_COLUMNS if name in given),
        *(name for name in given if name not in PARTICLE_COLUMNS),
    ]
    blank = [torch.full((int(table.offsets[-1]),), float("nan"), dtype=torch.float64) for table in tables]
    return ParticleTable(
        offsets,
        {n: torch.cat([t.columns.get(n, b) for t, b in zip(tables, blank, strict=True)]) for n in names},
    )
