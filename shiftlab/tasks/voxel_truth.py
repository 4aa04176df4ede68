"""True semantic class and energy of lattice cells: labels of deposits, where the read-out takes their charge to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.image import Image
from shiftlab.tasks.particle_truth import LEAST_CELLS, VOID, TrueParticles, cell_owners
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
        instance: int64 (cell,), number of the particle with most energy in the cell; ``particle_truth.BACKGROUND``
            or ``VOID`` where there is none; None where nobody asked for particles.
        particle: int8 (cell,), id of that particle in ``units.PARTICLES``, -1 where unknown; None as ``instance``.
    """

    offsets: Tensor
    cell: Tensor
    semantic: Tensor
    energy: Tensor
    instance: Tensor | None = None
    particle: Tensor | None = None

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
        return VoxelTruth(
            offsets,
            self.cell[rows],
            self.semantic[rows],
            self.energy[rows],
            None if self.instance is None else self.instance[rows],
            None if self.particle is None else self.particle[rows],
        )

    def to(self, device: torch.device | str) -> VoxelTruth:
        """Return the same truth on ``device``."""
        moved = (self.offsets.to(device), self.cell.to(device), self.semantic.to(device), self.energy.to(device))
        if self.instance is None or self.particle is None:
            return VoxelTruth(*moved)
        return VoxelTruth(*moved, self.instance.to(device), self.particle.to(device))


@dataclass(frozen=True)
class MatchedTruth:
    """The truth laid beside one image.

    Attributes:
        label: int64 (voxel,), class of each observed voxel, ``NONE`` where the truth has no cell.
        lost: int64 (event, class), truth cells of each class that the image does not have.
        owner: int64 (voxel,), number of each voxel's particle among its event's ``particles``, from 0;
            ``particle_truth.BACKGROUND`` or ``VOID`` where there is none. None without truth of particles.
        particles: The true particles that are asked for; None likewise.
    """

    label: Tensor
    lost: Tensor
    owner: Tensor | None = None
    particles: TrueParticles | None = None

    def particle_truth(self) -> tuple[Tensor, TrueParticles]:
        """Return ``owner`` and ``particles``.

        Raises:
            DataError: the truth was made without them.
        """
        if self.owner is None or self.particles is None:
            raise DataError("particles of voxels are asked for, but these events came without them.")
        return self.owner, self.particles


def truth_in(detector: Detector, events: Prepared, universe: Universe, *, particles: bool = False) -> VoxelTruth:
    """Return the labels of events where a universe's read-out takes their charge to be.

    Labels never change, but where the universe moves or delays charge, they follow it. Where it varies generation,
    they are those of the events that it takes.

    Raises:
        DataError: ``particles`` are asked for, and the deposits do not say which particle made them.
    """
    generated = detector.generated(events, universe)
    positions = detector.positions(generated, universe)
    return voxel_truth(generated.deposits, detector.geometry, generated.rows, positions, particles=particles)


def voxel_truth(
    deposits: Deposits,
    geometry: Geometry,
    rows: Tensor | None = None,
    position: Tensor | None = None,
    *,
    particles: bool = False,
) -> VoxelTruth:
    """Return the cells that hold deposit midpoints, with class and summed energy.

    Deposits outside the lattice and those of unknown class (-1) are left out.

    Args:
        deposits: with their labels.
        geometry: volume and lattice.
        rows: int64 (row,), the deposits inside the volume; None finds them.
        position: float32 (row, 3), cm, where the read-out takes each of them to be; None where they are.
            Those that it places outside the lattice keep their labels and are missed.
        particles: Whether to say which particle each cell belongs to.

    Raises:
        DataError: ``particles`` are asked for, and the deposits do not say which particle made them.
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
    semantic = energy.argmax(1).to(torch.int8)
    owners = cell_owners(deposits, rows, inverse, semantic) if particles else (None, None)
    return VoxelTruth(offsets, unique % (2 * total), semantic, energy.sum(1).float(), *owners)


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
    lost = torch.bincount((event * NONE + semantic)[~found], minlength=len(image) * NONE).view(len(image), NONE)
    if truth.instance is None or truth.particle is None:
        return MatchedTruth(label, lost)
    own, particles = _asked_for(event, truth.instance[asked], truth.particle[asked], len(truth))
    owner = torch.full_like(seen, VOID)
    if len(seen) and len(wanted):
        owner[place[found]] = own[found]
    return MatchedTruth(label, lost, owner, particles)


def _asked_for(event: Tensor, instance: Tensor, kind: Tensor, events: int) -> tuple[Tensor, TrueParticles]:
    """Return int64 (cell,), each cell's particle by its number in the event, and the particles of enough cells."""
    held = instance >= 0
    wide = int(instance.max()) + 1 if len(instance) else 1
    key, which, cells = torch.unique((event * max(wide, 1) + instance)[held], return_inverse=True, return_counts=True)
    enough = cells >= LEAST_CELLS
    of_event = key // max(wide, 1)
    offsets = torch.zeros(events + 1, dtype=torch.int64, device=key.device)
    offsets[1:] = torch.bincount(of_event[enough], minlength=events).cumsum(0)
    place = torch.where(enough, enough.cumsum(0) - 1 - offsets[of_event], VOID)
    own = instance.clone()
    own[held] = place[which]
    kinds = torch.full_like(key, -1)
    kinds[which] = kind[held].long()
    return own, TrueParticles(offsets, kinds[enough], cells[enough])
