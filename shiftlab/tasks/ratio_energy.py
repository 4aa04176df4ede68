"""What the tasks share whose energy is a factor times the summed calibrated energy of the image, MeV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.energy_task import EnergyTask
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.quantiles import spread
from shiftlab.tasks.task import CANDIDATES, NEUTRINOS, Booleans, Floats, of_samples

__all__ = ["RatioEnergy"]

_KNEE: Final = 0.1


class RatioEnergy(EnergyTask):
    """An energy; a head gives the logarithm of its ratio to the summed calibrated energy."""

    output_names = ("energy_MeV",)

    def scored(self, events: EventTable) -> Booleans:
        """Return the neutrino candidates."""
        return of_samples(events, CANDIDATES)

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the charged-current events whose energy is above 0."""
        return of_samples(events, NEUTRINOS) & (self.truth(events)[:, 0] > 0)

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return ln(true / summed); NaN where either is not positive."""
        summed = event.summed_energy.cpu().double().numpy()
        valid = (truth[:, 0] > 0) & (summed > 0)
        ratio = np.divide(truth[:, 0], summed, out=np.full(len(truth), np.nan), where=valid)
        log_ratio: Floats = np.log(ratio)
        return log_ratio

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the Huber loss of reco/true - 1, quadratic within 10%, in units of 10%."""
        residual = torch.expm1((raw[:, 0] - target).clamp(-3.0, 3.0)) / _KNEE
        return functional.smooth_l1_loss(residual, torch.zeros_like(residual))

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return the reconstructed energy, MeV."""
        return event.summed_energy[:, None] * torch.exp(raw)

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the resolution, the weighted root mean square of reco/true - 1 about its mean."""
        return {"resolution": spread(outputs[..., 0] / truth[:, 0], weights)}
