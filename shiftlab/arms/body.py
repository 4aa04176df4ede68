"""Body: a small pre-norm transformer over the occupied patches of an event."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches

__all__ = ["Block", "Body", "BodyShape", "Layout", "PositionEmbedding"]

_GEOMETRY = 4
_FAR = 1e12
_SHAPE = 11
_WAVELENGTHS = (512.0, 256.0, 128.0, 64.0, 32.0, 16.0, 8.0)


@dataclass(frozen=True)
class BodyShape:
    """Size of a body.

    Attributes:
        width: Numbers per token.
        depth: Transformer layers.
        heads: Attention heads; each looks over its own distance.
        table: Numbers per place in a patch, for occupancy and for energy each.
        expansion: Hidden over outer width of the feed-forward part.
    """

    width: int = 64
    depth: int = 3
    heads: int = 4
    table: int = 32
    expansion: int = 2

    def plain(self) -> dict[str, Any]:
        """Return the size as a JSON value."""
        return asdict(self)


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a ragged batch lie in a padded one.

    Attributes:
        flat: int64 (token,), row of each token in (event * length).
        mask: bool (event, length), True where there is a token.
        geometry: Pair of float32 (event, 1, length, 3) and (event, 1, length, 1): token positions
            about the centroid, cm, and half their squared norm; where there is no token, so large a
            number that nothing attends to it.
    """

    flat: Tensor
    mask: Tensor
    geometry: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, patches: Patches) -> Layout:
        """Return the layout of a batch of events."""
        lengths = patches.lengths
        events, length = len(patches), int(lengths.max())
        event = patches.patch_event
        flat = torch.arange(len(event), device=event.device) - patches.offsets[:-1][event] + event * length
        mask = torch.arange(length, device=event.device)[None] < lengths[:, None]
        place = patches.position.new_zeros(events * length, 3)
        place[flat] = patches.position - patches.centroid[event]
        place = place.view(events, 1, length, 3)
        half = place.square().sum(-1, keepdim=True) / 2
        half = half.masked_fill(~mask[:, None, :, None], _FAR)
        return cls(flat, mask, (place, half))

    def pad(self, tokens: Tensor) -> Tensor:
        """Return (event, length, column) from (token, column); empty places hold zero."""
        events, length = self.mask.shape[0], self.mask.shape[-1]
        padded = tokens.new_zeros(events * length, tokens.shape[1])
        padded[self.flat] = tokens
        return padded.view(events, length, -1)

    def unpad(self, padded: Tensor) -> Tensor:
        """Return (token, column) from (event, length, column)."""
        return padded.flatten(0, 1).index_select(0, self.flat)


class PositionEmbedding(nn.Module):
    """Where a patch is: waves of its position about the charge centroid, and its place in the detector."""

    def __init__(self, width: int, size: float) -> None:
        """Make the embedding for a detector of edge ``size``, cm."""
        super().__init__()
        self.size = size
        self.register_buffer("frequency", 2 * torch.pi / torch.tensor(_WAVELENGTHS), persistent=False)
        self.mix = nn.Linear(6 * len(_WAVELENGTHS) + 3, width)

    def forward(self, patches: Patches) -> Tensor:
        """Return (token, width)."""
        offset = patches.position - patches.centroid[patches.patch_event]
        phase = (offset[:, :, None] * self.get_buffer("frequency")).flatten(1)
        place = patches.position / self.size * 2 - 1
        mixed: Tensor = self.mix(torch.cat([phase.sin(), phase.cos(), place], dim=1))
        return mixed


