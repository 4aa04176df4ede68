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
"""Weighted means over an event's tokens."""
_COLUMNS = 32
"""Values of a token that are averaged, and whose largest are taken."""
_MOMENTS = 8
"""Values of a token whose covariance with its place is taken."""
_METRE = 100.0
"""cm; places enter in metres."""
_HIDDEN = 64
_VOXEL_HIDDEN = 32
"""Numbers between the two layers of a head; twice as many where the body speaks of single voxels."""


class EventHead(nn.Module):
    """Attention and maximum pooling of the tokens, where they are, and the event's overall quantities; then two layers.

    Each query pools the tokens' places with their values, so that it can point at a vertex. The covariance of places
    and some values tells direction: H = <(x - <x>) (z - <z>)>, the read-out of a frozen body that arXiv:2609.00611
    takes vertex and direction from.
    """

    def __init__(self, body: Body, raw: int) -> None:
        """Make a head that gives ``raw`` numbers per event."""
        super().__init__()
        self.level = nn.LayerNorm(body.features)
        self.ask = nn.Linear(body.features, _QUERIES + _COLUMNS + _MOMENTS)
        pooled = _QUERIES * (_COLUMNS + 3) + _COLUMNS + 3 * _MOMENTS
        self.enter = nn.Linear(pooled + body.overall_features, _HIDDEN)
        self.leave = nn.Linear(_HIDDEN, raw)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return raw numbers (event, raw)."""
        asked = self.ask(self.level(encoded.tokens))
        weight, values, moments = torch.split(asked, [_QUERIES, _COLUMNS, _MOMENTS], dim=1)
        place = encoded.position / _METRE
        lengths, event = encoded.offsets.diff(), encoded.token_event
        largest = torch.segment_reduce(weight.detach(), "max", lengths=lengths, axis=0)
        weight = torch.exp(weight - largest[event])
        if encoded.presence is not None:
            weight = weight * encoded.presence.weight[:, None]
        total = _summed(weight, event, len(encoded))
        placed = torch.cat([values, place], dim=1)
        pooled = _summed((weight[:, :, None] * placed[:, None, :]).flatten(1), event, len(encoded))
        pooled = pooled.view(len(encoded), _QUERIES, _COLUMNS + 3) / total[:, :, None]
        if encoded.presence is None:
            top = torch.segment_reduce(values, "max", lengths=lengths, axis=0)
            apart = place - (_summed(place, event, len(encoded)) / lengths[:, None])[event]
            covariance = _summed((apart[:, :, None] * moments[:, None, :]).flatten(1), event, len(encoded))
            covariance = covariance / lengths[:, None]
        else:
            top = encoded.presence.largest(values)
            apart = place - encoded.presence.mean(place)[event]
            covariance = encoded.presence.mean((apart[:, :, None] * moments[:, None, :]).flatten(1))
        joined = torch.cat([pooled.flatten(1), top, covariance, encoded.overall], dim=1)
        raw: Tensor = self.leave(functional.relu(self.enter(joined)))
        return raw


def _summed(rows: Tensor, event: Tensor, events: int) -> Tensor:
    """Return (event, column): sums of ``rows`` (token, column) over the tokens of each event."""
    return rows.new_zeros(events, rows.shape[1]).index_add(0, event, rows)


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
