"""True particles of an event: which deposits are one particle, and which particle a lattice cell belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.ragged import ragged_rows
from shiftlab.events.tracks import TRACK_KINETIC, species
from shiftlab.units import PARTICLES, SEMANTIC

__all__ = ["BACKGROUND", "LEAST_CELLS", "VOID", "TrueParticles", "cell_owners", "joined_particles", "particle_numbers"]

LEAST_CELLS: Final = 5
"""Particles of fewer cells above the cut are not asked for: in cells of 3 mm they have no shape."""

BACKGROUND: Final = -1
"""Owner of a cell of low-energy deposits, which are no particle's (PILArNet puts them in a cluster of their own)."""

VOID: Final = -2
"""Owner of a voxel that no measure asks about: no cell of the truth, a particle that is too small, or one unknown."""

_LOW: Final = SEMANTIC.index("low_energy")
_KINDS: Final = len(PARTICLES)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TrueParticles:
    """Particles that are asked for; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        kind: int64 (particle,), id in ``units.PARTICLES``, -1 where unknown.
        cells: int64 (particle,), its cells above the cut, those among them that the image lost.
    """

    offsets: Tensor
    kind: Tensor
    cells: Tensor

    def __len__(self) -> int:
        """Return the number of events (not of particles)."""
        return len(self.offsets) - 1

    @property
    def event_index(self) -> Tensor:
        """int64 (particle,): the event of each particle."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.offsets.diff())

    @property
    def place(self) -> Tensor:
        """int64 (particle,): number of each particle in its event, from 0; what voxels call it by."""
        return torch.arange(len(self.kind), device=self.offsets.device) - self.offsets[:-1][self.event_index]

    def take(self, index: Tensor) -> TrueParticles:
        """Return the particles of the events at ``index`` (int64), in that order."""
        rows, offsets = ragged_rows(self.offsets, index)
        return TrueParticles(offsets, self.kind[rows], self.cells[rows])

    def to(self, device: torch.device | str) -> TrueParticles:
        """Return the same particles on ``device``."""
        return TrueParticles(self.offsets.to(device), self.kind.to(device), self.cells.to(device))


def joined_particles(parts: Sequence[TrueParticles]) -> TrueParticles:
    """Return the particles of the events of all parts, one after another."""
    counts = torch.cat([part.offsets.diff() for part in parts])
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int64, device=counts.device)
    offsets[1:] = counts.cumsum(0)
    return TrueParticles(offsets, torch.cat([part.kind for part in parts]), torch.cat([part.cells for part in parts]))


def particle_numbers(deposits: Deposits) -> Tensor:
    """Return int64 (deposit,): number of the particle that each deposit is part of, -1 where unknown.

    Files that give the owner of a deposit are taken at their word. Where the table of particles knows parents, a
    particle is part of its parent if both are electrons or photons (one shower), if its deposits carry the
    id of another kind (soft knock-on electrons and recoils), or if it is a charged hadron or nucleus below 15 MeV on
    its parent's track: the rules of the labels (``shiftlab.events.tracks``). So a shower is one particle, a delta
    ray or Michel electron one of its own, as a group of PILArNet is.

    Raises:
        DataError: the deposits do not say which particle made them.
    """
    if deposits.instance is None:
        lacking = "" if deposits.events.dataset == "" else f" of data set '{deposits.events.dataset}'"
        raise DataError(
            f"the deposits{lacking} have no 'instance', the particle that made each of them; tasks about particles "
            "need it. Take a file that has it: `shiftlab simulate` writes it, as do PILArNet-M, edep-sim and Geant4."
        )
    instance = deposits.instance.long()
    if deposits.particles is None or not {"number", "parent", "pdg", "kinetic"} <= set(deposits.particles.columns):
        return instance
    table = {name: column.cpu().numpy() for name, column in deposits.particles.columns.items()}
    number = table["number"].astype(np.int64)
    event = np.repeat(np.arange(len(deposits)), deposits.particles.offsets.diff().cpu().numpy())
    width = int(max(number.max(initial=0), int(instance.max()) if len(instance) else 0)) + 2
    row = _find(event * width + number, deposits.event_index.cpu().numpy() * width + instance.cpu().numpy())
    parent = np.nan_to_num(table["parent"], nan=-1.0).astype(np.int64)
    above = np.where(parent >= 0, _find(event * width + number, event * width + parent), -1)
    up = _joined(deposits, row, above, table["pdg"].astype(np.int64), table["kinetic"])
    head = np.where(up, above, np.arange(len(up)))
    while not np.array_equal(head[head], head):
        head = head[head]
    found = np.where(row >= 0, number[head[row]] if len(head) else -1, instance.cpu().numpy())
    return torch.from_numpy(found).to(instance.device)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """Return int64: the row of each wanted key, -1 where it is not."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    place = order[np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)]
    return np.where(keys[place] == wanted, place, -1)


