"""A task: what is predicted of an event, how the prediction is trained, judged and histogrammed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.tasks.truth import column

if TYPE_CHECKING:
    from shiftlab.tasks.event_summary import EventSummary
    from shiftlab.tasks.voxel_truth import MatchedTruth

__all__ = ["CANDIDATES", "NEUTRINOS", "Booleans", "CountedTask", "Floats", "Task", "VoxelTask", "family", "of_samples"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

NEUTRINOS: Final = ("numu_cc", "nue_cc")
"""Samples whose vertices come from a neutrino generator."""

CANDIDATES: Final = (*NEUTRINOS, "photon_protons")
"""Samples of neutrino-candidate events, the ones that fill the channels of a fit."""

_PIONS: Final = ("0pi", "1pi", "1pi0", "npi", "npi0")
"""Endings by which composed samples tell the pions of an interaction, as in ``numu_cc_1pi0``."""

_COMPOSED: Final = {"photon": "photon_protons"}
"""What a family of composed samples is called where its name differs."""


def family(sample: str) -> str:
    """Return the name of a sample without the ending that tells its pions: ``numu_cc`` for ``numu_cc_1pi``."""
    head, _, last = sample.rpartition("_")
    return _COMPOSED.get(head, head) if head and last in _PIONS else sample


def of_samples(events: EventTable, samples: tuple[str, ...]) -> Booleans:
    """Return bool (event,): which events belong to one of the named samples, or to one of its kinds by pions."""
    names = {name: name in samples or family(name) in samples for name in set(events.sample)}
    return np.fromiter((names[name] for name in events.sample), dtype=np.bool_, count=len(events))


class Task(ABC):
    """What is predicted: truth, loss, statistic and observable.

    A head gives ``raw`` numbers for an event (or for a voxel); ``decode`` turns them into the stored
    outputs. Shapes below use "event" for the events where ``scored`` is True, in their order.

    Attributes:
        name: Name in configs, tables and as a pyhf channel.
        input: What a head is asked of: images of deposits, or reconstructed tokens.
        statistic: The number whose bias is quoted.
        unit: Unit of the statistic.
        better: 1 where a larger statistic is better, -1 where a smaller one is, 0 where neither (a mean offset).
        level: What a head is asked about: each event, each voxel, or the set of an event's particles.
        kind: ``binary`` (raw is a logit), ``classes`` (raw are logits) or ``regression``.
        opt_in: Whether it is asked only where it is named.
        raw: How many numbers a head gives.
        odd: Columns of the target that change sign where an image is mirrored along y.
        output_names: The stored columns.
        output_scale: What they are, which says how they are emulated: any ``real`` number (logits, coordinates), a
            ``positive`` one (energies), parts of a ``sum`` over events (counts), or together a ``unit`` vector.
        empty: Outputs of an event whose image has no voxel: the declared no-information answer
            (unused by voxel-level tasks, where an empty image has lost all its truth).
        truth_columns: Names of the truth columns.
        observable_label: Axis title of the observable, with unit.
        edges: Default bin edges of the observable.
    """

    name: ClassVar[str]
    input: ClassVar[Literal["images", "tokens"]] = "images"
    opt_in: ClassVar[bool] = False
    statistic: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Literal[-1, 0, 1]] = 0
    level: ClassVar[Literal["event", "voxel", "particle"]] = "event"
    kind: ClassVar[Literal["binary", "classes", "regression"]]
    raw: ClassVar[int] = 1
    odd: ClassVar[tuple[int, ...]] = ()
    output_names: ClassVar[tuple[str, ...]]
    output_scale: ClassVar[Literal["real", "positive", "sum", "unit"]] = "real"
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

    def truth(self, events: EventTable) -> Floats:
        """Return float64 (event, truth column) for all given events: the columns of these names, NaN where unknown.

        Raises:
            DataError: the events have no such truth.
        """
        return np.stack([column(events, name, self.name) for name in self.truth_columns], axis=1)

    def with_truth(self, deposits: Deposits) -> Deposits:
        """Return the events with the truth that this task derives from their particles, before anything is asked.

        Raises:
            DataError: the events lack what this task cannot do without.
        """
        return deposits

    @abstractmethod
    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return float64 (event,), or (event, raw) of several numbers: what a head is trained towards.

        An event with a target that is not finite teaches nothing.

        Args:
            truth: (event, truth column).
            event: Summary of the same events' images.
        """

    @abstractmethod
    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the training loss, a scalar, of ``raw`` (row, raw) against ``target`` (row,) or (row, raw)."""

    @abstractmethod
    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
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

    def reached(self, label: str, outputs: Floats, truth: Floats, weights: Floats) -> dict[str, tuple[str, float]]:
        """Return the label and the value of every statistic, names without unit, of some answer (event, output)."""
        own = {self.statistic: self.score(outputs, truth, weights[None]), **self.further(outputs, truth, weights[None])}
        return {name.partition(" [")[0]: (label, float(value[0])) for name, value in own.items()}


class CountedTask(Task):
    """A task about parts of an event; its outputs per event are counts, which hold the truth of the parts.

    An event without parts adds nothing to any count, so that every event is scored and evaluated.
    """

    output_scale = "sum"
    empty = ()
    truth_columns = ("visible_energy",)

    def scored(self, events: EventTable) -> Booleans:
        """Return every event."""
        return np.ones(len(events), dtype=np.bool_)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return every event."""
        return self.scored(events)

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return NaN: no event has a target, its parts have."""
        return np.full(len(truth), np.nan)

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return ``raw``; what a head says of the parts is summarised by ``count``."""
        return raw


class VoxelTask(CountedTask):
    """A task that is asked of each voxel; the label of each is ``MatchedTruth.label``.

    Attributes:
        class_weight: Weight of each class in training; rare classes weigh more.
    """

    level = "voxel"
    class_weight: ClassVar[tuple[float, ...]]

    def call(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the called class, int64 (voxel,), and its probability, from logits (voxel, class)."""
        largest, predicted = raw.max(dim=1)
        # The softmax of the largest logit alone: a third of the time of all of them.
        return predicted, torch.exp(raw - largest[:, None]).sum(dim=1).reciprocal()

    @abstractmethod
    def count(
        self, predicted: Tensor, probability: Tensor, energy: Tensor, event: Tensor, matched: MatchedTruth
    ) -> Tensor:
        """Return float32 (event, output): the stored outputs.

        Args:
            predicted: int64 (voxel,), predicted class.
            probability: float (voxel,), stated probability of that class.
            energy: float32 (voxel,), calibrated energy, MeV.
            event: int64 (voxel,), event of each voxel.
            matched: Truth of the same voxels and what was lost.
        """
