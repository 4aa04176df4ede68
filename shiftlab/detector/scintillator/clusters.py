"""Clusters: neighbouring strips of one plane that one visible particle lit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.detector.scintillator.photostatistics import Hits
from shiftlab.detector.scintillator.strips import StripGeometry

__all__ = ["Clusters", "clusters", "total"]


@dataclass(frozen=True)
class Clusters:
    """Clusters, sorted by event, plane and strip.

    Attributes:
        event: int64 (cluster,).
        plane: int64 (cluster,).
        first: int64 (cluster,), number of its first strip.
        strips: int64 (cluster,), how many.
        owner: int64 (cluster,), the visible particle.
        energy: float64 (cluster,), MeV.
        across: float64 (cluster,), cm, energy-weighted coordinate that the plane measures.
        along: float64 (cluster,), cm, energy-weighted true place along the strips.
        position: float64 (cluster, 3), cm, the same as x, y, z; z is the plane's middle.
    """

    event: Tensor
    plane: Tensor
    first: Tensor
    strips: Tensor
    owner: Tensor
    energy: Tensor
    across: Tensor
    along: Tensor
    position: Tensor

    def __len__(self) -> int:
        """Return the number of clusters."""
        return len(self.event)


def total(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return float64 (groups, ...): the sum of ``values`` (row, ...) over the rows of each group, in row order."""
    result = torch.zeros((groups, *values.shape[1:]), dtype=torch.float64, device=values.device)
    return result.index_add_(0, group, values.double())


def clusters(hits: Hits, geometry: StripGeometry) -> Clusters:
    """Return the clusters of calibrated hits: runs of neighbouring strips of one event, plane and owner."""
    begins = torch.ones(len(hits), dtype=torch.bool, device=hits.event.device)
    begins[1:] = (
        (hits.event[1:] != hits.event[:-1])
        | (hits.plane[1:] != hits.plane[:-1])
        | (hits.strip[1:] != hits.strip[:-1] + 1)
        | (hits.owner[1:] != hits.owner[:-1])
    )
    number = torch.cumsum(begins, 0) - 1
    count = int(begins.sum())
    energy = total(hits.energy, number, count)
    across = total(hits.energy * geometry.across(hits.strip), number, count) / energy
    along = total(hits.energy * hits.along, number, count) / energy
    plane = hits.plane[begins]
    x, y = geometry.transverse(plane, across, along)
    return Clusters(
        event=hits.event[begins],
        plane=plane,
        first=hits.strip[begins],
        strips=torch.bincount(number, minlength=count),
        owner=hits.owner[begins],
        energy=energy,
        across=across,
        along=along,
        position=torch.stack([x, y, geometry.depth(plane)], dim=1),
    )