def _joined(
    deposits: Deposits, row: Integers, above: Integers, pdg: Integers, kinetic: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return bool (particle,): whether a particle of the table is part of its parent."""
    own, known = species(pdg).astype(np.int64), row >= 0
    called = np.full(len(pdg), -1, dtype=np.int64)
    called[row[known]] = deposits.particle.cpu().numpy()[known]
    on_track = np.zeros(len(pdg), dtype=np.bool_)
    on_track[row[known & (deposits.semantic.cpu().numpy() == SEMANTIC.index("track"))]] = True
    shower = np.isin(np.abs(pdg), (11, 22))
    soft = ~shower & ~shower[above] & on_track & (kinetic < TRACK_KINETIC) & (np.abs(pdg) != 13)
    other = ~shower[above] & (called >= 0) & (called != own)
    joined: NDArray[np.bool_] = (above >= 0) & ((shower & shower[above]) | soft | other)
    return joined


def cell_owners(deposits: Deposits, rows: Tensor, cell: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
    """Return the particle with most energy in each cell, int64 (cell,), and its kind, int8 (cell,).

    Cells of low-energy class belong to ``BACKGROUND``, those of unknown particles to ``VOID``; their kind is -1.
    A particle's kind is the one with most of its energy.

    Args:
        deposits: The deposits.
        rows: int64 (row,), those that lie in a cell.
        cell: int64 (row,), number of the cell of each.
        semantic: int8 (cell,), class of each cell.
    """
    number, event = particle_numbers(deposits)[rows], deposits.event_index[rows]
    wide = int(number.max()) + 2 if len(number) else 2
    heads, head = torch.unique(event * wide + number + 1, return_inverse=True)
    energy, kind = deposits.energy[rows].double(), deposits.particle[rows].long()
    firm = (deposits.semantic[rows] != _LOW) & (number >= 0)
    kinds = torch.zeros(len(heads) * (_KINDS + 1), dtype=torch.float64, device=energy.device)
    kinds.index_add_(0, head * (_KINDS + 1) + kind + 1, energy)
    kind_of = kinds.view(-1, _KINDS + 1).argmax(dim=1) - 1
    many = max(len(heads), 1)
    pairs, inverse = torch.unique((cell * many + head)[firm], return_inverse=True)
    shared = torch.zeros(len(pairs), dtype=torch.float64, device=energy.device).index_add_(0, inverse, energy[firm])
    of_cell, of_head = pairs // many, pairs % many
    most = torch.zeros(len(semantic), dtype=torch.float64, device=energy.device)
    most.scatter_reduce_(0, of_cell, shared, "amax")
    best = shared == most[of_cell]
    owner = torch.full((len(semantic),), many, dtype=torch.int64, device=energy.device)
    owner.scatter_reduce_(0, of_cell[best], of_head[best], "amin")
    held = (owner < many) & (semantic != _LOW)
    nobody = torch.where(semantic == _LOW, BACKGROUND, VOID)
    safe = owner.clamp(max=many - 1)
    if not len(heads):
        return nobody, torch.full_like(semantic, -1)
    instance = torch.where(held, heads[safe] % wide - 1, nobody)
    return instance, torch.where(held, kind_of[safe], -1).to(torch.int8)
