"""Patches of an image that is a smooth function of the detector's parameters: what bodies see, with derivatives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches, group
from shiftlab.arms.presence import Presence
from shiftlab.arms.smooth_shapes import smooth_shapes
from shiftlab.detector.smooth import SmoothImage

__all__ = ["SmoothPatches", "smooth_patches"]


@dataclass(frozen=True)
class SmoothPatches:
    """Patches of recorded voxels and candidates.

    Attributes:
        patches: With derivatives in ``value``, ``summary``, ``overall``, ``centroid`` and ``summed_energy``.
        presence: Of the voxels in their patches.
    """

    patches: Patches
    presence: Presence


def smooth_patches(smooth: SmoothImage, contract: InputContract, dtype: torch.dtype = torch.float32) -> SmoothPatches:
    """Return the patches of all events; each of them has a voxel that is there.

    Args:
        smooth: Voxels with their derivatives.
        contract: How voxels are grouped and transformed.
        dtype: Of the numbers that a body sees.
    """
    patches = group(smooth.image, contract)
    order, image = patches.order, smooth.image
    event = image.event_index
    energy = smooth.energy.clamp(min=contract.energy_floor)
    edge = smooth.edge.detach().clamp(min=contract.energy_floor)
    nominal = (smooth.nominal or smooth).energy.detach().clamp(min=contract.energy_floor)
    bins = _soft_bins(smooth, contract)
    in_event = Presence(smooth.there, smooth.moved, event, len(image))
    in_patch = Presence(smooth.there[order], smooth.moved[order], patches.voxel_patch, len(patches.voxel_offsets) - 1)
    tokens = in_patch.of_owners(patches.patch_event, len(image))
    size = contract.pitch if contract.edges is None else torch.tensor(contract.edges, device=image.cell.device)
    place = ((image.index.float() + 0.5) * size).double()
    overall = [_summary(energy, edge, bins, in_event, contract), tokens.log_number()[:, None]]
    changed: dict[str, Any] = {
        "position": patches.position,
        "centroid": in_event.weighted_mean(place, energy, edge),
        "summary": _summary(energy[order], edge[order], bins[order], in_patch, contract),
        "overall": torch.cat([*overall, smooth_shapes(place, energy, nominal, in_event)], dim=1),
        "summed_energy": in_event.total(energy, edge),
        "value": torch.log(energy[order] / contract.energy_reference),
    }
    found = replace(patches, **{name: one.to(dtype) for name, one in changed.items()})
    return SmoothPatches(found, replace(in_patch, moved=in_patch.moved.to(dtype)))


def _summary(energy: Tensor, edge: Tensor, bins: Tensor, presence: Presence, contract: InputContract) -> Tensor:
    """Return (owner, 2 + bins): ``patches.energy_summary`` of voxels that are more or less there."""
    lowest = torch.log(torch.tensor(contract.energy_floor, dtype=energy.dtype, device=energy.device))
    scaled = presence.log_total(energy / contract.energy_reference, edge / contract.energy_reference)
    return torch.cat([torch.stack([torch.maximum(scaled, lowest), presence.log_number()], 1), presence.mean(bins)], 1)


def _soft_bins(smooth: SmoothImage, contract: InputContract) -> Tensor:
    """Return (voxel, bin): 1 in the bin of its energy, else 0, with the derivative that the noise gives.

    The mean over the noise of being in a bin is a difference of normal distribution functions of the energy without
    noise, which moves smoothly; what it moves by is added to the bin at hand.
    """
    edges = torch.tensor(contract.energy_edges, dtype=torch.float64, device=smooth.energy.device)
    plain = torch.tensor(contract.energy_edges, device=smooth.energy.device)
    nominal = smooth.nominal or smooth
    energy = nominal.energy.detach().clamp(min=contract.energy_floor)
    hard = torch.nn.functional.one_hot(torch.bucketize(energy.float(), plain), len(edges) + 1)
    return hard + _shares(smooth, edges) - _shares(nominal, edges).detach()


def _shares(smooth: SmoothImage, edges: Tensor) -> Tensor:
    """Return (voxel, bin): probability over the noise that the energy lies in each bin; 0 where there is no noise."""
    noisy = smooth.width.detach() > 0
    width = torch.where(noisy, smooth.width, torch.ones_like(smooth.width))
    above = torch.special.ndtr((smooth.level[:, None] - edges) / width[:, None])
    one, none = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    soft = torch.cat([one, above], dim=1) - torch.cat([above, none], dim=1)
    return torch.where(noisy[:, None], soft, torch.zeros_like(soft))
