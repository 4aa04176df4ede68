"""Visible energy: all energy that an event deposits in the detector volume, MeV."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.task import CANDIDATES, NEUTRINOS, Booleans, Floats, Task, of_samples

__all__ = ["Energy"]

_KNEE = 0.1


class Energy(Task):
    """Visible energy; a head gives the logarithm of its ratio to the summed calibrated energy."""

    name = "energy"
    statistic = "mean(reco/true - 1)"
    unit = "1"
    level = "event"
    kind = "regression"
    output_names = ("energy_MeV",)
    empty = (0.0,)
    truth_columns = ("visible_energy",)
    observable_label = "reconstructed visible energy [MeV]"
    edges = (0.0, 350.0, 600.0, 1000.0, 3000.0)

    def scored(self, events: EventTable) -> Booleans:
        """Return the neutrino candidates."""
        return of_samples(events, CANDIDATES)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the neutrino events that deposit energy."""
        return of_samples(events, NEUTRINOS) & (self.truth(events)[:, 0] > 0)

    def truth(self, events: EventTable) -> Floats:
        """Return the visible energy, MeV."""
        return events.truth["visible_energy"].cpu().double().numpy()[:, None]

    def target(self, truth: Floats, summed_energy: Floats) -> Floats:
        """Return ln(true / summed); NaN where either is not positive."""
        valid = (truth[:, 0] > 0) & (summed_energy > 0)
        ratio = np.divide(truth[:, 0], summed_energy, out=np.full(len(truth), np.nan), where=valid)
        log_ratio: Floats = np.log(ratio)
        return log_ratio

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the Huber loss of reco/true - 1, quadratic within 10%, in units of 10%."""
        residual = torch.expm1((raw[:, 0] - target).clamp(-3.0, 3.0)) / _KNEE
        return functional.smooth_l1_loss(residual, torch.zeros_like(residual))

    def decode(self, raw: Tensor, summed_energy: Tensor) -> Tensor:
        """Return the reconstructed energy, MeV."""
        return summed_energy[:, None] * torch.exp(raw)

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the weighted mean of reco/true - 1, (..., replica)."""
        residual = outputs[..., 0] / truth[:, 0] - 1.0
        mean: Floats = residual @ weights.T / weights.sum(axis=1)
        return mean

    def observable(self, outputs: Floats) -> Floats:
        """Return the reconstructed energy, MeV."""
        return outputs[..., 0]

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the resolution, the weighted root mean square of reco/true - 1 about its mean."""
        return {"resolution": _spread(outputs[..., 0] / truth[:, 0], weights)}

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the bias and the resolution of answering the mean energy for every event."""
        constant = np.average(truth[:, 0], weights=weights)
        ratio = constant / truth[:, 0]
        return {
            self.statistic: ("mean predictor", float(np.average(ratio, weights=weights) - 1.0)),
            "resolution": ("mean predictor", float(_spread(ratio, weights[None])[0])),
        }


def _spread(ratio: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=-1)
    mean = ratio @ weights.T / total
    spread: Floats = np.sqrt(np.maximum((ratio**2) @ weights.T / total - mean**2, 0.0))
    return spread
