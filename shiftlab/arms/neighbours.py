"""The 26 neighbours of each voxel on the lattice: what a body knows of a voxel's own surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.image import Image
from shiftlab.events.ragged import ragged_rows

__all__ = ["AROUND", "NeighbourSum", "Neighbours", "neighbours"]

AROUND: Final = 27
"""Places of the 3 x 3 x 3 cells around a voxel, itself among them."""

_SELF: Final = AROUND // 2


@dataclass(frozen=True)
class Neighbours:
    """Who lies beside whom: those of voxel i are pairs ``offsets[i]:offsets[i + 1]``, itself among them.

    Attributes:
        offsets: int64 (voxel + 1,).
        apart: int32 (pair,), how many rows after the voxel its neighbour is.
        place: int64 (pair,), ``(dx + 1) * 9 + (dy + 1) * 3 + (dz + 1)`` for a neighbour at that displacement.
    """

    offsets: Tensor
    apart: Tensor
    place: Tensor

    def __len__(self) -> int:
        """Return the number of voxels."""
        return len(self.offsets) - 1

    @property
    def owner(self) -> Tensor:
        """int64 (pair,): the voxel whose neighbour each is."""
        rows = torch.arange(len(self), device=self.offsets.device)
        return torch.repeat_interleave(rows, self.offsets.diff())

    @cached_property
    def row(self) -> Tensor:
        """int64 (pair,): row of each neighbour."""
        return self.owner + self.apart

    def features(self, value: Tensor) -> Tensor:
        """Return float32 (voxel, 54): occupancy and ``value`` at the places around each voxel."""
        around = value.new_zeros(len(self), 2 * AROUND)
        column = self.owner * (2 * AROUND) + self.place
        around.view(-1)[column] = 1.0
        around.view(-1)[column + AROUND] = value[self.row]
        return around

    def present_features(self, value: Tensor, weight: Tensor) -> Tensor:
        """Return ``features`` where ``weight`` (voxel,) says how far each voxel is there; for itself each one is."""
        around = value.new_zeros(len(self), 2 * AROUND).view(-1)
        column, row = self.owner * (2 * AROUND) + self.place, self.row
        seen = torch.where(self.place == _SELF, torch.ones_like(weight[:1]), weight[row])
        around = around.index_put((torch.cat([column, column + AROUND]),), torch.cat([seen, seen * value[row]]))
        return around.view(len(self), 2 * AROUND)

    def present_sum(self, features: Tensor, weight: Tensor) -> Tensor:
        """Return ``sum`` where ``weight`` (voxel,) says how far each voxel is there; for itself each one is."""
        return self.sum(features * weight[:, None]) + features * (1.0 - weight[:, None])

    def sum(self, features: Tensor) -> Tensor:
        """Return (voxel, column): the sum of ``features`` over each voxel and its neighbours."""
        total: Tensor = NeighbourSum.apply(features, self.row, self.offsets[:-1])  # type: ignore[no-untyped-call]
        return total

    def between(self, first: int, last: int) -> Neighbours:
        """Return those of voxels ``first:last``, none of which has a neighbour outside; views."""
        a, b = int(self.offsets[first]), int(self.offsets[last])
        return Neighbours(self.offsets[first : last + 1] - a, self.apart[a:b], self.place[a:b])

    def take(self, rows: Tensor, *, whole: bool = False) -> Neighbours:
        """Return those of the voxels at ``rows``, int64 (row,), in that order; voxels that are not taken are gone.

        Args:
            rows: Which voxels.
            whole: Whether events stay whole and in one piece, so that neighbours stay as far apart.
        """
        pairs, offsets = ragged_rows(self.offsets, rows)
        if whole:
            return Neighbours(offsets, self.apart[pairs], self.place[pairs])
        place = torch.full((len(self),), -1, dtype=torch.int64, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        owner = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), offsets.diff())
        there = place[self.row[pairs]]
        apart, around = (there - owner).int(), self.place[pairs]
        kept = there >= 0
        if not bool(kept.all()):
            apart, around, owner = apart[kept], around[kept], owner[kept]
            offsets = torch.zeros_like(offsets)
            torch.cumsum(torch.bincount(owner, minlength=len(rows)), 0, out=offsets[1:])
        return Neighbours(offsets, apart, around)

    def to(self, device: torch.device | str) -> Neighbours:
        """Return the same pairs on ``device``."""
        return Neighbours(self.offsets.to(device), self.apart.to(device), self.place.to(device))


def neighbours(image: Image, *, mirror: bool = False) -> Neighbours:
    """Return the neighbours of all voxels of some events.

    Args:
        image: Voxels, ascending by cell in each event.
        mirror: Whether y is mirrored.
    """
    nx, ny, nz = image.shape
    index = image.index
    across, along = ny + 2, nz + 2
    key = ((image.event_index * (nx + 2) + index[:, 0] + 1) * across + index[:, 1] + 1) * along + index[:, 2] + 1
    rows = torch.arange(len(key), device=key.device)
    near = torch.zeros(len(key), AROUND, dtype=torch.int32, device=key.device)
    padded = torch.cat([key, key.new_full((3,), torch.iinfo(torch.int64).max)])
    # Half of the displacements; the others are their opposites.
    for dx, dy in ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1)):
        base = key + (dx * across + dy) * along - 1
        alone = dx == dy == 0  # of its own row, the next voxel can be a neighbour
        low = rows if alone else torch.searchsorted(key, base)
        for step in (1,) if alone else (0, 1, 2):
            place = padded[low + step] - base
            there = torch.nonzero(place < 3).squeeze(1)
            column = (dx + 1) * 9 + ((-dy if mirror else dy) + 1) * 3 + place[there]
            other = low[there] + step
            apart = (other - there).int()
            near[there, column] = apart
            near[other, AROUND - 1 - column] = -apart
    filled = near != 0
    filled[:, _SELF] = True
    offsets = torch.zeros(len(key) + 1, dtype=torch.int64, device=key.device)
    torch.cumsum(filled.sum(1), 0, out=offsets[1:])
    flat = torch.nonzero(filled.view(-1)).squeeze(1)
    return Neighbours(offsets, near.view(-1)[flat], flat % AROUND)


class NeighbourSum(torch.autograd.Function):
    """Sum over neighbours; who is whose neighbour is mutual, so that its gradient is the same sum."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
        """Return (voxel, column); ``rows`` (pair,) are the neighbours, from ``starts`` (voxel,) on."""
        ctx.save_for_backward(rows, starts)
        return functional.embedding_bag(rows, features, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the sum of the gradients of the neighbours."""
        rows, starts = ctx.saved_tensors
        return functional.embedding_bag(rows, gradient.contiguous(), starts, mode="sum"), None, None
