"""True semantic class and energy of lattice cells: labels of deposits, where the read-out takes their charge to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from shiftlab.events.deposits import Deposits
from shiftlab.events.image import Image
from shiftlab.units import SEMANTIC

if TYPE_CHECKING:
    from shiftlab.detector import Detector, Prepared, Universe
    from shiftlab.detector.geometry import Geometry

__all__ = ["NONE", "TRUTH_THRESHOLD", "MatchedTruth", "VoxelTruth", "match", "truth_in", "voxel_truth"]

TRUTH_THRESHOLD: Final = 0.13
"""MeV; cells with less true energy are not asked for (PILArNet's cut on voxels)."""

NONE: Final = len(SEMANTIC)
"""Class of an observed voxel where no cell of the truth is: diffused charge, noise, or below the cut."""


@dataclass(frozen=True)
class VoxelTruth:
    """Cells that hold deposit midpoints; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        cell: int64 (cell,), lattice index, ascending in each event; from ``nx ny nz`` on for deposits whose charge
            is read out nowhere in the lattice: no voxel can be theirs, so that they count as missed.
        semantic: int8 (cell,), the class in ``units.SEMANTIC`` with most energy in the cell.
        energy: float32 (cell,), true energy of all classes together, MeV.
    """

    offsets: Tensor
    cell: Tensor
    semantic: Tensor
    energy: Tensor

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    def take(self, index: Tensor) -> VoxelTruth:
        """Return the events at ``index`` (int64), in that order."""
        counts = self.offsets.diff()[index]
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        rows = torch.repeat_interleave(self.offsets[:-1][index] - offsets[:-1], counts)
        rows += torch.arange(int(offsets[-1]), device=counts.device)
        return VoxelTruth(offsets, self.cell[rows], self.semantic[rows], self.energy[rows])

    def to(self, device: torch.device | str) -> VoxelTruth:
        """Return the same truth on ``device``."""
        return VoxelTruth(*(value.to(device) for value in (self.offsets, self.cell, self.semantic, self.energy)))


@dataclass(frozen=True)
class MatchedTruth:
    """The truth laid beside one image.

    Attributes:
        label: int64 (voxel,), class of each observed voxel, ``NONE`` where the truth has no cell.
        lost: int64 (event, class), truth cells of each class that the image does not have.
    """

    label: Tensor
    lost: Tensor


def truth_in(detector: Detector, events: Prepared, universe: Universe) -> VoxelTruth:
    """Return the labels of events where a universe's read-out takes their charge to be.

    Labels never change, but where the universe moves or delays charge, they follow it. Where it varies generation,
    they are those of the events that it takes.
    """
    generated = detector.generated(events, universe)
    positions = detector.positions(generated, universe)
    return voxel_truth(generated.deposits, detector.geometry, generated.rows, positions)


def voxel_truth(
    deposits: Deposits, geometry: Geometry, rows: Tensor | None = None, position: Tensor | None = None
) -> VoxelTruth:
    """Return the cells that hold deposit midpoints, with class and summed energy.

    Deposits outside the lattice and those of unknown class (-1) are left out.

    Args:
        deposits: with their labels.
        geometry: volume and lattice.
        rows: int64 (row,), the deposits inside the volume; None finds them.
        position: float32 (row, 3), cm, where the read-out takes each of them to be; None where they are.
            Those that it places outside the lattice keep their labels and are missed.
    """
    if rows is None:
        rows = torch.nonzero(geometry.inside(deposits.position)).squeeze(1)
    position = deposits.position[rows] if position is None else position
    known = deposits.semantic[rows] >= 0
    rows, position = rows[known], position[known]
    total = geometry.shape[0] * geometry.shape[1] * geometry.shape[2]
    cell = geometry.cell(deposits.position[rows])
    cell = torch.where(geometry.inside(position), geometry.cell(position), total + cell)
    key = deposits.event_index[rows] * (2 * total) + cell
    unique, inverse = torch.unique(key, return_inverse=True)
    classes = len(SEMANTIC)
    flat = torch.zeros(len(unique) * classes, dtype=torch.float64, device=key.device)
    flat.index_add_(0, inverse * classes + deposits.semantic[rows].long(), deposits.energy[rows].double())
    energy = flat.view(-1, classes)
    offsets = torch.zeros(len(deposits) + 1, dtype=torch.int64, device=key.device)
    offsets[1:] = torch.bincount(unique // (2 * total), minlength=len(deposits)).cumsum(0)
    return VoxelTruth(offsets, unique % (2 * total), energy.argmax(1).to(torch.int8), energy.sum(1).float())


def match(image: Image, truth: VoxelTruth, threshold: float = TRUTH_THRESHOLD) -> MatchedTruth:
    """Return the class of each observed voxel and the truth cells that were lost.

    Args:
        image: Image of the same events, in the same order, as ``truth``.
        truth: Truth cells.
        threshold: Truth cells with less energy (MeV) than this do not count.
    """
    nx, ny, nz = image.shape
    places = 2 * nx * ny * nz  # cells of the lattice, then those of deposits that are read out nowhere
    asked = truth.energy >= threshold
    event = torch.repeat_interleave(torch.arange(len(truth), device=truth.cell.device), truth.offsets.diff())[asked]
    semantic = truth.semantic[asked].long()
    wanted = event * places + truth.cell[asked]
    seen = image.event_index * places + image.cell
    label = torch.full_like(seen, NONE)
    found = torch.zeros(len(wanted), dtype=torch.bool, device=wanted.device)
    if len(seen) and len(wanted):
        place = torch.searchsorted(seen, wanted).clamp_(max=len(seen) - 1)
        found = seen[place] == wanted
        label[place[found]] = semantic[found]
    lost = torch.bincount((event * NONE + semantic)[~found], minlength=len(image) * NONE)
    return MatchedTruth(label, lost.view(len(image), NONE))
