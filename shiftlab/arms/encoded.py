"""What a body says of a ragged batch of events, and all that heads read: numbers per token, and where voxels lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.arms.presence import Presence

__all__ = ["Encoded"]


@dataclass(frozen=True)
class Encoded:
    """Packed features: tokens of event i are rows ``offsets[i]:offsets[i + 1]``; nothing is padded.

    Attributes:
        tokens: float32 (token, features).
        offsets: int64 (event + 1,).
        position: float32 (token, 3), about the event's centroid, cm; zero where tokens have no place.
        centroid: float32 (event, 3), energy-weighted mean position, cm.
        overall: float32 (event, overall_features), quantities of the whole event that use no label.
        voxel_offsets: int64 (event + 1,), voxels of each event; all zero without voxels.
        voxel_token: int64 (voxel,), the token that speaks for each voxel.
        place: int64 (voxel,), where in its token the voxel lies, below ``Body.places``.
        value: float32 (voxel,), ln(energy / reference).
        voxels: float32 (voxel, voxel_features), what the body says of single voxels; None if nothing.
        presence: How far the tokens of each event are there, where derivatives are wanted; None: all are.
    """

    tokens: Tensor
    offsets: Tensor
    position: Tensor
    centroid: Tensor
    overall: Tensor
    voxel_offsets: Tensor
    voxel_token: Tensor
    place: Tensor
    value: Tensor
    voxels: Tensor | None = None
    presence: Presence | None = None

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    @property
    def token_event(self) -> Tensor:
        """int64 (token,): the event of each token."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.offsets.diff())
