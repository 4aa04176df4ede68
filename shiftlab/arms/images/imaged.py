"""Nominal images of some events with the truth of their voxels: what is made once before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.images.summary import image_summary
from shiftlab.detector import NOMINAL, Detector
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.image import Image
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.particle_truth import TrueParticles, joined_particles
from shiftlab.tasks.voxel_truth import NONE, match, truth_in

__all__ = ["CHUNK", "Imaged", "imaged", "input_contract", "joined"]

CHUNK = 256
"""Events that are imaged at a time; images do not depend on it."""


@dataclass(frozen=True)
class Imaged:
    """Nominal images with the truth of their voxels.

    Attributes:
        image: The images.
        label: int8 (voxel,), true class of each voxel; ``voxel_truth.NONE`` where there is none.
        summary: Summed energy and centre of each event, float64.
        owner: int16 (voxel,), particle of each voxel as ``MatchedTruth.owner``; None where nobody asked.
        particles: The true particles; None likewise.
    """

    image: Image
    label: Tensor
    summary: EventSummary
    owner: Tensor | None = None
    particles: TrueParticles | None = None

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.image)


def input_contract(detector: Detector) -> InputContract:
    """Return the input contract of the images that a detector makes."""
    nominal = detector.values(NOMINAL)
    threshold = nominal["threshold"]["level"] if "threshold" in nominal else 0.0
    geometry = detector.geometry
    contract = InputContract(shape=geometry.shape, pitch=geometry.pitch, threshold=threshold)
    return contract if geometry.views == 1 else replace(contract, edges=geometry.edges, views=geometry.views)


def imaged(deposits: Deposits, detector: Detector, *, labelled: bool = True, particles: bool = False) -> Imaged:
    """Return the nominal images of some events, which fit in memory.

    Args:
        deposits: The events.
        detector: Only its nominal universe is used.
        labelled: Whether voxels get their class; all are ``NONE`` without.
        particles: Whether voxels get their particle.

    Raises:
        DataError: ``particles`` are asked for, and the deposits do not say which particle made them.
    """
    prepared = detector.prepare(deposits)
    image = detector.image(prepared)
    summary = image_summary(image, input_contract(detector))
    if not labelled and not particles:
        return Imaged(image, torch.full_like(image.cell, NONE, dtype=torch.int8), summary)
    matched = match(image, truth_in(detector, prepared, NOMINAL, particles=particles))
    owner = None if matched.owner is None else matched.owner.to(torch.int16)
    return Imaged(image, matched.label.to(torch.int8), summary, owner, matched.particles)


def joined(parts: Sequence[Imaged], events: EventTable) -> Imaged:
    """Return the events of all parts, one after another; ``events`` is the table of them all."""
    images = [part.image for part in parts]
    counts = torch.cat([one.offsets.diff() for one in images])
    image = Image(
        offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        cell=torch.cat([one.cell for one in images]),
        charge=torch.cat([one.charge for one in images]),
        energy=torch.cat([one.energy for one in images]),
        shape=images[0].shape,
        events=events,
    )
    energy = torch.cat([part.summary.summed_energy for part in parts])
    summary = EventSummary(energy, torch.cat([part.summary.centroid for part in parts]))
    owners = [part.owner for part in parts if part.owner is not None]
    particles = [part.particles for part in parts if part.particles is not None]
    label = torch.cat([part.label for part in parts])
    if len(owners) < len(parts) or len(particles) < len(parts):
        return Imaged(image, label, summary)
    return Imaged(image, label, summary, torch.cat(owners), joined_particles(particles))
