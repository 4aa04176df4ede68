"""Pre-training without labels: hide most patches of an event and predict their voxels from the rest.

Source of the objective: PoLAr-MAE (arXiv:2502.02558), masked point modelling with energy infilling; here a
patch is a cube of the fixed lattice, so that occupancy per place replaces its Chamfer distance.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Block, Body, Layout, PositionEmbedding
from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches

__all__ = ["MaskedModel", "hide"]


def hide(patches: Patches, fraction: float, generator: Generator) -> Tensor:
    """Return bool (patch,): a random ``fraction`` of each event's patches, rounded down."""
    event = patches.patch_event
    chance = torch.rand(len(event), generator=generator, dtype=torch.float64).to(event.device)
    order = torch.argsort(event + chance)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=event.device)
    within = rank - patches.offsets[:-1][event]
    return within < (patches.lengths * fraction).floor()[event]


class MaskedModel(nn.Module):
    """A body with the decoder that is thrown away after pre-training."""

    def __init__(self, body: Body, contract: InputContract) -> None:
        """Join a body and a fresh decoder of one layer."""
        super().__init__()
        width = body.shape.width
        self.body = body
        self.locals = contract.locals
        self.enter = nn.Linear(width, width)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.position = PositionEmbedding(width, contract.shape[0] * contract.pitch)
        self.block = Block(body.shape)
        self.level = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * contract.locals)

    def forward(self, patches: Patches, hidden: Tensor) -> Tensor:
        """Return the loss: occupancy in nats per hidden voxel, plus squared error of ln energy.

        Args:
            patches: A batch of events.
            hidden: bool (patch,), the patches to predict.
        """
        visible = patches.keep(~hidden)
        inner = Layout.of(visible)
        encoded = inner.unpad(self.body.layers(visible, inner)[-1])
        full = self.unknown.expand(len(hidden), -1).clone()
        full[~hidden] = self.enter(encoded)
        layout = Layout.of(patches)
        decoded = layout.unpad(self.block(layout.pad(full + self.position(patches)), layout))
        answer = self.leave(self.level(decoded[hidden]))
        occupancy, value = answer.split(self.locals, dim=1)
        asked = hidden[patches.voxel_patch]
        rank = hidden.cumsum(0) - 1
        place = (rank[patches.voxel_patch] * self.locals + patches.local)[asked]
        filled = torch.zeros(occupancy.numel(), device=place.device)
        filled[place] = 1.0
        voxels = max(len(place), 1)
        nats = functional.binary_cross_entropy_with_logits(occupancy.flatten(), filled, reduction="sum") / voxels
        error = (value.flatten()[place] - patches.value[asked]).square().sum() / voxels
        total: Tensor = nats + error
        return total
