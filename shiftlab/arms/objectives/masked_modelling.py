"""Pre-training without labels: hide most patches of an event and predict their voxels from the rest.

Source of the objective: PoLAr-MAE (arXiv:2502.02558), masked point modelling with energy infilling; here a
patch is a cube of the fixed lattice, so that occupancy per place replaces its Chamfer distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shiftlab.arms.bodies.patch_transformer import Block, PatchTransformer, PositionEmbedding, offsets_from_centroid
from shiftlab.arms.body import Body
from shiftlab.arms.objective import Objective
from shiftlab.arms.patches import Patches
from shiftlab.arms.ragged import Ragged
from shiftlab.errors import ConfigError

__all__ = ["MaskedModelling", "hide"]

_HIDDEN = 0.6
"""Fraction of an event's patches that are hidden (PoLAr-MAE: 60% of its tokens)."""


def hide(patches: Patches, fraction: float, generator: Generator) -> Tensor:
    """Return bool (patch,): a random ``fraction`` of each event's patches, rounded down."""
    event = patches.patch_event
    chance = torch.rand(len(event), generator=generator, dtype=torch.float64).to(event.device)
    order = torch.argsort(event + chance)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=event.device)
    within = rank - patches.offsets[:-1][event]
    return within < (patches.lengths * fraction).floor()[event]


class MaskedModelling(Objective):
    """A body with the decoder that is thrown away after pre-training."""

    name = "masked_modelling"
    augmentations: ClassVar[Mapping[str, str]] = {
        "mirror": "y about the middle of the detector",
        "grid": "patch grid moved by whole cells",
    }

    def __init__(self, body: Body) -> None:
        """Join a body and a fresh decoder of one layer."""
        super().__init__(body)
        if not isinstance(body, PatchTransformer):
            raise ConfigError(f"masked modelling needs the body '{PatchTransformer.name}', not '{body.name}'.")
        size, contract = body.plain(), body.contract
        width = body.width
        self.locals = contract.locals
        self.enter = nn.Linear(width, width)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.position = PositionEmbedding(width, contract.shape[0] * contract.pitch)
        self.block = Block(width, size["heads"], size["expansion"])
        self.level = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * contract.locals)

    def forward(self, batch: Patches, generator: Generator) -> Tensor:
        """Return the loss of hiding some of each event's patches."""
        return self.loss(batch, hide(batch, _HIDDEN, generator))

    def loss(self, patches: Patches, hidden: Tensor) -> Tensor:
        """Return occupancy in nats per hidden voxel, plus the squared error of ln energy.

        Args:
            patches: A batch of events.
            hidden: bool (patch,), the patches to predict.
        """
        body = self.body
        assert isinstance(body, PatchTransformer)
        encoded = body.layers(patches.keep(~hidden))[-1]
        full = self.unknown.expand(len(hidden), -1).clone()
        full[~hidden] = self.enter(encoded)
        ragged, place = Ragged.of(patches.offsets), offsets_from_centroid(patches)
        decoded = self.block(full + self.position(patches), place, ragged)
        answer = self.leave(self.level(decoded[hidden]))
        occupancy, value = answer.split(self.locals, dim=1)
        asked = hidden[patches.voxel_patch]
        rank = hidden.cumsum(0) - 1
        where = (rank[patches.voxel_patch] * self.locals + patches.local)[asked]
        filled = torch.zeros(occupancy.numel(), device=where.device)
        filled[where] = 1.0
        voxels = max(len(where), 1)
        nats = functional.binary_cross_entropy_with_logits(occupancy.flatten(), filled, reduction="sum") / voxels
        error = (value.flatten()[where] - patches.value[asked]).square().sum() / voxels
        total: Tensor = nats + error
        return total
