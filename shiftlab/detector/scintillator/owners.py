"""Visible particles: the true particles that a track or a shower is made by, with all their soft secondaries.

This is where the toy reconstruction looks at the truth: it is told which particle a deposit comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from shiftlab.detector.scintillator.photostatistics import Hits
from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.particles import ParticleTable
from shiftlab.units import SEMANTIC

__all__ = ["Owners", "owners", "with_nobody"]

_NEEDED: Final = ("number", "pdg", "kinetic", "momentum_x", "momentum_y", "momentum_z")
_NEUTRAL: Final = (12, 14, 16, 22, 111, 130, 221, 310, 311, 2112, 3122, 3212)
_CODES: Final = (22, 11, 13, 211, 2212, 0)
"""PDG code for each id of ``units.PARTICLES``, where a file gives no more than the id."""

_SOFT: Final = 15.0
"""MeV; softer charged secondaries of charged particles belong to their parent, as in the semantic labels."""

_SHOWER, _TRACK, _MICHEL, _DELTA = (SEMANTIC.index(name) for name in ("shower", "track", "michel", "delta"))


@dataclass(frozen=True)
class Owners:
    """Visible particles of many events, one row each; rows without deposits may be among them.

    Attributes:
        event: int64 (owner,).
        pdg: int64 (owner,), of the particle that heads it; 0 where unknown.
        primary: bool (owner,), True for particles that left the nucleus.
        track: bool (owner,), True for charged particles that make tracks, not showers.
        photon: bool (owner,), True for photons that are primary or from the decay of a neutral pion.
        michel: bool (owner,), True for the electron of a muon's decay.
        momentum: float64 (owner, 3), MeV/c, true, at birth; 0 where unknown.
    """

    event: Tensor
    pdg: Tensor
    primary: Tensor
    track: Tensor
    photon: Tensor
    michel: Tensor
    momentum: Tensor


def owners(deposits: Deposits) -> tuple[Owners, Tensor]:
    """Return the visible particles, and int64 (deposit,), the row of the one that each deposit belongs to.

    Where the table knows the parent, a particle belongs to it when both are electrons or photons (one
    shower), when it is an electron that a charged particle knocked on (a delta ray; not a Michel electron), or
    when it is a charged hadron or nucleus below 15 MeV of a charged parent. A delta ray without known parent
    belongs to the track nearest to it. Every other particle heads a row. Deposits of unknown particle share one
    row in each event.

    Raises:
        DataError: the deposits have no ``instance`` or no table of particles, or a column of it is missing.
    """
    if deposits.instance is None or deposits.particles is None:
        lacking = "instance" if deposits.instance is None else "particles"
        raise DataError(
            f"deposits without '{lacking}': the scintillator's toy reconstruction groups hits by the true particle "
            "that made them. Read a file that says which (format geant4, say)."
        )
    for name in _NEEDED:
        if name not in deposits.particles.columns:
            raise DataError(f"the table of particles has no column '{name}'; the toy reconstruction needs it.")
    table = _Table(deposits.particles)
    made_by, event, number = _nodes(deposits, deposits.instance.long(), table)
    row = table.find(event, number)
    shape, species = _seen(deposits, made_by, len(event))
    pdg = table.column("pdg", row, _code(species)).long()
    # -2 is nobody's number; -1 is that of deposits of unknown particle.
    parent = _find(event, number, event, table.column("parent", row, torch.full_like(number, -2)).long())
    above = torch.where(parent >= 0, pdg[parent.clamp(min=0)], 0)
    primary = table.column("primary", row, torch.zeros_like(number)) == 1
    michel = _touched(deposits, made_by, _MICHEL, len(event)) & (pdg.abs() == 11)
    michel &= (parent < 0) | (above.abs() == 13)
    head = _heads(
        pdg, parent, table.column("kinetic", row, torch.full_like(event, torch.inf, dtype=torch.float64)), michel
    )
    charged = (pdg.abs() < 10**9) & ~torch.isin(pdg.abs(), torch.tensor((0, 11, *_NEUTRAL), device=pdg.device))
    shower = (parent < 0) & ~primary & (shape == _SHOWER)
    momentum = [table.column(f"momentum_{axis}", row, torch.zeros_like(event)) for axis in "xyz"]
    found = Owners(
        event=event,
        pdg=pdg,
        primary=primary,
        track=charged | ((pdg == 0) & (shape == _TRACK)),
        photon=(pdg == 22) & (primary | (above == 111) | shower),
        michel=michel,
        momentum=torch.stack(momentum, dim=1),
    )
    delta = (shape == _DELTA) & (pdg.abs() == 11) & (parent < 0) & ~primary
    owner = _attached(deposits, head[made_by], delta, found.track)
    return found, owner


def with_nobody(found: Owners, hits: Hits) -> tuple[Owners, Hits]:
    """Return the owners with one row more per event, which gets the hits of owner -1: light that no particle left.

    Such hits, of cross-talk say, are no part of a track or photon; pattern recognition makes blobs of them.
    """
    events = len(hits.key)
    event = torch.arange(events, device=found.event.device)
    blank = torch.zeros(events, dtype=torch.bool, device=event.device)
    nobody = Owners(
        event=event,
        pdg=torch.zeros_like(event),
        primary=blank,
        track=blank,
        photon=blank,
        michel=blank,
        momentum=torch.zeros((events, 3), dtype=found.momentum.dtype, device=event.device),
    )
    both = {name: torch.cat([getattr(found, name), getattr(nobody, name)]) for name in Owners.__dataclass_fields__}
    owner = torch.where(hits.owner < 0, len(found.event) + hits.event, hits.owner)
    return Owners(**both), replace(hits, owner=owner)


class _Table:
    """The table of particles, looked up by event and number."""

    def __init__(self, particles: ParticleTable) -> None:
        counts = particles.offsets.diff()
        self.event = torch.repeat_interleave(torch.arange(len(particles), device=counts.device), counts)
        self.number = particles.columns["number"].long()
        self.columns = particles.columns

    def find(self, event: Tensor, number: Tensor) -> Tensor:
        """Return int64: the row of each (event, number), -1 where there is none."""
        return _find(self.event, self.number, event, number)

    def column(self, name: str, row: Tensor, default: Tensor) -> Tensor:
        """Return float64: a column at ``row``, the default where there is no row, no such column or no value."""
        if name not in self.columns or len(self.number) == 0:
            return default.double()
        value = self.columns[name].double()[row.clamp(min=0)]
        return torch.where((row >= 0) & torch.isfinite(value), value, default.double())


def _find(events: Tensor, numbers: Tensor, event: Tensor, number: Tensor) -> Tensor:
    """Return int64: the place of each (event, number) among (events, numbers), -1 where it is not."""
    if len(numbers) == 0:
        return torch.full_like(number, -1)
    width = int(numbers.max()) + 2
    keys, order = torch.sort(events * width + numbers + 1)
    wanted = event * width + number + 1
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    found = (keys[place] == wanted) & (number >= -1) & (number < width - 1)
    return torch.where(found, order[place], -1)


def _nodes(deposits: Deposits, instance: Tensor, table: _Table) -> tuple[Tensor, Tensor, Tensor]:
    """Return int64 (deposit,), the particle of each deposit, and int64 (particle,), event and number of each."""
    most = max(int(part.max()) if len(part) else -1 for part in (instance, table.number))
    width = most + 2
    own = deposits.event_index * width + instance.clamp(min=-1) + 1
    listed = table.event * width + table.number + 1
    keys, place = torch.unique(torch.cat([own, listed]), return_inverse=True)
    return place[: len(own)], keys // width, keys % width - 1


def _seen(deposits: Deposits, made_by: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return int64 (particle,) twice: semantic class of most energy, id of ``units.PARTICLES``; -1 where no deposit."""
    classes = len(SEMANTIC) + 1
    place = made_by * classes + deposits.semantic.long() + 1
    # Whole numbers of 2^-20 MeV, so that the sum does not depend on its order.
    energy = torch.round(deposits.energy.double() * 2.0**20).long()
    sums = torch.zeros(count * classes, dtype=torch.int64, device=made_by.device).index_add_(0, place, energy)
    shape = sums.view(count, classes).argmax(dim=1) - 1
    species = torch.full((count,), -1, dtype=torch.int64, device=made_by.device)
    return shape, species.scatter_reduce(0, made_by, deposits.particle.long(), "amax")


