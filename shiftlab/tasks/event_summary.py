"""What of an event's image a task may build its answer on: the summed energy and where its middle is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["EventSummary"]


@dataclass(frozen=True)
class EventSummary:
    """Label-free quantities of the images of some events; a head answers relative to them.

    Attributes:
        summed_energy: float (event,), sum of the calibrated energy, MeV.
        centroid: float (event, 3), energy-weighted mean position in the detector's frame, cm.
    """

    summed_energy: Tensor
    centroid: Tensor

    @classmethod
    def of_energy(cls, summed_energy: Tensor) -> EventSummary:
        """Return a summary of events without a place (tokens, wire planes); their centroid is the origin."""
        return cls(summed_energy, summed_energy.new_zeros(len(summed_energy), 3))

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.summed_energy)

    def take(self, index: Tensor) -> EventSummary:
        """Return the events at ``index`` (int64 or bool)."""
        return EventSummary(self.summed_energy[index], self.centroid[index])

    def to(self, device: torch.device | str) -> EventSummary:
        """Return the same summary on ``device``."""
        return EventSummary(self.summed_energy.to(device), self.centroid.to(device))