class Block(nn.Module):
    """One pre-norm transformer layer whose heads attend within distances of their own.

    To the product of query and key each head adds -d^2 / (2 s^2), d the distance of the two patches
    and s the head's learned scale. It costs four extra columns: -d^2/2 = x.y - x^2/2 - y^2/2, where
    the term of the query alone drops out of the softmax.
    """

    def __init__(self, shape: BodyShape) -> None:
        """Make a layer of the given size."""
        super().__init__()
        self.heads = shape.heads
        self.head = shape.width // shape.heads
        self.before = nn.LayerNorm(shape.width)
        self.project = nn.Linear(shape.width, shape.heads * (3 * self.head - 2 * _GEOMETRY - 3))
        self.join = nn.Linear(shape.width, shape.width)
        self.between = nn.LayerNorm(shape.width)
        self.widen = nn.Linear(shape.width, shape.expansion * shape.width)
        self.narrow = nn.Linear(shape.expansion * shape.width, shape.width)
        scales = torch.logspace(0.5, 2.0, shape.heads)
        self.log_scale = nn.Parameter(torch.log(scales))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Return (event, length, width) from the same shape."""
        events, length, width = x.shape
        query_columns = self.head - _GEOMETRY
        mixed = self.project(self.before(x)).view(events, length, self.heads, -1).transpose(1, 2)
        query, key, value = mixed.split([query_columns, query_columns, self.head - 3], dim=-1)
        near = torch.exp(-self.log_scale).view(1, -1, 1, 1)
        place, half = layout.geometry
        place = place * near
        one = torch.ones_like(place[..., :1])
        query = torch.cat([query * query_columns**-0.5, place, one], dim=-1)
        key = torch.cat([key, place, -half * near.square()], dim=-1)
        value = torch.cat([value, place.expand(-1, self.heads, -1, -1)], dim=-1)
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        seen = seen - functional.pad(place, (self.head - 3, 0))
        x = x + self.join(seen.transpose(1, 2).reshape(events, length, width))
        out: Tensor = x + self.narrow(functional.relu(self.widen(self.between(x))))
        return out


def _moments(contract: InputContract) -> Tensor:
    """Return (place, 9): x, y, z of each place in a patch, from -1 to 1, and their products."""
    along = contract.patch // contract.grain
    line = (torch.arange(along) + 0.5) / along * 2 - 1
    place = torch.cartesian_prod(line, line, line)
    return torch.cat([place, place[:, [0, 1, 2, 0, 0, 1]] * place[:, [0, 1, 2, 1, 2, 2]]], dim=1)


class Body(nn.Module):
    """Patches in, one feature vector per patch out: the embedding and the result of every layer."""

    def __init__(self, shape: BodyShape, contract: InputContract) -> None:
        """Make a body of the given size for images of the given contract."""
        super().__init__()
        self.shape = shape
        self.occupancy = nn.Parameter(torch.randn(contract.locals, shape.table) * 0.1)
        self.energy = nn.Parameter(torch.randn(contract.locals, shape.table) * 0.1)
        self.register_buffer("moments", _moments(contract), persistent=False)
        summary = len(contract.energy_edges) + 3 + _SHAPE
        self.level = nn.LayerNorm(2 * shape.table)
        self.enter = nn.Linear(2 * shape.table + summary, shape.expansion * shape.width)
        self.embed = nn.Linear(shape.expansion * shape.width, shape.width)
        self.position = PositionEmbedding(shape.width, contract.shape[0] * contract.pitch)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))

    @property
    def features(self) -> int:
        """Numbers per patch that ``forward`` gives."""
        return self.shape.width * (self.shape.depth + 1)

    def tokens(self, patches: Patches) -> Tensor:
        """Return the embedding of each patch, (token, width), without its position."""
        starts = patches.voxel_offsets[:-1]
        filled = functional.embedding_bag(patches.local, self.occupancy, starts, mode="sum")
        bright = functional.embedding_bag(
            patches.local, self.energy, starts, mode="sum", per_sample_weights=patches.value
        )
        content = torch.cat(
            [self.level(torch.cat([filled, bright], dim=1)), patches.summary, self.form(patches)], dim=1
        )
        embedded: Tensor = self.embed(functional.relu(self.enter(content)))
        return embedded

    def form(self, patches: Patches) -> Tensor:
        """Return (token, 11): mean place, covariance, linearity and ln(energy / length) of a patch's voxels."""
        count = patches.voxel_offsets.diff()[:, None]
        sums = functional.embedding_bag(
            patches.local, self.get_buffer("moments"), patches.voxel_offsets[:-1], mode="sum"
        )
        mean, second = torch.split(sums / count, [3, 6], dim=1)
        spread = second - mean[:, [0, 1, 2, 0, 0, 1]] * mean[:, [0, 1, 2, 1, 2, 2]]
        trace = spread[:, :3].sum(dim=1, keepdim=True)
        square = spread[:, :3].square().sum(1, keepdim=True) + 2 * spread[:, 3:].square().sum(1, keepdim=True)
        linear = square / (trace.square() + 1e-4)
        dense = patches.summary[:, :1] - 0.5 * torch.log(trace + 0.01)
        return torch.cat([mean, 4 * spread, linear, dense], dim=1)

    def layers(self, patches: Patches, layout: Layout) -> list[Tensor]:
        """Return the padded result, (event, length, width), of the embedding and of each layer."""
        x = layout.pad(self.tokens(patches) + self.position(patches))
        results = [x]
        for block in self.blocks:
            x = block(x, layout)
            results.append(x)
        return results

    def forward(self, patches: Patches, layout: Layout) -> Tensor:
        """Return (event, length, features). No event of the batch may be empty."""
        return torch.cat(self.layers(patches, layout), dim=-1)
