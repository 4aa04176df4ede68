"""Available energy: what a neutrino interaction leaves besides its lepton and neutrons, MeV, asked of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shiftlab.events.deposits import EventTable
from shiftlab.tasks.energy_task import EnergyTask, robust_spread
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.task import Booleans, Floats

__all__ = ["AvailableEnergy"]

_GEV: Final = 1000.0
_LEAST: Final = 50.0
"""MeV; ratios to a smaller true energy are not judged, as in minerva-ml's evaluation."""


class AvailableEnergy(EnergyTask):
    """Available energy without the muon, as arXiv:2604.12364 defines it; a head gives log(1 + E/GeV).

    It is the kinetic energy of protons and the total energy of pions, charged kaons, electrons and photons. The
    training loss is the Huber loss of the logarithm, as in that paper.
    """

    name = "available_energy"
    input = "tokens"
    output_names = ("available_energy_MeV",)
    truth_columns = ("available_energy",)
    observable_label = "reconstructed available energy [MeV]"
    edges = (0.0, 300.0, 600.0, 1000.0, 4000.0)

    def scored(self, events: EventTable) -> Booleans:
        """Return the events with a true available energy."""
        return np.isfinite(self.truth(events)[:, 0])

    def evaluated(self, events: EventTable) -> Booleans:
        """Return the events with a true available energy of at least 50 MeV."""
        return self.scored(events) & (self.truth(events)[:, 0] >= _LEAST)

    def target(self, truth: Floats, event: EventSummary) -> Floats:
        """Return log(1 + E/GeV); NaN where the truth is."""
        logarithm: Floats = np.log1p(truth[:, 0] / _GEV)
        return logarithm

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the Huber loss of log(1 + E/GeV)."""
        return functional.smooth_l1_loss(raw[:, 0], target)

    def decode(self, raw: Tensor, event: EventSummary) -> Tensor:
        """Return the reconstructed energy, MeV, not negative."""
        return _GEV * torch.expm1(raw.clamp(min=0.0))

    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return the interquartile range and the most probable value of reco/true."""
        return robust_spread(outputs[..., 0] / truth[:, 0], weights)
