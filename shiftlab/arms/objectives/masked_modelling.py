"""Pre-training without labels: hide most patches of an event and predict their voxels from the rest.

Source of the objective: PoLAr-MAE (arXiv:2502.02558), masked point modelling with energy infilling. What differs: a
patch is a cube of the fixed lattice, so that occupancy per place replaces its Chamfer distance, and the energies of
some voxels of the patches that are seen are hidden too, so that single voxels learn from their neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shiftlab.arms.augmentations import Augmentation, Grid, Mirror, declared
from shiftlab.arms.block import Block, PositionEmbedding, offsets_from_centroid
from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.body import Body
from shiftlab.arms.objective import Objective
from shiftlab.arms.patches import Patches
from shiftlab.arms.ragged import Ragged
from shiftlab.errors import ConfigError

__all__ = ["MaskedModelling", "hide"]

_HIDDEN = 0.6
"""Fraction of an event's patches that are hidden (PoLAr-MAE: 60% of its tokens)."""

_DIMMED = 0.2
"""Fraction of the voxels of all other patches whose energy is hidden; chosen."""


@dataclass(frozen=True)
class Hidden(Augmentation):
    """What is kept from the body, and asked of it."""

    name: ClassVar[str] = "hidden"

    @property
    def words(self) -> str:
        """Return the hidden fractions."""
        return (
            f"{_HIDDEN:.0%} of the patches are left out and the energies of {_DIMMED:.0%} of the other voxels "
            "masked; the heads then see whole events, so that this is no dead region"
        )


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
    """Predict hidden patches and energies, as PoLAr-MAE does; the decoders are thrown away after pre-training."""

    name = "masked_modelling"
    augmentations: ClassVar[Mapping[str, str]] = declared(Mirror(axes=("y",)), Grid(), Hidden())

    def __init__(self, body: Body) -> None:
        """Join a body and fresh decoders: one layer for hidden patches, one product for hidden energies.

        Raises:
            ConfigError: the body has no patches to hide.
        """
        super().__init__(body)
        if not isinstance(body, VoxelTransformer):
            raise ConfigError(f"masked modelling needs the body '{VoxelTransformer.name}', not '{body.name}'.")
        size, contract = body.plain(), body.contract
        width = body.width
        self.locals = contract.locals
        self.enter = nn.Linear(width, width)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.position = PositionEmbedding(width, contract.shape[0] * contract.pitch)
        self.block = Block(width, size["heads"], size["expansion"])
        self.level = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * contract.locals)
        self.voxel_level = nn.LayerNorm(body.voxel_features)
        self.voxel_enter = nn.Linear(body.voxel_features, width)
        self.voxel_leave = nn.Linear(width, 1)

    def forward(self, batch: Patches, generator: Generator) -> Tensor:
        """Return the loss of hiding some of each event's patches, and some energies."""
        hidden = hide(batch, _HIDDEN, generator)
        dimmed = torch.rand(len(batch.value), generator=generator).to(hidden.device) < _DIMMED
        return self.loss(batch, hidden, dimmed)

    def loss(self, patches: Patches, hidden: Tensor, dimmed: Tensor) -> Tensor:
        """Return occupancy in nats per hidden voxel, plus the mean squared errors of hidden ln energies.

        Args:
            patches: A batch of events.
            hidden: bool (patch,), the patches to predict.
            dimmed: bool (voxel,), the voxels of all other patches whose energy is predicted.
        """
        seen, dimmed = patches.keep(~hidden), dimmed[~hidden[patches.voxel_patch]]
        assert isinstance(self.body, VoxelTransformer)
        voxels, layers = self.body.layers(seen, seen.value.masked_fill(dimmed, 0.0))
        encoded = layers[-1]
        full = self.unknown.expand(len(hidden), -1).clone()
        full[~hidden] = self.enter(encoded).to(full.dtype)
        ragged, place = Ragged.of(patches.offsets), offsets_from_centroid(patches)
        decoded = self.block(full + self.position(patches), place, ragged)
        total = self._patches(patches, hidden, self.leave(self.level(decoded[hidden])))
        return total + self._voxels(seen, dimmed, voxels, encoded)

    def _patches(self, patches: Patches, hidden: Tensor, answer: Tensor) -> Tensor:
        """Return the loss of the voxels of hidden patches from what is answered of them, (hidden patch, 2 places)."""
        occupancy, value = torch.split(answer, self.locals, dim=1)
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

    def _voxels(self, seen: Patches, dimmed: Tensor, voxels: Tensor, encoded: Tensor) -> Tensor:
        """Return the mean squared error of the dimmed voxels' ln energy."""
        spread = encoded[seen.voxel_patch[dimmed]] + self.voxel_enter(self.voxel_level(voxels[dimmed]))
        answer = self.voxel_leave(functional.relu(spread)).squeeze(1)
        error: Tensor = (answer - seen.value[dimmed]).square().sum() / max(len(answer), 1)
        return error
