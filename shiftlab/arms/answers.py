"""What heads say of a chunk of events, gathered batch by batch, and the stored outputs that follow from it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from shiftlab.arms.observation import Observation
from shiftlab.arms.patches import Patches
from shiftlab.errors import ConfigError
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.particle_task import Found, ParticleTask
from shiftlab.tasks.set_loss import SetAnswer
from shiftlab.tasks.task import Task, VoxelTask
from shiftlab.tasks.voxel_truth import NONE

__all__ = ["Answer", "blank"]


class Answer(ABC):
    """The answer of one task's head to all events of a chunk that are asked for."""

    @abstractmethod
    def fill(self, raw: Tensor | SetAnswer, first: int, last: int, order: Tensor) -> None:
        """Keep what the head says of a batch.

        Args:
            raw: What it gave.
            first: The batch is events ``first:last`` of those asked for.
            last: See ``first``.
            order: int64 (voxel of the batch,), the image's row of each.
        """

    @abstractmethod
    def outputs(self, observation: Observation, patches: Patches, rows: Tensor) -> Tensor:
        """Return the stored outputs, (event, output), of all events of the image.

        Args:
            observation: The chunk.
            patches: Of the events asked for.
            rows: int64 (event asked for,), where they are in the image.
        """


class _OfEvents(Answer):
    """Numbers of each event."""

    def __init__(self, task: Task, events: int, device: torch.device) -> None:
        self._task = task
        self._raw = torch.zeros(events, task.raw, device=device)

    def fill(self, raw: Tensor | SetAnswer, first: int, last: int, order: Tensor) -> None:
        """Keep the numbers."""
        self._raw[first:last] = _plain(raw, self._task)

    def outputs(self, observation: Observation, patches: Patches, rows: Tensor) -> Tensor:
        """Return the decoded numbers; the declared answer for events that were not asked for."""
        decoded = self._task.decode(self._raw, EventSummary(patches.summed_energy, patches.centroid))
        outputs = torch.tensor(self._task.empty, device=decoded.device).repeat(len(observation.image), 1)
        outputs[rows] = decoded.to(outputs.dtype)
        return outputs


class _OfVoxels(Answer):
    """The called class of each voxel of the image, and its probability."""

    def __init__(self, task: VoxelTask, voxels: int, device: torch.device) -> None:
        self._task = task
        # A voxel that no network was shown counts as lost, not as the first class.
        self._called = torch.full((voxels,), NONE, dtype=torch.int64, device=device)
        self._probability = torch.zeros(voxels, device=device)

    def fill(self, raw: Tensor | SetAnswer, first: int, last: int, order: Tensor) -> None:
        """Call the classes."""
        called, probability = self._task.call(_plain(raw, self._task))
        self._called[order], self._probability[order] = called, probability.to(self._probability.dtype)

    def outputs(self, observation: Observation, patches: Patches, rows: Tensor) -> Tensor:
        """Return the counts."""
        image = observation.image
        return self._task.count(
            self._called, self._probability, image.energy, observation.event_index, observation.matched
        )


class _OfParticles(Answer):
    """The mask of each voxel of the image, and the kinds of each event's masks."""

    def __init__(self, task: ParticleTask, events: int, voxels: int, device: torch.device) -> None:
        self._task = task
        self._query = torch.full((voxels,), -1, dtype=torch.int64, device=device)
        self._probability = torch.zeros(events, task.queries, task.raw, device=device)

    def fill(self, raw: Tensor | SetAnswer, first: int, last: int, order: Tensor) -> None:
        """Find the particles."""
        if not isinstance(raw, SetAnswer):
            raise ConfigError(f"task '{self._task.name}' asks for sets of particles; its head gives numbers.")
        found = self._task.find(raw)
        self._query[order] = found.query
        self._probability[first:last] = found.probability.to(self._probability.dtype)

    def outputs(self, observation: Observation, patches: Patches, rows: Tensor) -> Tensor:
        """Return the counts."""
        shape = (len(observation.image), *self._probability.shape[1:])
        probability = torch.zeros(shape, device=self._probability.device)
        probability[rows] = self._probability
        return self._task.count(Found(self._query, probability), observation.event_index, observation.matched)


def blank(task: Task, events: int, voxels: int, device: torch.device) -> Answer:
    """Return an answer to fill: of ``events`` events that are asked for, in an image of ``voxels`` voxels."""
    if isinstance(task, ParticleTask):
        return _OfParticles(task, events, voxels, device)
    return _OfVoxels(task, voxels, device) if isinstance(task, VoxelTask) else _OfEvents(task, events, device)


def _plain(raw: Tensor | SetAnswer, task: Task) -> Tensor:
    if isinstance(raw, SetAnswer):
        raise ConfigError(f"task '{task.name}' asks for numbers; its head gives sets of particles.")
    return raw
