"""Layers that bodies of patches are made of: where a patch is, and attention within learned distances."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.patches import Patches
from shiftlab.arms.ragged import Ragged

__all__ = ["GEOMETRY", "Block", "PositionEmbedding", "offsets_from_centroid"]

GEOMETRY: Final = 4
"""Columns of a head that tell how far apart two patches are."""

_FAR = 1e12
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
        self.project = nn.Linear(width, heads * (3 * self.head - 2 * GEOMETRY - 3))
        self.join = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.log_scale = nn.Parameter(torch.log(torch.logspace(0.5, 2.0, heads)))

    def forward(self, x: Tensor, place: Tensor, ragged: Ragged, weight: Tensor | None = None) -> Tensor:
        """Return (token, width) from the same shape.

        Args:
            x: (token, width).
            place: (token, 3), positions about the centroid, cm.
            ragged: Where the tokens of each event lie.
            weight: (token,), how far each token is there (``Presence.weight``); None where all are.
        """
        columns = self.head - GEOMETRY
        mixed = self.project(self.before(x)).unflatten(1, (self.heads, -1))
        query, key, value = mixed.split([columns, columns, self.head - 3], dim=-1)
        near = torch.exp(-self.log_scale)[:, None]
        there = place[:, None, :] * near
        one = torch.ones_like(there[..., :1])
        query = torch.cat([query * columns**-0.5, there, one], dim=-1)
        key = torch.cat([key, there, -there.square().sum(-1, keepdim=True) / 2], dim=-1)
        value = torch.cat([value, there], dim=-1)
        nothing = functional.pad(x.new_full((1,), -_FAR), (self.head - 1, 0))
        if weight is None:
            seen = ragged.attend(query, key, value, nothing)
        else:
            seen = ragged.attend_present(query, key, value, nothing, weight)
        seen = seen - functional.pad(there, (self.head - 3, 0))
        x = x + self.join(seen.flatten(1))
        out: Tensor = x + self.narrow(functional.relu(self.widen(self.between(x))))
        return out
