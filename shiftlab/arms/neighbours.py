"""The 26 neighbours of each voxel on the lattice: what a body knows of a voxel's own surroundings."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.image import Image

__all__ = ["AROUND", "NeighbourSum", "Surroundings", "kept_neighbours", "neighbours", "reordered_neighbours"]

AROUND: Final = 27
"""Places of the 3 x 3 x 3 cells around a voxel, itself among them."""

_SELF: Final = AROUND // 2


def neighbours(image: Image, *, mirror: bool = False) -> Tensor:
    """Return int32 (voxel, 27): for each place around a voxel, how many rows on its voxel lies; 0 where none is.

    Place ``(dx + 1) * 9 + (dy + 1) * 3 + (dz + 1)`` is the cell at that displacement.

    Args:
        image: Voxels, ascending by cell in each event.
        mirror: Whether y is mirrored.
    """
    nx, ny, nz = image.shape
    index = image.index
    across, along = ny + 2, nz + 2
    key = ((image.event_index * (nx + 2) + index[:, 0] + 1) * across + index[:, 1] + 1) * along + index[:, 2] + 1
    voxels = len(key)
    near = torch.zeros(voxels, AROUND, dtype=torch.int32, device=key.device)
    if not voxels:
        return near
    rows = torch.arange(voxels, device=key.device)
    padded = torch.cat([key, key.new_full((3,), torch.iinfo(torch.int64).max)])
    # Half of the displacements; the others are their opposites.
    for dx, dy in ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1)):
        base = key + (dx * across + dy) * along - 1
        low = rows if dx == dy == 0 else torch.searchsorted(key, base)
        for step in range(3):
            place = padded[low + step] - base
            if dx == dy == 0:
                place = torch.where(place == 2, place, 3) if step == 1 else torch.full_like(place, 3)
            there = torch.nonzero(place < 3).squeeze(1)
            column = (dx + 1) * 9 + ((-dy if mirror else dy) + 1) * 3 + place[there]
            other = low[there] + step
            apart = (other - there).int()
            near[there, column] = apart
            near[other, AROUND - 1 - column] = -apart
    return near


def reordered_neighbours(near: Tensor, order: Tensor) -> Tensor:
    """Return the neighbours (voxel, 27) of voxels that are put into another order, ``order`` int64 (voxel,)."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    there = place[order[:, None] + near[order]]
    return (there - torch.arange(len(order), device=order.device)[:, None]).int()


def kept_neighbours(near: Tensor, rows: Tensor) -> Tensor:
    """Return the neighbours (row, 27) among the voxels at ``rows``, int64 (row,); the others are gone."""
    own = torch.arange(len(rows), device=rows.device)
    place = torch.full((len(near),), -1, dtype=torch.int64, device=rows.device)
    place[rows] = own
    there = place[rows[:, None] + near[rows]]
    return torch.where(there >= 0, there - own[:, None], 0).int()


class Surroundings:
    """The neighbours of the voxels of one batch, as dense rows and as ragged lists.

    Attributes:
        row: int64 (voxel, 27), row of the voxel at each place, the voxel's own where there is none.
        there: bool (voxel, 27), whether there is one; the voxel itself counts.
    """

    def __init__(self, near: Tensor) -> None:
        """Take the relative rows that ``neighbours`` gives."""
        rows = torch.arange(len(near), device=near.device)
        self.row = rows[:, None] + near
        self.there = near != 0
        self.there[:, _SELF] = True
        self.list = self.row[self.there]
        counts = self.there.sum(1)
        self.starts = counts.cumsum(0) - counts

    def features(self, value: Tensor) -> Tensor:
        """Return float32 (voxel, 54): occupancy and ``value`` at the places around each voxel."""
        there = self.there.to(value.dtype)
        return torch.cat([there, value[self.row] * there], dim=1)

    def sum(self, features: Tensor) -> Tensor:
        """Return (voxel, column): the sum of ``features`` over each voxel and its neighbours."""
        total: Tensor = NeighbourSum.apply(features, self.list, self.starts)
        return total


class NeighbourSum(torch.autograd.Function):
    """Sum over neighbours; who is whose neighbour is mutual, so that its gradient is the same sum."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        """Return (voxel, column); ``rows`` (pair,) are the neighbours, from ``starts`` (voxel,) on."""
        ctx.save_for_backward(rows, starts)
        return functional.embedding_bag(rows, features, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Return the sum of the gradients of the neighbours."""
        rows, starts = ctx.saved_tensors
        return functional.embedding_bag(rows, gradient.contiguous(), starts, mode="sum"), None, None
