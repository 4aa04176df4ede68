"""Panda: the public Point Transformer V3 that was pre-trained on PILArNet-M voxels (arXiv:2512.01324), as a body."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.patches import Patches
from shiftlab.arms.public.package import public_module, require_points
from shiftlab.arms.public.point_contract import PointContract, points_of
from shiftlab.arms.shapes import SHAPES
from shiftlab.errors import ConfigError

__all__ = ["PANDA_AUGMENTATIONS", "PANDA_CONTRACT", "Panda", "grid_of_events"]

PANDA_CONTRACT: Final = PointContract(cell=0.001)
"""arXiv:2512.01324 and the public inference code: e0 0.01 MeV, 20 MeV, E > 0.13 MeV, grid 0.001, 1024 points."""

PANDA_AUGMENTATIONS: Final[Mapping[str, str]] = {
    "crops": "two of 40 to 100% and six of 10 to 40% of the voxels",
    "turns": "any angle about x, y and z, each in 80% of the views",
    "mirrors": "x, y and z, each in half of the views",
    "places": "each voxel by a normal of 0.25 grid cells (0.17 voxels), at most one cell",
    "energies": "each voxel's transformed energy by a factor of 1 +- 5% at most, in 80% of the large views; it is no "
    "gain: nothing moves at 0.44 MeV, and all voxels move apart from each other",
}
"""Public pre-training configuration. Coherent gain, recombination, lifetime, noise and dead regions are not in it."""

_NEUTRAL: Final = {"enable_cpe": True, "add_iso_features": False, "iso_k": 8, "iso_r": None, "type": "PT-v3m2"}
"""Keys of the training code that the inference code lacks, with the values at which they change nothing."""


def grid_of_events(grid: Tensor, offsets: Tensor) -> Tensor:
    """Return int64 (voxel, 3): cells counted from the lowest of each event along each axis."""
    lowest = torch.segment_reduce(grid.double(), "min", offsets=offsets, axis=0)
    return grid - torch.repeat_interleave(lowest.long(), offsets.diff(), dim=0)


class Panda(Body):
    """Panda's point transformer: voxels in; per voxel the features of all five scales side by side.

    Each event goes alone, in float32, with the space-filling curves in their fixed order: in a batch the public
    code takes the length of the shortest event for the width of attention and the largest for the depth of the
    curve, and it shuffles the curves at every call, so that an answer would depend on its neighbours and on chance.

    Attributes:
        network: The public network.
    """

    name = "panda"
    contract_type: ClassVar[Any] = PointContract
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "base": {
            "config": {
                "in_channels": 4,
                "order": ["hilbert", "hilbert-trans", "z", "z-trans"],
                "stride": [2, 2, 2, 2],
                "enc_depths": [3, 3, 3, 9, 3],
                "enc_channels": [48, 96, 192, 384, 512],
                "enc_num_head": [3, 6, 12, 24, 32],
                "enc_patch_size": [256, 256, 256, 256, 256],
                "layer_scale": 1e-5,
                "enc_mode": True,
                "mask_token": True,
                "traceable": True,
            }
        }
    }

    def __init__(self, contract: PointContract, *, config: Mapping[str, Any]) -> None:
        """Build the public network, with random weights.

        Args:
            contract: Units of the input.
            config: Keyword arguments of the public ``PointTransformerV3``, as its checkpoints carry them.

        Raises:
            ConfigError: the public package is missing or another one, or it knows a key differently.
        """
        super().__init__()
        self.contract: PointContract = require_points(contract, self.name)
        self._config = dict(config)
        self.network: nn.Module = _network(self._config)
        widths = config["enc_channels"] if config.get("enc_mode") else config["dec_channels"][:1]
        self.features = sum(widths)
        self.overall_features = len(contract.energy_edges) + 4 + SHAPES

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return {"config": dict(self._config)}

    def forward(self, batch: Patches) -> Encoded:
        """Return the features of each voxel; tokens are voxels."""
        points = points_of(batch, self.contract)
        grid = grid_of_events(self.contract.grid(points.index), points.offsets)
        given = torch.cat([points.place, points.energy[:, None]], dim=1)
        bounds = points.offsets.tolist()
        with torch.autocast(given.device.type, enabled=False):
            tokens = [
                self._event(points.place[first:last], grid[first:last], given[first:last])
                for first, last in pairwise(bounds)
            ]
        return Encoded(
            tokens=torch.cat(tokens),
            offsets=batch.offsets,
            position=batch.position - batch.centroid[batch.patch_event],
            centroid=batch.centroid,
            overall=batch.overall,
            voxel_offsets=batch.offsets,
            voxel_token=batch.voxel_patch,
            place=batch.local,
            value=batch.value,
        )

    def _event(self, place: Tensor, grid: Tensor, given: Tensor) -> Tensor:
        """Return float32 (voxel, features) of one event."""
        end = torch.tensor([len(place)], device=place.device)
        _bias_outside(self.network, on_cpu=place.device.type == "cpu")
        point = self.network({"coord": place, "grid_coord": grid, "feat": given, "offset": end})
        while "pooling_parent" in point:
            parent, inverse = point.pop("pooling_parent"), point.pop("pooling_inverse")
            parent.feat = torch.cat([parent.feat, point.feat[inverse]], dim=1)
            point = parent
        features: Tensor = point.feat
        return features.float()


def _network(config: Mapping[str, Any]) -> nn.Module:
    """Build the public network of a configuration, with attention in float32 and the curves in fixed order."""
    module, name = public_module("panda")
    kind = module.PointTransformerV3
    known = inspect.signature(kind.__init__).parameters
    given = {key: value for key, value in config.items() if key in known}
    rest = {key: value for key, value in config.items() if key not in known}
    unknown = {key: value for key, value in rest.items() if key not in _NEUTRAL or _NEUTRAL[key] != value}
    if unknown:
        raise ConfigError(f"body 'panda': the installed package '{name}' does not know {unknown} of the configuration.")
    given |= {"enable_flash": False, "upcast_attention": False, "upcast_softmax": False}
    try:
        network: nn.Module = kind(**given)
    except (TypeError, AssertionError) as error:
        raise ConfigError(
            f"body 'panda': no network can be made of {dict(config)}: {error or 'sizes differ'}."
        ) from error
    for part in network.modules():
        if hasattr(part, "shuffle_orders"):
            setattr(part, "shuffle_orders", False)  # noqa: B010 - a foreign module, unknown to the types
    return network


def _bias_outside(network: nn.Module, *, on_cpu: bool) -> None:
    """On a CPU, let sparse convolutions add their bias after the product; spconv has no fused one there."""
    if on_cpu:
        for part in network.modules():
            if type(part).__name__ == "SubMConv3d":
                part.train()
