"""Training events as images with labels and targets, in memory or mapped from a store, and batches cut from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from shiftlab.arms.augmentations import Grid, Mirror, declared
from shiftlab.arms.contract import InputContract
from shiftlab.arms.images.imaged import CHUNK, Imaged, imaged, input_contract, joined
from shiftlab.arms.patches import Patches, group
from shiftlab.arms.summaries import Summaries, summarise
from shiftlab.arms.training.labelled import labelled
from shiftlab.arms.training.presentation import held_out
from shiftlab.detector import Detector
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.image import Image
from shiftlab.events.ragged import ragged_rows
from shiftlab.tasks.particle_truth import TrueParticles
from shiftlab.tasks.task import Task

if TYPE_CHECKING:
    from shiftlab.arms.training.ahead import Ahead

__all__ = ["Batch", "Stored", "TrainingSet", "asked_of_voxels", "input_contract", "training_set", "with_targets"]


@dataclass(frozen=True)
class Batch:
    """A few training events.

    Attributes:
        patches: Their patches, on a grid moved at random.
        label: int64 (voxel,), class of each voxel, in the order of ``patches``.
        targets: float32 (event,) or (event, number) per event-level task; NaN where an event has no truth for it.
        owner: int64 (voxel,), particle of each voxel as ``MatchedTruth.owner``, in the order of ``patches``; None if
            no task asks for particles.
        particles: The true particles of the events; None likewise.
    """

    patches: Patches
    label: Tensor
    targets: dict[str, Tensor]
    owner: Tensor | None = None
    particles: TrueParticles | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Return the same batch on ``device``."""
        return Batch(
            self.patches.to(device),
            self.label.to(device),
            {name: values.to(device) for name, values in self.targets.items()},
            None if self.owner is None else self.owner.to(device),
            None if self.particles is None else self.particles.to(device),
        )


@dataclass(frozen=True)
class Stored:
    """Where the images of a training set are mapped from; another process opens them by this.

    Attributes:
        path: The store (``shiftlab.arms.images.store``).
        tasks: What is trained.
        contract: Input contract of the images.
    """

    path: Path
    tasks: tuple[Task, ...]
    contract: InputContract

    def open(self) -> TrainingSet:
        """Map the store and return its training set."""
        from shiftlab.arms.images.store import ImageStore

        return replace(ImageStore.open(self.path), contract=self.contract).training_set(self.tasks)


