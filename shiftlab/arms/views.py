"""Views of events in pre-training: crops in space, hidden cubes, turned about the drift and with jittered energies.

Everything works on grouped voxels, so that a patch of one view is the same patch in every other: ``row`` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.arms.augmentations import Augmentation
from shiftlab.arms.contract import InputContract
from shiftlab.arms.neighbours import AROUND
from shiftlab.arms.patches import Patches, energy_summary
from shiftlab.errors import ConfigError

__all__ = [
    "TURNS",
    "Crops",
    "HiddenBlocks",
    "Views",
    "brightened",
    "crop",
    "hidden_blocks",
    "picked",
    "recentred",
    "turned",
    "views",
]

TURNS = 8
"""Symmetries of a square anode: four quarter turns about the drift, each with or without a mirror."""


@dataclass(frozen=True)
class Crops(Augmentation):
    """Parts of an event, as views that must agree.

    Attributes:
        globals: Large crops; two, since each is the other's target.
        locals: Small ones. Sonata's own four, not Panda's six: our events have some 50 patches, of which four crops
            of a quarter already show each once on average, and six cost a sixth more time.
        global_share: Smallest and largest share of the patches in a large crop (Panda: 0.4 to 1 of the voxels).
        local_share: The same of a small one (Panda: 0.1 to 0.4).
    """

    name: ClassVar[str] = "crops"
    globals: int = 2
    locals: int = 4
    global_share: tuple[float, float] = (0.4, 1.0)
    local_share: tuple[float, float] = (0.1, 0.4)

    def __post_init__(self) -> None:
        """Refuse crops that cannot be compared."""
        shares = (*self.global_share, *self.local_share)
        if self.globals != 2 or self.locals < 1 or not all(0 < share <= 1 for share in shares):
            raise ConfigError(
                f"crops: {self.globals} global (needs 2) and {self.locals} local views (needs 1 or more), with shares "
                f"{shares} (each in (0, 1])."
            )

    @property
    def words(self) -> str:
        """Return numbers and shares."""
        large, small = ("{:g} to {:g}".format(*share) for share in (self.global_share, self.local_share))
        return f"{self.globals} crops of {large} and {self.locals} of {small} of an event's patches"


@dataclass(frozen=True)
class HiddenBlocks(Augmentation):
    """Cubes of an event whose patches are known by their place alone.

    Attributes:
        edge: Edge of a cube in cells, at the start and after the warm-up (Panda: 0.01 to 0.075 of 665 voxels, that
            is 6.7 and 50 voxels or 2 and 15 cm; here to the nearest whole number of patches, at least one).
        ratio: Share of the cubes that is hidden (Panda: 0.5 to 0.9).
    """

    name: ClassVar[str] = "hidden_blocks"
    edge: tuple[float, float] = (6.65, 50.0)
    ratio: tuple[float, float] = (0.5, 0.9)

    @property
    def words(self) -> str:
        """Return size and share of the cubes."""
        return (
            "{:g} to {:g} of the cubes hidden, whose edge grows to {:g} cells; a hidden patch is told from an empty "
            "place, so that this is no dead region"
        ).format(*self.ratio, self.edge[1])


@dataclass(frozen=True)
class Views:
    """Views of a batch of events: first one of each event, then the second of each, and so on.

    Attributes:
        patches: What is left in each view, packed; its events are the views.
        row: int64 (patch,), the row of each patch in the batch that the views were cut from.
    """

    patches: Patches
    row: Tensor

    @property
    def view(self) -> Tensor:
        """int64 (patch,): the view of each patch."""
        return self.patches.patch_event

    def where(self, first: int, last: int, rows: int) -> Tensor:
        """Return int64 (rows,): where each patch of the batch is among views ``first:last``, -1 where it is not.

        Args:
            first: First view; the views given must hold no patch twice.
            last: One past the last view.
            rows: Patches of the batch.
        """
        place = torch.full((rows,), -1, dtype=torch.int64, device=self.row.device)
        a, b = int(self.patches.offsets[first]), int(self.patches.offsets[last])
        place[self.row[a:b]] = torch.arange(a, b, device=self.row.device)
        return place


def picked(patches: Patches, chance: Tensor, allowed: Tensor) -> Tensor:
    """Return int64 (event,): the allowed patch of largest ``chance`` of each event, any patch where none is allowed.

    Args:
        patches: A batch of events, none of them empty.
        chance: float (patch,), uniform draws below 1.
        allowed: bool (patch,).
    """
    score = chance + allowed
    best = torch.segment_reduce(score, "max", lengths=patches.lengths)
    rows = torch.nonzero(score == best[patches.patch_event]).squeeze(1)
    event = patches.patch_event[rows]
    first = torch.full((len(patches),), len(score), dtype=torch.int64, device=score.device)
    return first.scatter_reduce(0, event, rows, "amin")


def crop(patches: Patches, centre: Tensor, share: Tensor) -> Tensor:
    """Return bool (patch,): the patches nearest to the centre of each event's crop, the centre itself among them.

    Panda crops the same way, by voxels (``MultiViewGenerator`` of Pointcept).

    Args:
        patches: A batch of events, none of them empty.
        centre: int64 (event,), row of the patch in the middle.
        share: float (event,), share of the event's patches that is kept, rounded down to at least one.
    """
    event = patches.patch_event
    distance = (patches.position - patches.position[centre][event]).square().sum(dim=1)
    near = torch.argsort(distance, stable=True)
    order = near[torch.argsort(event[near], stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    kept = (patches.lengths * share.double()).floor().clamp(min=1)
    return (rank - patches.offsets[:-1][event]) < kept[event]


def hidden_blocks(patches: Patches, edge: int, ratio: float, chance: Tensor, contract: InputContract) -> Tensor:
    """Return bool (patch,): patches in a random ``ratio`` of the occupied cubes of each event, rounded down.

    Cubes are counted from the lowest corner of the event, as in ``generate_mask`` of Sonata.

    Args:
        patches: A batch of events, none of them empty.
        edge: Edge of a cube in patches.
        ratio: Share of each event's occupied cubes that is hidden, below 1: something always stays.
        chance: float64 (patch,), uniform draws below 1; a cube goes by the least draw of its patches.
        contract: Size of a patch.
    """
    event, events = patches.patch_event, len(patches)
    lowest = torch.segment_reduce(patches.position, "min", lengths=patches.lengths, axis=0)
    above = (patches.position - lowest[event]) / (contract.patch * contract.pitch)
    cube = torch.round(above).to(torch.int64) // edge
    across = max(contract.shape) // contract.patch + 2
    key = ((event * across + cube[:, 0]) * across + cube[:, 1]) * across + cube[:, 2]
    unique, member = torch.unique(key, return_inverse=True)
    draw = torch.ones(len(unique), dtype=torch.float64, device=key.device)
    draw.scatter_reduce_(0, member, chance.double(), "amin")
    owner = unique // across**3
    count = torch.bincount(owner, minlength=events)
    order = torch.argsort(owner + draw)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    within = rank - (count.cumsum(0) - count)[owner]
    hidden = within < torch.floor(count.double() * ratio)[owner]
    return hidden[member]


def turned(patches: Patches, contract: InputContract, turn: Tensor) -> Patches:
    """Return the events turned about the drift axis in the middle of the detector, each in one of eight ways.

    Drift, threshold and noise are the same for all pixels of a square anode, so that a turned event is as likely
    a picture; along the drift it is not, since charge is lost and spread on the way. What ``overall`` says stays
    that of the unturned event.

    Args:
        patches: A batch of events.
        contract: Lattice and patches.
        turn: int64 (event,), below ``TURNS``: bit 0 mirrors y, bit 1 mirrors z, then bit 2 swaps y and z.

    Raises:
        ConfigError: the anode is not square, or an index is no place.
    """
    _, ny, nz = contract.shape
    if contract.views > 1 or ny != nz:
        raise ConfigError(f"only an image of a square pixel anode can be turned; this one has {ny} x {nz} cells.")
    size = torch.tensor([0.0, ny * contract.pitch, nz * contract.pitch], device=turn.device)
    of_patch = turn[patches.patch_event]
    position = _square(patches.position, of_patch, size)
    along = contract.patch // contract.grain
    local = patches.local
    inside = torch.stack([local // along**2, local // along % along, local % along], dim=1)
    last = torch.tensor([0, along - 1, along - 1], device=turn.device)
    of_voxel = of_patch[patches.voxel_patch]
    inside = _square(inside, of_voxel, last)
    near = patches.near
    return replace(
        patches,
        position=position,
        centroid=_square(patches.centroid, turn, size),
        local=(inside[:, 0] * along + inside[:, 1]) * along + inside[:, 2],
        near=replace(near, place=_around(turn.device)[of_voxel[near.owner], near.place]),
    )


def _around(device: torch.device) -> Tensor:
    """Return int64 (TURNS, 27): where each of the 27 places around a voxel goes in a turn."""
    line = torch.arange(-1, 2, device=device)
    step = torch.cartesian_prod(line, line, line)
    turn = torch.arange(TURNS, device=device).repeat_interleave(AROUND)
    there = _square(step.repeat(TURNS, 1), turn, torch.zeros(3, dtype=torch.int64, device=device)) + 1
    return ((there[:, 0] * 3 + there[:, 1]) * 3 + there[:, 2]).view(TURNS, AROUND)


def _square(place: Tensor, turn: Tensor, size: Tensor) -> Tensor:
    """Return (row, 3): places after the symmetry ``turn`` (row,) of a square from 0 to ``size`` in y and z."""
    x, y, z = place.unbind(dim=1)
    y = torch.where((turn & 1).bool(), size[1] - y, y)
    z = torch.where((turn & 2).bool(), size[2] - z, z)
    swap = (turn & 4).bool()
    return torch.stack([x, torch.where(swap, z, y), torch.where(swap, y, z)], dim=1)


def recentred(patches: Patches, contract: InputContract) -> Patches:
    """Return the same patches about the energy-weighted mean place of what is left, to the grain of the patches."""
    along = contract.patch // contract.grain
    local = patches.local
    inside = torch.stack([local // along**2, local // along % along, local % along], dim=1).float()
    away = (inside + 0.5) * contract.grain - contract.patch / 2
    place = patches.position[patches.voxel_patch] + away * contract.pitch
    weight = torch.exp(patches.value.double())
    event = patches.patch_event[patches.voxel_patch]
    moment = torch.zeros(len(patches), 3, dtype=torch.float64, device=place.device)
    moment.index_add_(0, event, place.double() * weight[:, None])
    total = torch.zeros(len(patches), dtype=torch.float64, device=place.device).index_add_(0, event, weight)
    return replace(patches, centroid=(moment / total.clamp(min=1e-12)[:, None]).float())


def brightened(patches: Patches, factor: Tensor, contract: InputContract) -> Patches:
    """Return the patches with each voxel's energy times ``factor`` (voxel,); what is said of events stays."""
    value = patches.value + torch.log(factor)
    energy = torch.exp(value) * contract.energy_reference
    summary = energy_summary(energy, patches.voxel_patch, len(patches.position), contract)
    return replace(patches, value=value, summary=summary)


def views(patches: Patches, masks: Sequence[Tensor], turn: Tensor, contract: InputContract) -> Views:
    """Return one view of each event per mask, turned and about its own centroid.

    Args:
        patches: A batch of events.
        masks: bool (patch,) each, what a view keeps; at least one patch of every event.
        turn: int64 (mask, event), below ``TURNS``.
        contract: Lattice and patches.
    """
    device = patches.offsets.device
    many = patches.take(torch.arange(len(patches), device=device).repeat(len(masks)))
    mask = torch.cat(list(masks))
    row = torch.arange(len(patches.position), device=device).repeat(len(masks))[mask]
    kept = turned(many.keep(mask), contract, turn.flatten())
    return Views(recentred(kept, contract), row)
