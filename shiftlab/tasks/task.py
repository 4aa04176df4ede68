"""A task: what is predicted of an event, how the prediction is trained, judged and histogrammed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.events.deposits import EventTable

if TYPE_CHECKING:
    from shiftlab.tasks.voxel_truth import MatchedTruth

__all__ = ["CANDIDATES", "NEUTRINOS", "Booleans", "Floats", "Task", "VoxelTask", "of_samples"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

NEUTRINOS: Final = ("numu_cc", "nue_cc")
"""Samples whose vertices come from a neutrino generator."""

CANDIDATES: Final = (*NEUTRINOS, "photon_protons")
"""Samples of neutrino-candidate events, the ones that fill the channels of a fit."""


def of_samples(events: EventTable, samples: tuple[str, ...]) -> Booleans:
    """Return bool (event,): which events belong to one of the named samples."""
    return np.fromiter((name in samples for name in events.sample), dtype=np.bool_, count=len(events))


class Task(ABC):
    """What is predicted: truth, loss, statistic and observable.

    A head gives ``raw`` numbers for an event (or for a voxel); ``decode`` turns them into the stored
    outputs. Shapes below use "event" for the events where ``scored`` is True, in their order.

    Attributes:
        name: Name in configs, tables and as a pyhf channel.
        input: What a head is asked of: images of deposits, or reconstructed tokens.
        statistic: The number whose bias is quoted.
        unit: Unit of the statistic.
        level: What a head is asked about: each event or each voxel.
        kind: ``binary`` (raw is a logit), ``classes`` (raw are logits) or ``regression``.
        raw: How many numbers a head gives.
        output_names: The stored columns.
        empty: Outputs of an event whose image has no voxel: the declared no-information answer
            (unused by voxel-level tasks, where an empty image has lost all its truth).
        truth_columns: Names of the truth columns.
        observable_label: Axis title of the observable, with unit.
        edges: Default bin edges of the observable.
    """

    name: ClassVar[str]
    input: ClassVar[Literal["images", "tokens"]] = "images"
    statistic: ClassVar[str]
    unit: ClassVar[str]
    level: ClassVar[Literal["event", "voxel"]]
    kind: ClassVar[Literal["binary", "classes", "regression"]]
    raw: ClassVar[int] = 1
    output_names: ClassVar[tuple[str, ...]]
    empty: ClassVar[tuple[float, ...]]
    truth_columns: ClassVar[tuple[str, ...]]
    observable_label: ClassVar[str]
    edges: ClassVar[tuple[float, ...]]

    @property
    def outputs(self) -> int:
        """Number of stored columns."""
        return len(self.output_names)

    @abstractmethod
    def scored(self, events: EventTable) -> Booleans:
        """Return bool (event,): the events that an arm runs on for this task."""

    @abstractmethod
    def evaluated(self, events: EventTable) -> Booleans:
        """Return bool (event,): the evaluation set, a subset of ``scored`` fixed by truth alone."""

    @abstractmethod
    def truth(self, events: EventTable) -> Floats:
        """Return float64 (event, truth column) for all given events."""

    @abstractmethod
    def target(self, truth: Floats, summed_energy: Floats) -> Floats:
        """Return float64 (event,): what a head's raw number is trained towards.

        Args:
            truth: (event, truth column).
            summed_energy: (event,), sum of the calibrated energy of the image, MeV.
        """

    @abstractmethod
    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the training loss, a scalar, of ``raw`` (row, raw) against ``target`` (row,)."""

    @abstractmethod
    def decode(self, raw: Tensor, summed_energy: Tensor) -> Tensor:
        """Return the stored outputs (event, output) of an event-level head's ``raw`` (event, raw)."""

    @abstractmethod
    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the statistic, float64 (..., replica).

        Args:
            outputs: (..., event, output).
            truth: (event, truth column).
            weights: (replica, event), bootstrap weights times generator weights.
        """

    @abstractmethod
    def observable(self, outputs: Floats) -> Floats:
        """Return the per-event quantity that is histogrammed, (..., event), from (..., event, output)."""

    @abstractmethod
    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return, per statistic, the label and the value of a predictor without information.

        Args:
            outputs: (event, output) at nominal.
            truth: (event, truth column).
            weights: (event,).
        """

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return further statistics for the performance table: name with unit to (replica,)."""
        return {}


class VoxelTask(Task):
    """A task that is asked of each voxel; its outputs per event are counts.

    Attributes:
        class_weight: Weight of each class in training; rare classes weigh more.
    """

    level = "voxel"
    empty = ()
    class_weight: ClassVar[tuple[float, ...]]

    @abstractmethod
    def count(self, predicted: Tensor, energy: Tensor, event: Tensor, matched: MatchedTruth) -> Tensor:
        """Return float32 (event, output): the stored outputs.

        Args:
            predicted: int64 (voxel,), predicted class.
            energy: float32 (voxel,), calibrated energy, MeV.
            event: int64 (voxel,), event of each voxel.
            matched: Truth of the same voxels and what was lost.
        """
