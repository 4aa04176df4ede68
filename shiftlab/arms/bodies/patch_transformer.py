"""Our own sensor-level body: a pre-norm transformer over the occupied patches of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Body
from shiftlab.arms.contract import InputContract
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.patches import Patches
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.shapes import SHAPES

__all__ = ["Block", "PatchTransformer", "PositionEmbedding", "offsets_from_centroid"]

_GEOMETRY = 4
_FAR = 1e12
_SHAPE = 11
_WAVELENGTHS = (512.0, 256.0, 128.0, 64.0, 32.0, 16.0, 8.0)


def offsets_from_centroid(patches: Patches) -> Tensor:
    """Return float32 (token, 3): token positions about the centroid of their event, cm."""
    return patches.position - patches.centroid[patches.patch_event]


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
        phase = (offsets_from_centroid(patches)[:, :, None] * self.get_buffer("frequency")).flatten(1)
        place = patches.position / self.size * 2 - 1
        mixed: Tensor = self.mix(torch.cat([phase.sin(), phase.cos(), place], dim=1))
        return mixed


class Block(nn.Module):
    """One pre-norm transformer layer whose heads attend within distances of their own.

    To the product of query and key each head adds -d^2 / (2 s^2), d the distance of the two patches
    and s the head's learned scale. It costs four extra columns: -d^2/2 = x.y - x^2/2 - y^2/2, where
    the term of the query alone drops out of the softmax.
    """

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        """Make a layer of the given size."""
        super().__init__()
        self.heads = heads
        self.head = width // heads
        self.before = nn.LayerNorm(width)
        self.project = nn.Linear(width, heads * (3 * self.head - 2 * _GEOMETRY - 3))
        self.join = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.log_scale = nn.Parameter(torch.log(torch.logspace(0.5, 2.0, heads)))

    def forward(self, x: Tensor, place: Tensor, ragged: Ragged) -> Tensor:
        """Return (token, width) from the same shape; ``place`` (token, 3) are positions about the centroid, cm."""
        columns = self.head - _GEOMETRY
        mixed = self.project(self.before(x)).unflatten(1, (self.heads, -1))
        query, key, value = mixed.split([columns, columns, self.head - 3], dim=-1)
        near = torch.exp(-self.log_scale)[:, None]
        there = place[:, None, :] * near
        one = torch.ones_like(there[..., :1])
        query = torch.cat([query * columns**-0.5, there, one], dim=-1)
        key = torch.cat([key, there, -there.square().sum(-1, keepdim=True) / 2], dim=-1)
        value = torch.cat([value, there], dim=-1)
        nothing = functional.pad(x.new_full((1,), -_FAR), (self.head - 1, 0))
        seen = ragged.attend(query, key, value, nothing)
        seen = seen - functional.pad(there, (self.head - 3, 0))
        x = x + self.join(seen.flatten(1))
        out: Tensor = x + self.narrow(functional.relu(self.widen(self.between(x))))
        return out


def _moments(contract: InputContract) -> Tensor:
    """Return (place, 9): x, y, z of each place in a patch, from -1 to 1, and their products."""
    along = contract.patch // contract.grain
    line = (torch.arange(along) + 0.5) / along * 2 - 1
    place = torch.cartesian_prod(line, line, line)
    return torch.cat([place, place[:, [0, 1, 2, 0, 0, 1]] * place[:, [0, 1, 2, 1, 2, 2]]], dim=1)


class PatchTransformer(Body):
    """Patches in, one feature vector per patch out: the embedding and the result of every layer.

    Attributes:
        width: Numbers per token.
        blocks: The layers.
    """

    name = "patch_transformer"
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 64, "depth": 3, "heads": 4, "table": 32, "expansion": 2},
        "small": {"width": 128, "depth": 6, "heads": 8, "table": 48, "expansion": 2},
        "base": {"width": 384, "depth": 12, "heads": 12, "table": 96, "expansion": 4},
    }

    def __init__(
        self, contract: InputContract, *, width: int, depth: int, heads: int, table: int, expansion: int
    ) -> None:
        """Make a body for images of the given contract.

        Args:
            contract: Lattice, patches and energy transform.
            width: Numbers per token.
            depth: Transformer layers.
            heads: Attention heads; each looks over its own distance.
            table: Numbers per place in a patch, for occupancy and for energy each.
            expansion: Hidden over outer width of the feed-forward part.
        """
        super().__init__()
        self.contract: InputContract = contract
        self._size = {"width": width, "depth": depth, "heads": heads, "table": table, "expansion": expansion}
        self.width = width
        self.features = width * (depth + 1)
        self.overall_features = len(contract.energy_edges) + 4 + SHAPES
        self.places = contract.locals
        self.occupancy = nn.Parameter(torch.randn(contract.locals, table) * 0.1)
        self.energy = nn.Parameter(torch.randn(contract.locals, table) * 0.1)
        self.register_buffer("moments", _moments(contract), persistent=False)
        summary = len(contract.energy_edges) + 3 + _SHAPE
        self.level = nn.LayerNorm(2 * table)
        self.enter = nn.Linear(2 * table + summary, expansion * width)
        self.embed = nn.Linear(expansion * width, width)
        self.position = PositionEmbedding(width, contract.shape[0] * contract.pitch)
        self.blocks = nn.ModuleList(Block(width, heads, expansion) for _ in range(depth))

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return dict(self._size)

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

    def layers(self, patches: Patches) -> list[Tensor]:
        """Return (token, width) of the embedding and of each layer."""
        ragged, place = Ragged.of(patches.offsets), offsets_from_centroid(patches)
        x = self.tokens(patches) + self.position(patches)
        results = [x]
        for block in self.blocks:
            x = block(x, place, ragged)
            results.append(x)
        return results

    def forward(self, batch: Patches) -> Encoded:
        """Return the results of all layers side by side."""
        return Encoded(
            tokens=torch.cat(self.layers(batch), dim=-1),
            offsets=batch.offsets,
            position=offsets_from_centroid(batch),
            centroid=batch.centroid,
            overall=batch.overall,
            voxel_offsets=batch.voxel_offsets[batch.offsets],
            voxel_token=batch.voxel_patch,
            place=batch.local,
            value=batch.value,
        )
