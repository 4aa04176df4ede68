"""What the two-class event tasks share: a logit as output, AUC as statistic, probability as observable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.calibration import accuracy, calibration_error
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.quantiles import binomial_spread
from shiftlab.tasks.ranking import weighted_auc
from shiftlab.tasks.task import Booleans, Floats, Task, of_samples

__all__ = ["LogitTask"]


class LogitTask(Task):
    """A two-class task; the stored output is the logit of the positive class.

    Attributes:
        judged: Samples of the evaluation set.
        also_scored: Further samples whose observable fills a template.
    """

    statistic = "AUC"
    unit = "1"
    better = 1
    kind = "binary"
    output_names = ("logit",)
    empty = (0.0,)
    judged: ClassVar[tuple[str, ...]]
    also_scored: ClassVar[tuple[str, ...]]

    def scored(self, events: EventTable) -> Booleans:
        """Return the events of the judged and of the also scored samples."""
        return of_samples(events, self.judged + self.also_scored)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the events of the judged samples whose class is defined."""
        return of_samples(events, self.judged) & np.isfinite(self.truth(events)[:, 0])

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return the class, 0 or 1 (NaN where undefined)."""
        return truth[:, 0]

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross entropy."""
        return functional.binary_cross_entropy_with_logits(raw[:, 0], target)

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return the logit as it is."""
        return raw

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the AUC (..., replica)."""
        return weighted_auc(outputs[..., 0], truth[:, 0] > 0.5, weights)

    def observable(self, outputs: Floats) -> Floats:
        """Return the probability of the positive class."""
        probability: Floats = expit(outputs[..., 0])
        return probability

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the square of probability minus class, 0 or 1 (the Brier score), (..., event)."""
        return np.asarray((self.observable(outputs) - (truth[:, 0] > 0.5)) ** 2, dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return sqrt(p (1 - p)) of the AUC p: what one event is uncertain by."""
        return binomial_spread(float(self.score(outputs, truth, weight[None])[0]))

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the accuracy of the likelier class and the calibration of its probability."""
        probability, positive = self.observable(outputs), truth[:, 0] > 0.5
        right = (probability > 0.5) == positive
        stated = np.maximum(probability, 1.0 - probability)
        return {"accuracy": accuracy(right, weights), "ECE": calibration_error(stated, right, weights)}

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the AUC of a coin, and what answering the share of the positive class for every event reaches."""
        share = float(np.average(truth[:, 0] > 0.5, weights=weights))
        label = "share of the classes"
        return {"AUC": ("chance", 0.5), "accuracy": (label, max(share, 1.0 - share)), "ECE": (label, 0.0)}
