"""Shape of an event (``shapes``) as a smooth function of the energy and presence of its voxels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shiftlab.arms.presence import Presence
from shiftlab.arms.shapes import CORE, DISTANCES, LEAST_SPREAD, RADII, START, ends_of
from shiftlab.units import MIP_DEDX

__all__ = ["smooth_shapes"]


def smooth_shapes(position: Tensor, energy: Tensor, nominal: Tensor, presence: Presence) -> Tensor:
    """Return (event, SHAPES) of ``shapes.event_shapes``, with derivatives by energy and presence.

    Which voxels lie within a radius, a distance or an end is that of the nominal image: it has no derivative.

    Args:
        position: (voxel, 3), cm.
        energy: (voxel,), MeV, positive, with derivative.
        nominal: (voxel,), the same in the nominal image.
        presence: Of the voxels, in their events; every event has one that is there.
    """
    centre, values, _, _ = _axes(position, energy * presence.weight, presence)
    values = torch.sqrt(values.clamp(min=LEAST_SPREAD))
    with torch.no_grad():
        there = nominal * presence.there
        _, _, vectors, fixed = _axes(position, there, presence)
        along = (fixed * vectors[presence.owner, :, 2]).sum(1)
        aside = torch.sqrt((fixed.square().sum(1) - along.square()).clamp(min=0.0))
    mass = energy * presence.weight
    inside, number = _within(aside, torch.hypot(along, aside), mass, presence)
    fraction, mean = inside / presence.summed(mass).clamp(min=1e-9)[:, None], inside / number.clamp(min=1.0)
    return torch.cat(
        [
            centre / 115.2 - 1.0,
            torch.log(values) / 2 - 1,
            fraction * 2 - 1,
            torch.log(mean / 0.5 + 0.01),
            _ends(along, aside, mass, there, presence),
        ],
        dim=1,
    )


def _axes(position: Tensor, mass: Tensor, presence: Presence) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return centre (event, 3), variances along the principal axes and these, and (voxel, 3) from the centre."""
    total = presence.summed(mass).clamp(min=1e-9)[:, None]
    centre = presence.summed(position * mass[:, None]) / total
    away = position - centre[presence.owner]
    outer = (away[:, :, None] * away[:, None, :]).flatten(1) * mass[:, None]
    values, vectors = torch.linalg.eigh((presence.summed(outer) / total).view(-1, 3, 3))
    return centre, values, vectors, away


def _within(aside: Tensor, distance: Tensor, mass: Tensor, presence: Presence) -> tuple[Tensor, Tensor]:
    """Return (event, limit): energy and number of voxels within ``RADII`` of the axis and ``DISTANCES``."""
    near = [aside < one for one in RADII] + [distance < one for one in DISTANCES]
    mask = torch.stack(near, dim=1).to(mass.dtype)
    return presence.summed(mask * mass[:, None]), presence.summed(mask * presence.weight[:, None])


def _ends(along: Tensor, aside: Tensor, mass: Tensor, nominal: Tensor, presence: Presence) -> Tensor:
    """Return (event, 6): ln of the dE/dx of both ends, and the length between them, by two definitions."""
    there, event = presence.there, presence.owner
    offsets = np.concatenate([[0], presence.number.cpu().numpy().cumsum()])
    along_there, aside_there, energy = (one[there].cpu().double().numpy() for one in (along, aside, nominal))
    _, ends = ends_of(along_there, aside_there, energy, event[there].cpu().numpy(), offsets)
    core = mass * (aside < CORE)
    found = []
    for one in ends:
        first, last = (torch.from_numpy(place).to(along)[event] for place in (one.first, one.last))
        low = presence.summed(core * ((along >= first - _HAIR) & (along < first + START - _HAIR)))
        high = presence.summed(core * ((along >= last - START - _HAIR) & (along <= last + _HAIR)))
        found += [torch.log(pick(low, high) / START / MIP_DEDX + 0.05) for pick in (torch.minimum, torch.maximum)]
        found.append(torch.from_numpy(one.last - one.first).to(along) / 100.0 - 1.0)
    return torch.stack(found, dim=1)


_HAIR = 1e-6
"""cm; places of one voxel differ by rounding."""
