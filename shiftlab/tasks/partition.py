"""How well found particles fit the true ones: shared cells, adjusted Rand index, purity, efficiency and matches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.tasks.particle_truth import BACKGROUND, VOID, TrueParticles

__all__ = ["Overlap", "adjusted_rand", "overlap"]


@dataclass(frozen=True)
class Overlap:
    """Cells that true and found particles share, event by event; padded with zeros to the largest numbers.

    Attributes:
        shared: float64 (event, 1 + true, 1 + found), cells of true particle t - 1 and found particle q - 1; row 0 is
            the low-energy background, column 0 what was given to no particle, cells that the image lost among it.
        kind: int64 (event, true), kind of each true particle, -1 where unknown or where there is none.
    """

    shared: Tensor
    kind: Tensor

    @property
    def inside(self) -> Tensor:
        """float64 (event, true, found): cells that are in both."""
        return self.shared[:, 1:, 1:]

    @property
    def true_cells(self) -> Tensor:
        """float64 (event, true): cells of each true particle, lost ones among them; 0 where there is none."""
        return self.shared[:, 1:].sum(dim=2)

    @property
    def found_cells(self) -> Tensor:
        """float64 (event, found): cells of each found particle, background among them; 0 where there is none."""
        return self.shared[:, :, 1:].sum(dim=1)

    @property
    def union_share(self) -> Tensor:
        """float64 (event, true, found): intersection over union; 0 where one of the two is not there."""
        union = self.true_cells[:, :, None] + self.found_cells[:, None, :] - self.inside
        return torch.where(union > 0, self.inside / union.clamp(min=1.0), 0.0)

    @property
    def matched(self) -> Tensor:
        """Pairs, bool (event, true, found), whose intersection is more than half of their union.

        There is at most one for each true and for each found particle, since cells have one owner (Kirillov et al.,
        arXiv:1801.00868, section 4.1).
        """
        return self.union_share > 0.5

    def purity(self) -> Tensor:
        """Return float64 (event,): sum over found particles of the largest share that one true particle has of it."""
        size = self.found_cells
        return (self.inside.amax(dim=1) / size.clamp(min=1.0)).sum(dim=1)

    def efficiency(self) -> Tensor:
        """Return float64 (event,): sum over true particles of the largest share that one found particle has of it."""
        size = self.true_cells
        return (self.inside.amax(dim=2) / size.clamp(min=1.0)).sum(dim=1)


def overlap(query: Tensor, queries: int, owner: Tensor, event: Tensor, particles: TrueParticles) -> Overlap:
    """Return the cells that true and found particles share.

    Voxels of ``VOID`` are left out. True cells that the image lost are given to no particle.

    Args:
        query: int64 (voxel,), found particle of each voxel, -1 for none.
        queries: How many particles can be found.
        owner: int64 (voxel,), as ``MatchedTruth.owner``.
        event: int64 (voxel,), event of each voxel.
        particles: The true particles.
    """
    events = len(particles)
    most = max(1, int(particles.offsets.diff().max())) if events else 1
    asked = owner != VOID
    true = torch.where(owner == BACKGROUND, 0, owner + 1)[asked]
    place = (event[asked] * (most + 1) + true) * (queries + 1) + query[asked] + 1
    counts = torch.bincount(place, minlength=events * (most + 1) * (queries + 1))
    shared = counts.view(events, most + 1, queries + 1).double()
    of_event, which = particles.event_index, particles.place
    shared[of_event, which + 1, 0] += particles.cells - shared[of_event, which + 1].sum(dim=1)
    kind = torch.full((events, most), -1, dtype=torch.int64, device=owner.device)
    kind[of_event, which] = particles.kind
    return Overlap(shared, kind)


def adjusted_rand(shared: Tensor) -> Tensor:
    """Return the adjusted Rand index of two partitions of the same cells.

    ARI = (S - E) / (M - E) with S = sum_ij C(n_ij, 2), M = (sum_i C(a_i, 2) + sum_j C(b_j, 2)) / 2 and
    E = sum_i C(a_i, 2) sum_j C(b_j, 2) / C(n, 2): Hubert and Arabie, J. Classification 2 (1985) 193, equation 5. Two
    partitions into one part, or into single cells, are equal: 1.

    Args:
        shared: (..., part, part), cells that parts of the two share.

    Returns:
        float64 (...); NaN where there are fewer than two cells.
    """
    shared = shared.double()
    both = _pairs(shared).sum(dim=(-2, -1))
    first, second = _pairs(shared.sum(dim=-1)).sum(dim=-1), _pairs(shared.sum(dim=-2)).sum(dim=-1)
    every = _pairs(shared.sum(dim=(-2, -1)))
    chance = first * second / every.clamp(min=1.0)
    most = (first + second) / 2
    index = torch.where(most > chance, (both - chance) / (most - chance).clamp(min=1e-300), 1.0)
    return torch.where(every > 0, index, torch.nan)


def _pairs(count: Tensor) -> Tensor:
    return count * (count - 1) / 2
