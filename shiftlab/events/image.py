"""Sparse detector images of many events: occupied lattice cells with charge and calibrated energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.events.deposits import EventTable
from shiftlab.events.ragged import ragged_rows

__all__ = ["Image"]


@dataclass(frozen=True)
class Image:
    """Voxels above threshold; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,). An event without voxels keeps its place.
        cell: int64 (voxel,), lattice index ``(ix * ny + iy) * nz + iz``, ascending in each event.
        charge: float32 (voxel,), electrons as read out (after gain, before calibration).
        energy: float32 (voxel,), MeV, calibrated with the nominal constants.
        shape: number of cells along x (drift), y, z.
        events: the table of events, the same in every universe.
    """

    offsets: Tensor
    cell: Tensor
    charge: Tensor
    energy: Tensor
    shape: tuple[int, int, int]
    events: EventTable

    def __len__(self) -> int:
        """Return the number of events (not of voxels)."""
        return len(self.events)

    @property
    def event_index(self) -> Tensor:
        """int64 (voxel,): the event that each voxel belongs to."""
        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(self), device=counts.device), counts)

    @property
    def index(self) -> Tensor:
        """int64 (voxel, 3): cell indices along x, y, z."""
        _, ny, nz = self.shape
        return torch.stack([self.cell // (ny * nz), self.cell // nz % ny, self.cell % nz], dim=1)

    def keep(self, mask: Tensor) -> Image:
        """Return the voxels where ``mask`` (voxel,) is True; every event keeps its place."""
        offsets = torch.zeros_like(self.offsets)
        offsets[1:] = torch.bincount(self.event_index[mask], minlength=len(self)).cumsum(0)
        return Image(offsets, self.cell[mask], self.charge[mask], self.energy[mask], self.shape, self.events)

    def take(self, index: Tensor | Sequence[int]) -> Image:
        """Return the events at ``index``, in that order, with their voxels."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.offsets.device)
        rows, offsets = ragged_rows(self.offsets, index)
        return Image(
            offsets, self.cell[rows], self.charge[rows], self.energy[rows], self.shape, self.events.take(index)
        )
