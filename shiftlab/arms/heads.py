"""Heads: what turns the features of a body into one task's raw numbers, per event or per voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.set_head import SetHead
from shiftlab.tasks.particle_task import ParticleTask
from shiftlab.tasks.task import Task

__all__ = ["EventHead", "Head", "VoxelHead", "head_for"]

_QUERIES = 4
_COLUMNS = 32
_HIDDEN = 64
_VOXEL_HIDDEN = 32


class EventHead(nn.Module):
    """Attention and maximum pooling of the tokens, joined with the event's overall quantities, then two layers."""

    def __init__(self, body: Body, raw: int) -> None:
        """Make a head that gives ``raw`` numbers per event."""
        super().__init__()
        self.level = nn.LayerNorm(body.features)
        self.ask = nn.Linear(body.features, _QUERIES + _COLUMNS)
        self.enter = nn.Linear((_QUERIES + 1) * _COLUMNS + body.overall_features, _HIDDEN)
        self.leave = nn.Linear(_HIDDEN, raw)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return raw numbers (event, raw)."""
        weight, values = self.ask(self.level(encoded.tokens)).split([_QUERIES, _COLUMNS], dim=1)
        lengths = encoded.offsets.diff()
        largest = torch.segment_reduce(weight.detach(), "max", lengths=lengths, axis=0)
        event = encoded.token_event
        weight = torch.exp(weight - largest[event])
        total = torch.zeros_like(largest).index_add(0, event, weight)
        weighted = (weight[:, :, None] * values[:, None, :]).flatten(1)
        pooled = weighted.new_zeros(len(encoded), weighted.shape[1]).index_add(0, event, weighted)
        pooled = pooled.unflatten(1, (_QUERIES, _COLUMNS)) / total[:, :, None]
        top = torch.segment_reduce(values, "max", lengths=lengths, axis=0)
        hidden = functional.relu(self.enter(torch.cat([pooled.flatten(1), top, encoded.overall], dim=1)))
        raw: Tensor = self.leave(hidden)
        return raw


class VoxelHead(nn.Module):
    """A token's features spread to its voxels, with the voxel's place, energy and own features."""

    def __init__(self, body: Body, raw: int) -> None:
        """Make a head that gives ``raw`` numbers per voxel."""
        super().__init__()
        hidden = 2 * _VOXEL_HIDDEN if body.voxel_features else _VOXEL_HIDDEN
        self.level = nn.LayerNorm(body.features)
        self.spread = nn.Linear(body.features, hidden)
        self.place = nn.Parameter(torch.randn(body.places, hidden) * 0.1)
        self.energy = nn.Parameter(torch.randn(hidden) * 0.1)
        if body.voxel_features:
            self.voxel_level = nn.LayerNorm(body.voxel_features)
            self.own = nn.Linear(body.voxel_features, hidden)
            self.mix = nn.Linear(hidden, hidden)
        self.leave = nn.Linear(hidden, raw)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return raw numbers (voxel, raw)."""
        spread = self.spread(self.level(encoded.tokens))
        hidden = spread.index_select(0, encoded.voxel_token) + self.place.index_select(0, encoded.place)
        hidden = torch.addcmul(hidden, encoded.value[:, None], self.energy)
        if encoded.voxels is not None:
            hidden = functional.relu(hidden + self.own(self.voxel_level(encoded.voxels)))
            hidden = hidden + self.mix(hidden)
        raw: Tensor = self.leave(functional.relu(hidden))
        return raw


Head = EventHead | VoxelHead | SetHead


def head_for(task: Task, body: Body) -> Head:
    """Return a fresh head for a task on a body."""
    if isinstance(task, ParticleTask):
        return SetHead(body, task.raw, task.queries)
    make = VoxelHead if task.level == "voxel" else EventHead
    return make(body, task.raw)
