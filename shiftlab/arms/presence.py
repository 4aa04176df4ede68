"""Soft presence of voxels or tokens: how what is pooled from them moves when single ones come or go.

Each is there or not in the image at hand; ``moved`` is by how much the probability of that changes, 0 at nominal, with
its derivative. What is pooled is taken to first order in it, with the change that one voxel alone makes, found exactly
where that costs nothing: F = F(image) + sum_i moved_i (F(with i) - F(without i)). At nominal F is F(image).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Presence"]


@dataclass(frozen=True)
class Presence:
    """Presence of the members (voxels, tokens) of some owners (tokens, events).

    An owner without a member that is there is itself not there; it is described as if one of its candidates were.

    Attributes:
        there: bool (member,).
        moved: float (member,), see above.
        owner: int64 (member,).
        owners: Number of owners.
    """

    there: Tensor
    moved: Tensor
    owner: Tensor
    owners: int

    @property
    def weight(self) -> Tensor:
        """Real (member,): 1 or 0 with its derivative."""
        return self.there.to(self.moved.dtype) + self.moved

    @cached_property
    def number(self) -> Tensor:
        """int64 (owner,): members that are there."""
        return torch.bincount(self.owner[self.there], minlength=self.owners)

    @cached_property
    def share(self) -> Tensor:
        """Real (member,): 1 or 0; parts of 1 among the candidates of an owner that is not there."""
        candidates = torch.bincount(self.owner, minlength=self.owners)
        part = 1.0 / candidates.clamp(min=1).to(self.moved.dtype)
        occupied = self.number[self.owner] > 0
        return torch.where(occupied, self.there.to(self.moved.dtype), part[self.owner])

    @cached_property
    def counted(self) -> Tensor:
        """Real (owner,): members that are there, at least 1."""
        return self.number.clamp(min=1).to(self.moved.dtype)

    def of_owners(self, owner: Tensor, owners: int) -> Presence:
        """Return the presence of the owners, whose own owners (events, say) are given.

        An owner goes with its last member, and comes with its first.
        """
        decides = torch.where(self.there, self.number[self.owner] == 1, self.number[self.owner] == 0)
        moved = self.summed(torch.where(decides, self.moved, torch.zeros_like(self.moved)))
        return Presence(self.number > 0, moved, owner, owners)

    def summed(self, rows: Tensor) -> Tensor:
        """Return (owner, ...): sums of rows (member, ...)."""
        return rows.new_zeros(self.owners, *rows.shape[1:]).index_add(0, self.owner, rows)

    def total(self, rows: Tensor, edge: Tensor) -> Tensor:
        """Return (owner,): sums of rows (member,) that are there; one that comes or goes counts as ``edge``."""
        return self.summed(self.share * rows) + self._moving(edge)

    def log_total(self, rows: Tensor, edge: Tensor) -> Tensor:
        """Return (owner,): the logarithm of ``total`` for rows that are positive."""
        total = self.summed(self.share * rows)
        own, part = total[self.owner], edge.to(rows.dtype)
        # Of the last one nothing would be left: that is the end of its owner, not of a sum.
        left = torch.where(own > part, own - part, own)
        change = torch.where(self.there, torch.log(own) - torch.log(left), torch.log(own + part) - torch.log(own))
        return torch.log(total) + self._moving(change)

    def log_number(self) -> Tensor:
        """Return (owner,): the logarithm of the number of members that are there."""
        n = self.counted[self.owner]
        change = torch.where(
            self.there, torch.log(n) - torch.log((n - 1).clamp(min=1)), torch.log(n + 1) - torch.log(n)
        )
        return torch.log(self.counted) + self._moving(change)

    def mean(self, rows: Tensor) -> Tensor:
        """Return (owner, column): means of rows (member, column) over those that are there."""
        mean = self.summed(self.share[:, None] * rows) / self.counted[:, None]
        n = self.counted[self.owner]
        others = torch.where(self.there, (n - 1).clamp(min=1), n + 1)
        return mean + self._moving((rows - mean[self.owner]) / others[:, None])

    def weighted_mean(self, rows: Tensor, mass: Tensor, edge: Tensor) -> Tensor:
        """Return (owner, column): means of rows (member, column) by ``mass`` (member,); ``edge`` as for ``total``."""
        total = self.summed(self.share * mass)
        mean = self.summed((self.share * mass)[:, None] * rows) / total[:, None]
        own, part = total[self.owner], edge.to(rows.dtype)
        left = torch.where(self.there, torch.where(own > part, own - part, own), own + part)
        return mean + self._moving((part / left)[:, None] * (rows - mean[self.owner]))

    def largest(self, rows: Tensor) -> Tensor:
        """Return (owner, column): the largest of rows (member, column) that are there."""
        lowest = torch.finfo(rows.dtype).min
        counting = torch.where((self.share > 0)[:, None], rows, lowest)
        top = self._maximum(counting)
        first = counting == top[self.owner]
        second = self._maximum(torch.where(first, lowest, counting).detach())
        second = torch.where(second == lowest, top.detach(), second)[self.owner]
        here = top.detach()[self.owner]
        change = torch.where(self.there[:, None], torch.where(first, here - second, 0.0), (rows - here).clamp(min=0.0))
        return top + self._moving(change)

    def _maximum(self, rows: Tensor) -> Tensor:
        """Return (owner, column): the largest of rows (member, column), members ascending by owner."""
        return torch.segment_reduce(rows, "max", lengths=torch.bincount(self.owner, minlength=self.owners), axis=0)

    def _moving(self, change: Tensor) -> Tensor:
        """Return (owner, ...): what the moving presence changes, from the ``change`` (member, ...) of each alone."""
        occupied = (self.number[self.owner] > 0).to(self.moved.dtype)
        moved = (self.moved * occupied).view(-1, *[1] * (change.dim() - 1))
        return self.summed(moved * change.detach().to(moved.dtype))