def _code(species: Tensor) -> Tensor:
    """Return int64: the PDG code of ids of ``units.PARTICLES``, 0 for -1."""
    return torch.tensor((*_CODES, 0), device=species.device)[species]


def _touched(deposits: Deposits, made_by: Tensor, semantic: int, count: int) -> Tensor:
    """Return bool (particle,): particles with a deposit of the class."""
    found = torch.zeros(count, dtype=torch.bool, device=made_by.device)
    found[made_by[deposits.semantic == semantic]] = True
    return found


def _heads(pdg: Tensor, parent: Tensor, kinetic: Tensor, michel: Tensor) -> Tensor:
    """Return int64 (particle,): the particle that heads each one's visible particle."""
    above = parent.clamp(min=0)
    electromagnetic = torch.isin(pdg.abs(), torch.tensor([11, 22], device=pdg.device))
    neutral = torch.isin(pdg.abs(), torch.tensor(_NEUTRAL, device=pdg.device))
    knocked = (pdg.abs() == 11) & ~neutral[above] & ~michel
    soft = ~electromagnetic & ~neutral & (kinetic < _SOFT) & ~neutral[above] & ~electromagnetic[above]
    joined = (parent >= 0) & ((electromagnetic & electromagnetic[above]) | knocked | soft)
    pointer = torch.where(joined, parent, torch.arange(len(pdg), device=pdg.device))
    while True:
        further = pointer[pointer]
        if torch.equal(further, pointer):
            return pointer
        pointer = further


def _attached(deposits: Deposits, owner: Tensor, delta: Tensor, track: Tensor) -> Tensor:
    """Return the owner of each deposit, delta rays given to the track whose deposit is nearest to one of theirs."""
    loose = torch.nonzero(delta[owner]).squeeze(1)
    core = torch.nonzero(track[owner]).squeeze(1)
    if len(loose) == 0 or len(core) == 0:
        return owner
    # One tree for all events: each is moved far from the others along a fourth axis.
    where = torch.cat([deposits.position.double(), deposits.event_index[:, None] * 1.0e5], dim=1).cpu().numpy()
    distance, nearest = cKDTree(where[core.cpu().numpy()]).query(where[loose.cpu().numpy()], distance_upper_bound=1e4)
    order = torch.argsort(torch.from_numpy(distance).to(owner.device), stable=True)
    order = order[torch.argsort(owner[loose[order]], stable=True)]
    rays = owner[loose[order]]
    first = torch.ones(len(order), dtype=torch.bool, device=owner.device)
    first[1:] = rays[1:] != rays[:-1]
    closest = order[first]
    reached = torch.from_numpy(distance).to(owner.device)[closest] < 1e4
    target = torch.arange(len(track), device=owner.device)
    chosen = torch.from_numpy(nearest).to(owner.device)[closest[reached]]
    target[owner[loose[closest[reached]]]] = owner[core[chosen]]
    return target[owner]
