"""Nominal images of the training events with their labels and targets, and the batches that are cut from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.image_summary import image_summary
from shiftlab.arms.patches import Patches, group
from shiftlab.arms.summaries import Summaries, summarise
from shiftlab.detector import NOMINAL, Detector
from shiftlab.events.deposits import Deposits
from shiftlab.events.image import Image
from shiftlab.events.ragged import ragged_rows
from shiftlab.tasks.particle_truth import TrueParticles, joined_particles
from shiftlab.tasks.task import Task
from shiftlab.tasks.voxel_truth import NONE, match, truth_in

__all__ = ["Batch", "TrainingSet", "input_contract", "training_set"]

_CHUNK = 256


def input_contract(detector: Detector) -> InputContract:
    """Return the input contract of the images that a detector makes."""
    nominal = detector.values(NOMINAL)
    threshold = nominal["threshold"]["level"] if "threshold" in nominal else 0.0
    geometry = detector.geometry
    contract = InputContract(shape=geometry.shape, pitch=geometry.pitch, threshold=threshold)
    return contract if geometry.views == 1 else replace(contract, edges=geometry.edges, views=geometry.views)


@dataclass(frozen=True)
class Batch:
    """A few training events.

    Attributes:
        patches: Their patches, on a grid moved at random.
        label: int64 (voxel,), class of each voxel, in the order of ``patches``.
        targets: float32 (event,), or (event, number), per event-level task; NaN where an event has no truth for it.
        owner: int64 (voxel,), particle of each voxel as ``MatchedTruth.owner``, in the order of ``patches``; None if
            no task asks for particles.
        particles: The true particles of the events; None likewise.
    """

    patches: Patches
    label: Tensor
    targets: dict[str, Tensor]
    owner: Tensor | None = None
    particles: TrueParticles | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Nominal images with labels.

    Attributes:
        image: Images of all training events.
        label: int8 (voxel,), true class of each voxel.
        targets: float32 (event,), or (event, number), per event-level task, NaN outside its own events.
        rows: int64 (event,) per task: its own events.
        contract: Input contract of the images.
        odd: Columns of each task's target that change sign where an image is mirrored along y.
        owner: int16 (voxel,), particle of each voxel as ``MatchedTruth.owner``; None if no task asks for particles.
        particles: The true particles; None likewise.
    """

    image: Image
    label: Tensor
    targets: dict[str, Tensor]
    rows: dict[str, Tensor]
    contract: InputContract
    odd: dict[str, tuple[int, ...]] = field(default_factory=dict)
    owner: Tensor | None = None
    particles: TrueParticles | None = None

    @property
    def seen(self) -> Tensor:
        """int64 (event,): the events that have voxels."""
        return torch.nonzero(self.image.offsets.diff() > 0).squeeze(1)

    @cached_property
    def event_summaries(self) -> NDArray[np.float32]:
        """float32 (event, quantity): summary quantities of all events, for the classic arm."""
        chunks = torch.split(torch.arange(len(self.image)), _CHUNK)
        return np.concatenate([self.summaries(rows)[0].event for rows in chunks])

    def summaries(self, rows: Tensor) -> tuple[Summaries, Tensor]:
        """Return summary quantities of the events at ``rows``, and the int8 label of their voxels."""
        rows = rows.to(self.image.offsets.device)
        image = self.image.take(rows)
        voxels, _ = ragged_rows(self.image.offsets, rows)
        return summarise(image, None, self.contract), self.label[voxels]

    @property
    def size(self) -> Tensor:
        """int64 (event,): voxels of each event."""
        return self.image.offsets.diff()

    def batch(self, rows: Tensor, generator: Generator) -> Batch:
        """Return the events at ``rows``, patch grid and side of y drawn from ``generator``."""
        edge = self.contract.patch
        drawn = torch.randint(0, edge, (3,), generator=generator).tolist()
        mirror = bool(torch.randint(0, 2, (1,), generator=generator))
        rows = rows.to(self.image.offsets.device)
        patches = group(self.image.take(rows), self.contract, shift=(drawn[0], drawn[1], drawn[2]), mirror=mirror)
        voxels, _ = ragged_rows(self.image.offsets, rows)
        targets = {name: values[rows] for name, values in self.targets.items()}
        for name, columns in self.odd.items() if mirror else ():
            targets[name][:, list(columns)] *= -1
        owner = None if self.owner is None else self.owner[voxels][patches.order].long()
        particles = None if self.particles is None else self.particles.take(rows)
        return Batch(patches, self.label[voxels][patches.order].long(), targets, owner, particles)

    def to(self, device: torch.device | str) -> TrainingSet:
        """Return the same set on ``device``."""
        image = Image(
            offsets=self.image.offsets.to(device),
            cell=self.image.cell.to(device),
            charge=self.image.charge.to(device),
            energy=self.image.energy.to(device),
            shape=self.image.shape,
            events=self.image.events.to(device),
        )
        targets = {name: values.to(device) for name, values in self.targets.items()}
        owner = None if self.owner is None else self.owner.to(device)
        particles = None if self.particles is None else self.particles.to(device)
        return replace(
            self, image=image, label=self.label.to(device), targets=targets, owner=owner, particles=particles
        )


