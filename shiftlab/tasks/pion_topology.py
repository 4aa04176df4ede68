"""Pion topology: which pions a neutrino interaction made, in the five classes of the MINERvA transfer paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.calibration import accuracy, calibration_error
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.quantiles import binomial_spread
from shiftlab.tasks.ranking import true_rate, weighted_auc
from shiftlab.tasks.task import Booleans, Floats, Task
from shiftlab.tasks.truth import column

__all__ = ["CLASSES", "SIGNALS", "PionTopology"]

CLASSES: Final = ("cc_1pi", "cc_npi", "cc_1pi0", "cc_other", "nc")
"""CC with one charged pion; CC with several; CC with one neutral and no charged pion; other CC; NC."""

SIGNALS: Final = {"CC1pi+-": (0,), "CCNpi+-": (1,), "CC1pi0": (2,), "CC1pi+- or CCNpi+-": (0, 1)}
"""Binary signals; a signal's score is the summed probability of its classes (minerva-ml's evaluation)."""

_FALSE: Final = 0.028
"""Share of background at which the share of signal is quoted: that of the paper's cut baseline for CC1pi."""


class PionTopology(Task):
    """CC1pi+-, CCNpi+-, CC1pi0, CC other or NC (``Pi_labels_v2`` of the code of arXiv:2604.12364), as logits."""

    name = "pion_topology"
    input = "tokens"
    statistic = "AUROC of CC1pi+-"
    unit = "1"
    better = 1
    kind = "classes"
    raw = len(CLASSES)
    output_names = tuple(f"logit_{name}" for name in CLASSES)
    empty = (0.0,) * len(CLASSES)
    truth_columns = ("pion_class",)
    observable_label = "probability of CC1pi+-"
    edges = (0.0, 0.25, 0.5, 0.75, 1.0)

    def scored(self, events: EventTable) -> Booleans:
        """Return the events of charged or neutral current."""
        return np.isfinite(self.truth(events)[:, 0])

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the events of charged or neutral current."""
        return self.scored(events)

    def truth(self, events: EventTable) -> Floats:
        """Return the class, 0 to 4; NaN where no neutrino made the event.

        Raises:
            DataError: the events lack the current or a count of pions.
        """
        current, plus, minus, zero = (
            column(events, name, self.name) for name in ("current", "n_pi_plus", "n_pi_minus", "n_pi_zero")
        )
        charged = plus + minus
        classes = np.select([charged == 1, charged > 1, zero == 1], [0.0, 1.0, 2.0], default=3.0)
        return np.select([current == 1, current == 2], [classes, 4.0], default=np.nan)[:, None]

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return the class, 0 to 4 (NaN where undefined)."""
        return truth[:, 0]

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross entropy."""
        return functional.cross_entropy(raw, target.long())

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return the logits as they are."""
        return raw

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the AUROC of CC1pi+- against all other classes, (..., replica)."""
        return weighted_auc(_signal(outputs, SIGNALS["CC1pi+-"]), truth[:, 0] == 0, weights)

    def observable(self, outputs: Floats) -> Floats:
        """Return the probability of CC1pi+-."""
        return _signal(outputs, SIGNALS["CC1pi+-"])

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the squared distance of the probabilities from the true class (the Brier score), (..., event)."""
        true = np.eye(len(CLASSES))[truth[:, 0].astype(np.int64)]
        return np.asarray(((softmax(outputs, axis=-1) - true) ** 2).sum(axis=-1), dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return sqrt(p (1 - p)) of the AUROC p: what one event is uncertain by."""
        return binomial_spread(float(self.score(outputs, truth, weight[None])[0]))

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return accuracy and calibration of the likeliest class, and per signal AUROC and share kept at 2.8% FPR."""
        probability = softmax(outputs, axis=-1)
        right = probability.argmax(axis=-1) == truth[:, 0]
        stated = probability.max(axis=-1)
        found = {"accuracy": accuracy(right, weights), "ECE": calibration_error(stated, right, weights)}
        for name, classes in SIGNALS.items():
            score, positive = _signal(outputs, classes), np.isin(truth[:, 0], classes)
            if name != "CC1pi+-":
                found[f"AUROC of {name}"] = weighted_auc(score, positive, weights)
            found[f"TPR of {name} at FPR 2.8%"] = true_rate(score, positive, weights, _FALSE)
        return found

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return what chance gives, and what answering the shares of the classes for every event reaches."""
        rates = {f"TPR of {name} at FPR 2.8%": ("chance", _FALSE) for name in SIGNALS}
        most = float(np.bincount(truth[:, 0].astype(np.int64), weights).max() / weights.sum())
        known = {"accuracy": ("shares of the classes", most), "ECE": ("shares of the classes", 0.0)}
        return {**{f"AUROC of {name}": ("chance", 0.5) for name in SIGNALS}, **rates, **known}


def _signal(outputs: Floats, classes: tuple[int, ...]) -> Floats:
    """Return the summed probability of some classes, (...), from logits (..., class)."""
    summed: Floats = softmax(outputs, axis=-1)[..., list(classes)].sum(axis=-1)
    return summed
