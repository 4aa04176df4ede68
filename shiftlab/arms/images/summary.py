"""Summed energy and energy-weighted centre of images: what tasks may build their answers on."""

from __future__ import annotations

import torch

from shiftlab.arms.contract import InputContract
from shiftlab.events.image import Image
from shiftlab.tasks.event_summary import EventSummary

__all__ = ["image_summary"]


def image_summary(image: Image, contract: InputContract) -> EventSummary:
    """Return the float64 summary of every event; of wires the sum of all planes, and the origin as the centre.

    An event without voxels has no energy, and the origin as its centre.
    """
    energy, event = image.energy.double(), image.event_index
    summed = torch.zeros(len(image), dtype=torch.float64, device=energy.device).index_add_(0, event, energy)
    if contract.views > 1:
        return EventSummary.of_energy(summed)
    position = (image.index.double() + 0.5) * contract.pitch
    moment = torch.zeros(len(image), 3, dtype=torch.float64, device=energy.device)
    moment.index_add_(0, event, position * energy[:, None])
    return EventSummary(summed, moment / summed.clamp(min=1e-6)[:, None])
