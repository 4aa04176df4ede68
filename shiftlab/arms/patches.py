"""Voxels of an image grouped into cubic patches of the fixed detector frame: the tokens of a body."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.neighbours import Neighbours, neighbours
from shiftlab.arms.packed import Packed
from shiftlab.arms.shapes import event_shapes
from shiftlab.events.image import Image
from shiftlab.events.ragged import ragged_rows

__all__ = ["Patches", "energy_summary", "group"]


@dataclass(frozen=True)
class Patches(Packed):
    """Occupied patches of some events; a patch is a token.

    Attributes:
        voxel_offsets: int64 (patch + 1,), voxels of each patch.
        position: float32 (patch, 3), centre in the detector frame, cm.
        centroid: float32 (event, 3), energy-weighted mean position, cm.
        summary: float32 (patch, 2 + bins): ln of summed energy / reference, ln of voxel count, and
            the fraction of voxels in each energy bin.
        overall: float32 (event, 3 + bins + SHAPES): the same for the event, ln of the patch count, and the
            event's shape.
        summed_energy: float32 (event,), MeV.
        local: int64 (voxel,), place of the voxel in its patch, below ``InputContract.locals``.
        value: float32 (voxel,), ln(energy / reference).
        order: int64 (voxel,), the image's row of each voxel.
        near: The neighbours of each voxel.
    """

    of_tokens = ("position", "summary")
    of_events = ("centroid", "overall", "summed_energy")
    voxel_offsets: Tensor
    position: Tensor
    centroid: Tensor
    summary: Tensor
    overall: Tensor
    summed_energy: Tensor
    local: Tensor
    value: Tensor
    order: Tensor
    near: Neighbours

    @cached_property
    def around(self) -> Tensor:
        """float32 (voxel, 54): occupancy and ln(energy / reference) of the cells around each voxel."""
        return self.near.features(self.value)

    @cached_property
    def voxel_patch(self) -> Tensor:
        """int64 (voxel,): the patch of each voxel."""
        counts = self.voxel_offsets.diff()
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)

    @property
    def patch_event(self) -> Tensor:
        """int64 (patch,): the event of each patch."""
        return self.token_event

    def keep(self, mask: Tensor) -> Patches:
        """Return the patches where ``mask`` (patch,) is True; what is said of events stays as it is."""
        rows = torch.nonzero(mask).squeeze(1)
        offsets = torch.zeros_like(self.offsets)
        offsets[1:] = torch.bincount(self.patch_event[rows], minlength=len(self)).cumsum(0)
        return self.picked(offsets, rows, slice(None), whole=False)

    def picked(
        self, offsets: Tensor, tokens: Tensor | slice, events: Tensor | slice, *, whole: bool = True, **others: Any
    ) -> Patches:
        """Return some patches with their voxels; ``whole`` says that events keep all of theirs."""
        if isinstance(tokens, slice):
            c, d = int(self.voxel_offsets[tokens.start]), int(self.voxel_offsets[tokens.stop])
            inside = self.voxel_offsets[tokens.start : tokens.stop + 1] - c
            voxels: Tensor | slice = slice(c, d)
            near = self.near.between(c, d)
        else:
            voxels, inside = ragged_rows(self.voxel_offsets, tokens)
            near = self.near.take(voxels, whole=whole)
        rows = {name: getattr(self, name)[voxels] for name in ("local", "value", "order")}
        return super().picked(offsets, tokens, events, voxel_offsets=inside, near=near, **rows, **others)


def group(
    image: Image, contract: InputContract, *, shift: tuple[int, int, int] = (0, 0, 0), mirror: bool = False
) -> Patches:
    """Group the voxels of each event into patches.

    Args:
        image: Sparse images.
        contract: Patch edge, pitch and energy transform.
        shift: Cells (0 to patch - 1 along each axis) by which the patch grid is moved; training
            only, so that a body does not learn where the grid lies. Evaluation uses the fixed grid.
        mirror: Mirror y about the middle of the detector; training only.
    """
    edge = contract.patch
    across = max(contract.shape) // edge + 2
    size = contract.pitch if contract.edges is None else torch.tensor(contract.edges, device=image.cell.device)
    index = image.index
    if mirror:
        index[:, 1] = contract.shape[1] - 1 - index[:, 1]
    position = (index.float() + 0.5) * size
    index = index + torch.tensor(shift, device=index.device)
    patch, inside = index // edge, index % edge
    event = image.event_index
    key = ((event * across + patch[:, 0]) * across + patch[:, 1]) * across + patch[:, 2]
    order = torch.argsort(key * edge**3 + (inside[:, 0] * edge + inside[:, 1]) * edge + inside[:, 2])
    across_patch = edge // contract.grain
    place = inside // contract.grain
    local = (place[:, 0] * across_patch + place[:, 1]) * across_patch + place[:, 2]
    unique, counts = torch.unique_consecutive(key[order], return_counts=True)
    offsets = torch.zeros(len(image) + 1, dtype=torch.int64, device=key.device)
    offsets[1:] = torch.bincount(unique // across**3, minlength=len(image)).cumsum(0)
    voxel_offsets = torch.zeros(len(unique) + 1, dtype=torch.int64, device=key.device)
    voxel_offsets[1:] = counts.cumsum(0)
    corner = torch.stack([unique // across**2 % across, unique // across % across, unique % across], dim=1) * edge
    centre = (corner - torch.tensor(shift, device=key.device) + edge / 2) * size
    energy = image.energy.clamp(min=contract.energy_floor)
    of_voxel = torch.repeat_interleave(torch.arange(len(unique), device=key.device), counts)
    moment = torch.zeros(len(image), 3, dtype=torch.float64, device=key.device)
    moment.index_add_(0, event, position.double() * energy.double()[:, None])
    summary = energy_summary(energy[order], of_voxel, len(unique), contract)
    overall = energy_summary(energy, event, len(image), contract)
    summed = torch.zeros(len(image), dtype=torch.float64, device=key.device).index_add_(0, event, energy.double())
    columns = (position.cpu().double().numpy(), energy.cpu().double().numpy(), event.cpu().numpy())
    shapes = torch.from_numpy(event_shapes(*columns, np.asarray(image.offsets.cpu()))).to(key.device)
    return Patches(
        offsets=offsets,
        voxel_offsets=voxel_offsets,
        position=centre.float(),
        centroid=(moment / summed.clamp(min=1e-6)[:, None]).float(),
        summary=summary,
        overall=torch.cat([overall, torch.log(offsets.diff().clamp(min=1).float())[:, None], shapes], dim=1),
        summed_energy=summed.float(),
        local=local[order],
        value=torch.log(energy[order] / contract.energy_reference),
        order=order,
        near=neighbours(image, mirror=mirror).take(order),
    )


def energy_summary(energy: Tensor, owner: Tensor, owners: int, contract: InputContract) -> Tensor:
    """Return float32 (owner, 2 + bins): what ``Patches.summary`` says of voxels (voxel,), MeV, of patches or events."""
    bins = len(contract.energy_edges) + 1
    edges = torch.tensor(contract.energy_edges, device=energy.device)
    place = owner * bins + torch.bucketize(energy, edges)
    histogram = torch.bincount(place, minlength=owners * bins).view(owners, bins).float()
    count = histogram.sum(1).clamp(min=1.0)
    total = torch.zeros(owners, dtype=torch.float64, device=energy.device).index_add_(0, owner, energy.double())
    scaled = torch.log((total.float() / contract.energy_reference).clamp(min=contract.energy_floor))
    return torch.cat([torch.stack([scaled, torch.log(count)], dim=1), histogram / count[:, None]], dim=1)
