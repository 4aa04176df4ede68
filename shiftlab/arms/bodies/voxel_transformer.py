"""Our sensor-level body: voxels look at their neighbours, patches of voxels at the whole event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.block import GEOMETRY, Block, PositionEmbedding, offsets_from_centroid
from shiftlab.arms.body import Body
from shiftlab.arms.contract import InputContract
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.neighbours import AROUND
from shiftlab.arms.patches import Patches
from shiftlab.arms.presence import Presence
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.shapes import SHAPES
from shiftlab.errors import ConfigError

__all__ = ["Stem", "VoxelTransformer"]


class Stem(nn.Module):
    """What a voxel's own surroundings say: occupancy and energy of its 27 cells, then sums over neighbours."""

    def __init__(self, width: int, rounds: int) -> None:
        """Make a stem of ``width`` numbers a voxel that looks ``rounds + 1`` cells far."""
        super().__init__()
        self.enter = nn.Linear(2 * AROUND, width)
        self.mix = nn.Linear(width, width)
        self.levels = nn.ModuleList(nn.LayerNorm(width) for _ in range(rounds))
        self.gather = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.spread = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))

    def forward(self, patches: Patches, around: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return (voxel, width).

        Args:
            patches: A batch of events.
            around: (voxel, 54), ``Neighbours.features`` of ln(energy / reference).
            weight: (voxel,), how far each voxel is there; None where all are.
        """
        found: Tensor = self.mix(functional.relu(self.enter(around)))
        for level, gather, spread in zip(self.levels, self.gather, self.spread, strict=True):
            given = functional.relu(gather(level(found)))
            if weight is None:
                summed = functional.relu(patches.near.sum(given) * 0.25)
            else:  # not negative, and 0 where only candidates would add to it: there relu has no derivative
                summed = patches.near.present_sum(given, weight) * 0.25
            found = found + spread(summed)
        return found


class VoxelTransformer(Body):
    """A stem over neighbouring voxels, patches pooled from it, and a pre-norm transformer over the patches.

    Attributes:
        width: Numbers per token.
    """

    name = "voxel_transformer"
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 64, "depth": 3, "heads": 4, "stem": 32, "rounds": 2, "expansion": 2},
        "small": {"width": 96, "depth": 4, "heads": 6, "stem": 32, "rounds": 2, "expansion": 2},
        "base": {"width": 384, "depth": 12, "heads": 12, "stem": 96, "rounds": 3, "expansion": 4},
    }

    def __init__(
        self, contract: InputContract, *, width: int, depth: int, heads: int, stem: int, rounds: int, expansion: int
    ) -> None:
        """Make a body for images of the given contract.

        Args:
            contract: Lattice, patches and energy transform.
            width: Numbers per token.
            depth: Transformer layers.
            heads: Attention heads, a divisor of ``width``; each looks over its own distance.
            stem: Numbers per voxel.
            rounds: Sums over neighbours, one cell farther each.
            expansion: Hidden over outer width of the feed-forward part.

        Raises:
            ConfigError: the heads do not divide the width, or leave no room beside the distances.
        """
        super().__init__()
        if heads < 1 or width % heads or width // heads <= GEOMETRY:
            raise ConfigError(
                f"body '{self.name}': {heads} heads do not fit the width {width}; they divide it, and each has more "
                f"than {GEOMETRY} numbers."
            )
        self.contract: InputContract = contract
        self._size = {
            "width": width,
            "depth": depth,
            "heads": heads,
            "stem": stem,
            "rounds": rounds,
            "expansion": expansion,
        }
        self.width = width
        self.features = width * (depth + 1)
        self.voxel_features = stem
        self.overall_features = len(contract.energy_edges) + 4 + SHAPES
        self.places = contract.locals
        self.stem = Stem(stem, rounds)
        self.place = nn.Parameter(torch.randn(contract.locals, 2 * stem) * 0.1)
        self.pool = nn.Linear(stem, 2 * stem)
        self.level = nn.LayerNorm(4 * stem)
        self.enter = nn.Linear(4 * stem + len(contract.energy_edges) + 3, expansion * width)
        self.embed = nn.Linear(expansion * width, width)
        self.position = PositionEmbedding(width, contract.shape[0] * contract.pitch)
        self.blocks = nn.ModuleList(Block(width, heads, expansion) for _ in range(depth))

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return dict(self._size)

    def tokens(self, patches: Patches, voxels: Tensor, presence: Presence | None = None) -> Tensor:
        """Return the embedding of each patch, (token, width), without its position, from its voxels' stem."""
        placed = functional.relu(self.pool(voxels) + self.place.index_select(0, patches.local))
        if presence is None:
            count = patches.voxel_offsets.diff()
            summed = placed.new_zeros(len(count), placed.shape[1]).index_add(0, patches.voxel_patch, placed)
            mean = summed / count[:, None]
            largest = torch.segment_reduce(placed, "max", lengths=count, axis=0)
        else:
            mean, largest = presence.mean(placed), presence.largest(placed)
        content = torch.cat([self.level(torch.cat([mean, largest], dim=1)), patches.summary], dim=1)
        embedded: Tensor = self.embed(functional.relu(self.enter(content)))
        return embedded

    def layers(
        self, patches: Patches, value: Tensor | None = None, presence: Presence | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the stem (voxel, stem), and (token, width) of the embedding and of each layer.

        Args:
            patches: A batch of events.
            value: float32 (voxel,), energies that are seen instead of those of the batch.
            presence: How far the voxels of each patch are there; None where all are.
        """
        if presence is not None:
            return self._present_layers(patches, presence)
        ragged, place = Ragged.of(patches.offsets), offsets_from_centroid(patches)
        voxels = self.stem(patches, patches.around if value is None else patches.near.features(value))
        x = self.tokens(patches, voxels) + self.position(patches)
        results = [x]
        for block in self.blocks:
            x = block(x, place, ragged)
            results.append(x)
        return voxels, results

    def _present_layers(self, patches: Patches, presence: Presence) -> tuple[Tensor, list[Tensor]]:
        """Return the same where voxels, and with them patches, are more or less there."""
        ragged, place = Ragged.of(patches.offsets, jagged=False), offsets_from_centroid(patches)
        weight, token = presence.weight, presence.of_owners(patches.patch_event, len(patches)).weight
        voxels = self.stem(patches, patches.near.present_features(patches.value, weight), weight)
        x = self.tokens(patches, voxels, presence) + self.position(patches)
        results = [x]
        for block in self.blocks:
            x = block(x, place, ragged, token)
            results.append(x)
        return voxels, results

    def forward(self, batch: Patches, presence: Presence | None = None) -> Encoded:
        """Return the results of all layers side by side, and the stem.

        Args:
            batch: Some events.
            presence: How far the voxels of each patch are there, where derivatives are wanted; None: all are.
        """
        voxels, results = self.layers(batch, presence=presence)
        return Encoded(
            tokens=torch.cat(results, dim=-1),
            offsets=batch.offsets,
            position=offsets_from_centroid(batch),
            centroid=batch.centroid,
            overall=batch.overall,
            voxel_offsets=batch.voxel_offsets[batch.offsets],
            voxel_token=batch.voxel_patch,
            place=batch.local,
            value=batch.value,
            voxels=voxels,
            presence=None if presence is None else presence.of_owners(batch.patch_event, len(batch)),
        )
