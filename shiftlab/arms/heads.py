"""Heads: what turns the features of a body into one task's raw numbers, per event or per voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Layout
from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches
from shiftlab.arms.shapes import SHAPES
from shiftlab.tasks.task import Task

__all__ = ["EventHead", "Head", "VoxelHead", "head_for"]

_QUERIES = 4
_COLUMNS = 32
_HIDDEN = 64
_VOXEL_HIDDEN = 32


class EventHead(nn.Module):
    """Attention and maximum pooling of the patches, joined with the event's overall quantities, then two layers."""

    def __init__(self, features: int, raw: int, contract: InputContract) -> None:
        """Make a head that gives ``raw`` numbers per event."""
        super().__init__()
        self.level = nn.LayerNorm(features)
        self.ask = nn.Linear(features, _QUERIES + _COLUMNS)
        overall = len(contract.energy_edges) + 4 + SHAPES
        self.enter = nn.Linear((_QUERIES + 1) * _COLUMNS + overall, _HIDDEN)
        self.leave = nn.Linear(_HIDDEN, raw)

    def forward(self, features: Tensor, patches: Patches, layout: Layout) -> Tensor:
        """Return raw numbers (event, raw) from padded features (event, length, features)."""
        asked = self.ask(self.level(features))
        weight = asked[..., :_QUERIES].masked_fill(~layout.mask[..., None], -torch.inf).softmax(dim=1)
        values = asked[..., _QUERIES:]
        pooled = torch.bmm(weight.transpose(1, 2), values).flatten(1)
        largest = values.masked_fill(~layout.mask[..., None], -torch.inf).amax(dim=1)
        hidden = functional.relu(self.enter(torch.cat([pooled, largest, patches.overall], dim=1)))
        raw: Tensor = self.leave(hidden)
        return raw


class VoxelHead(nn.Module):
    """A patch's features spread to its voxels, with the place in the patch and the voxel's energy."""

    def __init__(self, features: int, raw: int, contract: InputContract) -> None:
        """Make a head that gives ``raw`` numbers per voxel."""
        super().__init__()
        self.level = nn.LayerNorm(features)
        self.spread = nn.Linear(features, _VOXEL_HIDDEN)
        self.place = nn.Parameter(torch.randn(contract.locals, _VOXEL_HIDDEN) * 0.1)
        self.energy = nn.Parameter(torch.randn(_VOXEL_HIDDEN) * 0.1)
        self.leave = nn.Linear(_VOXEL_HIDDEN, raw)

    def forward(self, features: Tensor, patches: Patches, layout: Layout) -> Tensor:
        """Return raw numbers (voxel, raw) from padded features (event, length, features)."""
        spread = self.spread(self.level(layout.unpad(features)))
        hidden = spread.index_select(0, patches.voxel_patch) + self.place.index_select(0, patches.local)
        hidden = functional.relu(torch.addcmul(hidden, patches.value[:, None], self.energy))
        raw: Tensor = self.leave(hidden)
        return raw


Head = EventHead | VoxelHead


def head_for(task: Task, features: int, contract: InputContract) -> Head:
    """Return a fresh head for a task on a body that gives ``features`` numbers per patch."""
    make = VoxelHead if task.level == "voxel" else EventHead
    return make(features, task.raw, contract)
