"""An arm: a named way of producing the outputs of all tasks, with its seed, its contract and its training vertices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.arms.contract import InputContract
from shiftlab.arms.observation import Observation
from shiftlab.arms.tokens.observation import observe
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import TrainingSet
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import EventTable, dataset_names
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens
from shiftlab.tasks.task import Task
from shiftlab.tasks.voxel_truth import VoxelTruth

__all__ = ["Arm", "Outputs"]

Outputs = dict[str, NDArray[np.float32]]

_TRAINED: Final = "was trained"
_PRETRAINED: Final = "rests on a foundation model that was pre-trained"


class Arm(ABC):
    """A trained way of producing task outputs.

    Attributes:
        name: Name in configs and tables.
        letter: Its letter in the plan of comparisons.
        views: Whether it takes the planes of a wire read-out.
        seed: Number of the training; a seed covers pre-training and heads.
        contract: What its images must be.
        record: Plain values about the training: recipe, data digest, data set, number of events, curves.
        pretrained: Whether its training starts from a foundation model, that of the workshop.
        training_vertices: int64 (vertex,), ascending uids of all vertices that its training was given,
            those that only steered it (early stopping, say) among them.
        pretraining_vertices: The same of the pre-training of its foundation model; empty where it has none.
        pretraining_dataset: ``EventTable.dataset`` of that pre-training; empty where there is none or it is unknown.
    """

    name: ClassVar[str]
    letter: ClassVar[str]
    views: ClassVar[bool] = True
    pretrained: ClassVar[bool] = False

    def __init__(
        self, seed: int, contract: InputContract, record: Mapping[str, Any], training_vertices: NDArray[np.int64]
    ) -> None:
        """Keep what every arm has."""
        self.seed = seed
        self.contract = contract
        self.record = dict(record)
        self.training_vertices = np.unique(training_vertices)
        self.pretraining_vertices: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.pretraining_dataset = ""

    @property
    @abstractmethod
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it was trained for."""

    @property
    @abstractmethod
    def bodies(self) -> int:
        """Passes through a network body that one event costs when all tasks are asked."""

    @abstractmethod
    def answer(self, observation: Observation, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task, in order of the events."""

    @classmethod
    @abstractmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Return a trained arm; a training that was stopped goes on from its state files.

        Raises:
            DataError: a loss is not finite, or a task has no events.
            RunError: the time limit was reached.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the arm below ``folder``; the same arm always gives the same bytes."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, seed: int, device: torch.device | str = "cpu") -> Self:
        """Return the arm that ``save`` wrote below ``folder``.

        Raises:
            ConfigError: there is no such checkpoint, or it is of another kind.
        """

    def predict(self, image: Image | Tokens, truth: VoxelTruth | None, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task.

        Args:
            image: Images of some events in one universe.
            truth: Truth cells of the same events; only the counts of voxel-level tasks use it.
            tasks: What is asked.

        Raises:
            ConfigError: the lattice is not the contract's, or a task was not trained.
        """
        return self.answer(observe(image, truth, self.contract), tasks)

    def require_tasks(self, tasks: Sequence[Task]) -> None:
        """Check that every task was trained.

        Raises:
            ConfigError: one was not.
        """
        for task in tasks:
            if task.name not in self.tasks:
                raise ConfigError(
                    f"arm '{self.name}' seed {self.seed} has no head for task '{task.name}'; it has "
                    f"{', '.join(self.tasks)}. Train it, or leave the task out."
                )

    @property
    def dataset(self) -> str:
        """``EventTable.dataset`` of the training events; empty where the checkpoint does not say."""
        return str(self.record.get("dataset", ""))

    def refuse_other_revisions(self, events: EventTable) -> None:
        """Refuse to be judged on another revision of a data set that it, or its foundation model, was trained on.

        Raises:
            DataError: they are of another revision; the message says why that matters.
        """
        for seen, what in ((self.dataset, _TRAINED), (self.pretraining_dataset, _PRETRAINED)):
            for one, given in product(dataset_names(seen), dataset_names(events.dataset)):
                family, _, revision = one.partition("/")
                if given != one and given.partition("/")[0] == family:
                    raise DataError(
                        f"arm '{self.name}' seed {self.seed} {what} on data set '{family}' in revision "
                        f"'{revision}', and these events are of revision '{given.partition('/')[2]}'. An event may be "
                        "a training event in one revision and a test event in the other, under another uid, so that "
                        "the arm may be judged on what it has seen. Say mix_revisions=True (data.mix_revisions=true) "
                        "if you know that it is not."
                    )

    def refuse_training_vertices(self, events: EventTable) -> None:
        """Refuse to be judged on vertices that it, or its foundation model, was trained on.

        Raises:
            DataError: some are; the message counts them and names the first event.
        """
        vertex = events.vertex.cpu().numpy()
        for seen, what in ((self.training_vertices, _TRAINED), (self.pretraining_vertices, _PRETRAINED)):
            known = np.isin(vertex, seen)
            if known.any():
                first = int(np.flatnonzero(known)[0])
                raise DataError(
                    f"arm '{self.name}' seed {self.seed} {what} on the vertices of {int(known.sum())} of these "
                    f"{len(events)} events, the first being event {first} (key {int(events.key[first])}, vertex "
                    f"{int(vertex[first])}, sample {events.sample[first]}). Judge it on vertices it has not seen."
                )