def training_set(
    deposits: Deposits, detector: Detector, tasks: Sequence[Task], advance: Callable[[int], object]
) -> TrainingSet:
    """Return the nominal images of ``deposits`` with what the tasks are trained towards.

    Args:
        deposits: Training events.
        detector: Their detector; only its nominal universe is used.
        tasks: What will be trained.
        advance: Called with the number of events done.

    Raises:
        DataError: the events lack what a task cannot do without.
    """
    for task in tasks:
        deposits = task.with_truth(deposits)
    images, labels, owners, particles = [], [], [], []
    labelled = any(task.level != "event" for task in tasks)
    grouped = any(task.level == "particle" for task in tasks)
    for rows in torch.split(torch.arange(len(deposits)), _CHUNK):
        chunk = deposits.take(rows)
        prepared = detector.prepare(chunk)
        image = detector.image(prepared)
        images.append(image)
        label = torch.full_like(image.cell, NONE)
        if labelled:
            matched = match(image, truth_in(detector, prepared, NOMINAL, particles=grouped))
            label = matched.label
            if grouped:
                owner, there = matched.particle_truth()
                owners.append(owner.to(torch.int16))
                particles.append(there)
        labels.append(label.to(torch.int8))
        advance(len(rows))
    data = joined(images, torch.cat(labels), deposits, tasks, input_contract(detector))
    return replace(data, owner=torch.cat(owners), particles=joined_particles(particles)) if grouped else data


def joined(
    images: Sequence[Image], label: Tensor, deposits: Deposits, tasks: Sequence[Task], contract: InputContract
) -> TrainingSet:
    """Return the set of some chunks of images, with the targets of the tasks."""
    offsets = torch.zeros(len(deposits) + 1, dtype=torch.int64)
    offsets[1:] = torch.cat([image.offsets.diff() for image in images]).cumsum(0)
    image = Image(
        offsets=offsets,
        cell=torch.cat([image.cell for image in images]),
        charge=torch.cat([image.charge for image in images]),
        energy=torch.cat([image.energy for image in images]),
        shape=images[0].shape,
        events=deposits.events,
    )
    summary = image_summary(image, contract)
    filled = offsets.diff() > 0
    targets, rows = {}, {}
    for task in tasks:
        own = torch.from_numpy(task.evaluated(deposits.events)) & filled
        if task.level == "event":
            target = torch.from_numpy(task.target(task.truth(deposits.events), summary))
            own &= torch.isfinite(target).flatten(1).all(dim=1) if target.ndim > 1 else torch.isfinite(target)
            kept = own[:, None] if target.ndim > 1 else own
            targets[task.name] = torch.where(kept, target, torch.nan).float()
        rows[task.name] = torch.nonzero(own).squeeze(1)
    odd = {task.name: task.odd for task in tasks if task.odd}
    return TrainingSet(image, label, targets, rows, contract, odd)