@dataclass(frozen=True)
class TrainingSet:
    """Nominal images with labels and targets.

    Where the images are mapped from a store, only the events of a batch are ever read, and ``to`` moves
    batches, not the set.

    Attributes:
        image: Images of all events.
        label: int8 (voxel,), true class of each voxel.
        targets: float32 (event,) or (event, number) per event-level task, NaN outside its own events.
        rows: int64 (event,) per task: its own events.
        contract: Input contract of the images.
        odd: Columns of each task's target that change sign where an image is mirrored along y.
        owner: int16 (voxel,), particle of each voxel as ``MatchedTruth.owner``; None if no task asks for particles.
        particles: The true particles; None likewise.
        shown: bool (event,), the events that this set shows; None for all.
        store: The file that the images are mapped from; None for images in memory.
        device: Where batches are given.
        ahead: What cuts batches before they are asked for.
    """

    image: Image
    label: Tensor
    targets: dict[str, Tensor]
    rows: dict[str, Tensor]
    contract: InputContract
    odd: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    owner: Tensor | None = None
    particles: TrueParticles | None = None
    shown: Tensor | None = None
    store: Stored | None = None
    device: torch.device | str = "cpu"
    ahead: Ahead | None = None

    @property
    def mapped(self) -> bool:
        """Whether the images are mapped from a file."""
        return self.store is not None

    @property
    def augmentations(self) -> dict[str, str]:
        """What ``batch`` varies from one showing of an event to the next, as a record declares it."""
        return declared(Mirror(axes=("y",)), Grid())

    @property
    def seen(self) -> Tensor:
        """int64 (event,): the events that have voxels and are shown."""
        filled = self.size > 0
        return torch.nonzero(filled if self.shown is None else filled & self.shown.to(filled.device)).squeeze(1)

    @property
    def size(self) -> Tensor:
        """int64 (event,): voxels of each event."""
        return self.image.offsets.diff()

    @cached_property
    def event_summaries(self) -> NDArray[np.float32]:
        """float32 (event, quantity): summary quantities of all events, for the classic arm."""
        chunks = torch.split(torch.arange(len(self.image)), CHUNK)
        return np.concatenate([self.summaries(rows)[0].event for rows in chunks])

    def summaries(self, rows: Tensor) -> tuple[Summaries, Tensor]:
        """Return summary quantities of the events at ``rows``, and the int8 label of their voxels."""
        rows = rows.to(self.image.offsets.device)
        image = self.image.take(rows)
        voxels, _ = ragged_rows(self.image.offsets, rows)
        return summarise(image, None, self.contract), self.label[voxels]

    def batch(self, rows: Tensor, generator: Generator) -> Batch:
        """Return the events at ``rows``, patch grid and side of y drawn from ``generator``."""
        found = None if self.ahead is None else self.ahead.take(rows, generator)
        return (self.cut(rows, generator) if found is None else found).to(self.device)

    def cut(self, rows: Tensor, generator: Generator) -> Batch:
        """Return what ``batch`` does, where the images lie."""
        edge = self.contract.patch
        drawn = torch.randint(0, edge, (3,), generator=generator).tolist()
        mirror = bool(torch.randint(0, 2, (1,), generator=generator))
        rows = rows.to(self.image.offsets.device)
        patches = group(self.image.take(rows), self.contract, shift=(drawn[0], drawn[1], drawn[2]), mirror=mirror)
        voxels, _ = ragged_rows(self.image.offsets, rows)
        voxels = voxels[patches.order]
        targets = {name: values[rows] for name, values in self.targets.items()}
        for name, columns in self.odd.items() if mirror else ():
            targets[name][:, list(columns)] *= -1
        owner = None if self.owner is None else self.owner[voxels].long()
        particles = None if self.particles is None else self.particles.take(rows)
        return Batch(patches, self.label[voxels].long(), targets, owner, particles)

    def to(self, device: torch.device | str) -> TrainingSet:
        """Return the same set with batches on ``device``; what is in memory is moved there."""
        device = torch.device(device)
        if self.mapped:
            return replace(self, device=device)
        image = Image(
            offsets=self.image.offsets.to(device),
            cell=self.image.cell.to(device),
            charge=self.image.charge.to(device),
            energy=self.image.energy.to(device),
            shape=self.image.shape,
            events=self.image.events.to(device),
        )
        return replace(
            self,
            image=image,
            label=self.label.to(device),
            targets={name: values.to(device) for name, values in self.targets.items()},
            owner=None if self.owner is None else self.owner.to(device),
            particles=None if self.particles is None else self.particles.to(device),
            device=device,
        )

    def only(self, kept: ArrayLike) -> TrainingSet:
        """Return the set that shows the events where ``kept`` (event,) is True; rows keep their numbers."""
        mask = torch.from_numpy(np.asarray(kept, dtype=np.bool_))
        if self.shown is not None:
            mask &= self.shown
        return replace(self, rows={name: rows[mask[rows]] for name, rows in self.rows.items()}, shown=mask)

    def split(self, fraction: float, seed: int) -> tuple[TrainingSet, TrainingSet]:
        """Return the set to train on and the one to validate on: ``fraction`` of the vertices, keyed by ``seed``.

        Raises:
            ConfigError: the fraction is not in [0, 1).
        """
        held = held_out(self.image.events.vertex.cpu(), fraction, seed)
        return self.only(~held), self.only(held)

    def labelled(self, rows: Tensor, count: int, seed: int) -> Tensor:
        """Return ``count`` of the events at ``rows``, nested in count (``shiftlab.arms.training.labelled``)."""
        return labelled(self.image.events, rows, count, seed)

    @contextmanager
    def cutting(
        self, draws: Sequence[tuple[Tensor, int]], *, depth: int = 4, threads: int = 1, processes: int = 0
    ) -> Iterator[TrainingSet]:
        """Give the same set, whose batches are cut before they are asked for.

        Batches are the same bits as without. What is asked for and not foreseen is cut then. A thread is enough
        where a step takes longer than cutting a batch (18 ms of CPU time for 16 events of 800 voxels). A GPU that
        waits needs processes, as many as steps fit into that time. They are spawned, so that a script which asks
        for them needs ``if __name__ == "__main__"``.

        Args:
            draws: Events of each batch, in order, with the seed of its generator (``ahead.draws``).
            depth: Batches that wait at most.
            threads: Threads that cut them.
            processes: Processes that do instead, for a mapped set, each of which opens its store anew; 0 for threads.

        Raises:
            ConfigError: processes are asked for, and the images are in memory.
        """
        from shiftlab.arms.training import ahead as cutters

        if processes and self.store is None:
            raise ConfigError("batches of images in memory are cut by threads; processes need a store of images.")
        if processes and self.store is not None:
            workers = cutters.processes(self.store, processes)
        else:
            workers = cutters.threads(self, threads)
        with cutters.Ahead(workers, draws, max(depth, 2 * processes)) as ahead:
            yield replace(self, ahead=ahead)


def training_set(
    deposits: Deposits, detector: Detector, tasks: Sequence[Task], advance: Callable[[int], object]
) -> TrainingSet:
    """Return the nominal images of ``deposits`` in memory with what the tasks are trained towards.

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
    parts = []
    labelled, particles = asked_of_voxels(tasks)
    for rows in torch.split(torch.arange(len(deposits)), CHUNK):
        parts.append(imaged(deposits.take(rows), detector, labelled=labelled, particles=particles))
        advance(len(rows))
    return with_targets(joined(parts, deposits.events), tasks, input_contract(detector))


def asked_of_voxels(tasks: Sequence[Task]) -> tuple[bool, bool]:
    """Return whether tasks ask for the class of voxels, and whether they ask for their particle."""
    return any(task.level != "event" for task in tasks), any(task.level == "particle" for task in tasks)


def with_targets(
    images: Imaged, tasks: Sequence[Task], contract: InputContract, *, store: Stored | None = None
) -> TrainingSet:
    """Return the set of some images with what the tasks are trained towards.

    Raises:
        DataError: a task is about particles, and the images came without them.
    """
    events, filled = images.image.events, images.image.offsets.diff().cpu() > 0
    targets, rows = {}, {}
    for task in tasks:
        if task.level == "particle" and images.particles is None:
            raise DataError(f"task '{task.name}' is about particles, and the images of the training sample lack them.")
        own = torch.from_numpy(task.evaluated(events)) & filled
        if task.level == "event":
            target = torch.from_numpy(task.target(task.truth(events), images.summary))
            own &= torch.isfinite(target).flatten(1).all(dim=1) if target.ndim > 1 else torch.isfinite(target)
            kept = own[:, None] if target.ndim > 1 else own
            targets[task.name] = torch.where(kept, target, torch.nan).float()
        rows[task.name] = torch.nonzero(own).squeeze(1)
    odd = {task.name: task.odd for task in tasks if task.odd}
    own_voxels = (images.owner, images.particles)
    return TrainingSet(images.image, images.label, targets, rows, contract, odd, *own_voxels, store=store)
