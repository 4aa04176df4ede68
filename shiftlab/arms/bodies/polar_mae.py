"""PoLAr-MAE: the public masked autoencoder of PILArNet-M voxels (arXiv:2502.02558), its encoder as a body."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.patches import Patches
from shiftlab.arms.public.package import public_module, require_points
from shiftlab.arms.public.point_contract import PointContract, Points, points_of
from shiftlab.arms.shapes import SHAPES
from shiftlab.errors import ConfigError

__all__ = ["PARTS", "POLAR_MAE_AUGMENTATIONS", "POLAR_MAE_CONTRACTS", "PolarMAE", "nearest_mean"]

_WITHOUT: Final = ("low_energy",)
POLAR_MAE_CONTRACTS: Final[Mapping[str, PointContract]] = {
    "original": PointContract(e0=0.13, inverted=True, trained_without=_WITHOUT),
    "pimm_pretrain": PointContract(e0=0.01, trained_without=_WITHOUT),
    "pimm_semantic": PointContract(e0=0.13, inverted=True, trained_without=_WITHOUT),
}
"""The three public recipes. The original one is configured with 0.01 MeV, but its reader sets e0 to the threshold."""

POLAR_MAE_AUGMENTATIONS: Final[Mapping[str, str]] = {
    "masks": "60% of the tokens are hidden",
    "turns": "any angle about x, y and z",
}
"""Public pre-training configurations. Nothing varies an energy."""

PARTS: Final = ("embedding", "pos_embed", "encoder")
"""Learned parts that the features come from, by their names in the public network."""

_LAYERS: Final = (3, 7, 11)
"""Layers whose mean its own segmentation head reads (public fine-tuning configuration)."""
_NEIGHBOURS: Final = 5
_TOUCHING: Final = 1.001
"""Voxels of the lattice that lie on a ball count as inside it, whichever way they were rounded."""
_START: Final = 0
"""Seed of the first centre, which the public code draws at random."""


def nearest_mean(place: Tensor, centres: Tensor, features: Tensor, neighbours: int = _NEIGHBOURS) -> Tensor:
    """Return (voxel, features): mean of the nearest centres' features, weighted by 1 / distance squared.

    It is what the public segmentation head does before its learned layers.

    Args:
        place: (voxel, 3).
        centres: (token, 3).
        features: (token, features).
        neighbours: How many centres, or all where there are fewer.
    """
    apart = torch.cdist(place, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    near, which = apart.topk(min(neighbours, len(centres)), dim=1, largest=False)
    weight = 1 / (near + torch.finfo(near.dtype).eps)
    weight = weight / weight.sum(dim=1, keepdim=True)
    return (features[which] * weight[:, :, None]).sum(dim=1)


@contextmanager
def _fixed_start(device: torch.device) -> Iterator[None]:
    """Give every event the same draws, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(_START)
        yield


class PolarMAE(Body):
    """PoLAr-MAE's encoder: one token per ball of 5 voxels' radius; voxels read the mean of their nearest tokens.

    Each event goes alone, in float32, and draws the same start for its centres in every universe: in a batch the
    public code normalises with the mean and spread of all events together, and starts its choice of centres at
    random, so that an answer would depend on its neighbours and on chance.

    Attributes:
        parts: The learned parts of the public network.
        grouping: The public choice of tokens; nothing of it is learned.
        radius: Of a token's ball, in units of the contract's ``scale``.
    """

    name = "polar_mae"
    contract_type: ClassVar[Any] = PointContract
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pimm": {
            "config": {
                "type": "PoLAr-MAE",
                "arch": "vit_small",
                "voxel_size": 5,
                "transformer_kwargs": {"postnorm": True, "add_pos_at_every_layer": True},
            }
        },
        "original": {
            "config": {
                "type": "PoLAr-MAE",
                "arch": "vit_small",
                "voxel_size": 5,
                "transformer_kwargs": {"postnorm": False, "add_pos_at_every_layer": True},
            }
        },
    }

    def __init__(self, contract: PointContract, *, config: Mapping[str, Any]) -> None:
        """Build the public network, with random weights, and keep its encoder.

        Args:
            contract: Units of the input.
            config: Keyword arguments of the public model and its registry ``type``, as its exports carry them.

        Raises:
            ConfigError: the public package is missing or another one, or the configuration makes no PoLAr-MAE.
        """
        super().__init__()
        self.contract: PointContract = require_points(contract, self.name)
        self._config = dict(config)
        network = _network(self._config)
        self.grouping: nn.Module = network.grouping
        self.radius = float(network.grouping.group_radius)
        self.parts = nn.ModuleDict({part: getattr(network, part) for part in PARTS})
        depth = len(network.encoder.blocks)
        self._layers = tuple(config.get("seg_head_fetch_layers") or [at for at in _LAYERS if at < depth] or [depth - 1])
        self.features = self.voxel_features = int(network.encoder.embed_dim)
        self.overall_features = len(contract.energy_edges) + 4 + SHAPES

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return {"config": dict(self._config)}

    def forward(self, batch: Patches) -> Encoded:
        """Return the features of the tokens and, as ``voxels``, their mean about each voxel."""
        points = points_of(batch, self.contract)
        tokens, centres, voxels, nearest = [], [], [], []
        counts: list[int] = []
        for place, given in _events(points):
            with torch.autocast(place.device.type, enabled=False):
                features, centre = self._event(given)
            tokens.append(features)
            centres.append(centre)
            voxels.append(nearest_mean(place, centre, features))
            nearest.append(_nearest(place, centre) + sum(counts))
            counts.append(len(features))
        lengths = torch.tensor(counts, device=points.place.device)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        event = torch.repeat_interleave(torch.arange(len(batch), device=lengths.device), lengths)
        there = (torch.cat(centres) * self.contract.scale + self.contract.centre + 0.5) * self.contract.pitch
        return Encoded(
            tokens=torch.cat(tokens),
            offsets=offsets,
            position=there - batch.centroid[event],
            centroid=batch.centroid,
            overall=batch.overall,
            voxel_offsets=batch.offsets,
            voxel_token=torch.cat(nearest),
            place=batch.local,
            value=batch.value,
            voxels=torch.cat(voxels),
        )

    def uncovered(self, batch: Patches) -> Tensor:
        """Return int64 (event,): voxels outside every token: between the balls, or beyond the number of tokens."""
        found = []
        for place, given in _events(points_of(batch, self.contract)):
            with torch.no_grad():
                _, centre, _ = self._tokens(given)
            far = (place - centre[_nearest(place, centre)]).norm(dim=1) > self.radius * _TOUCHING
            found.append(int(far.sum()))
        return torch.tensor(found)

    def _tokens(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return groups, centres and which places of a group are taken, for the tokens of one event."""
        with _fixed_start(given.device):
            found = self.grouping(given[None], torch.tensor([len(given)], device=given.device))
        real = found["embedding_mask"][0]
        return found["groups"][0][real], found["centers"][0][real], found["point_mask"][0][real]

    def _event(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 features and centres of the tokens of one event."""
        groups, centres, taken = self._tokens(given)
        mask = torch.ones(1, len(centres), dtype=torch.bool, device=centres.device)
        embedded = self.parts["embedding"](groups, taken[:, None])[None]
        seen = self.parts["encoder"](embedded, self.parts["pos_embed"](centres[None]), mask, return_hidden_states=True)
        level = public_module(self.name)[0].masked_layer_norm
        chosen = [level(seen.hidden_states[at], self.features, mask) for at in self._layers]
        return torch.stack(chosen).mean(0)[0].float(), centres


def _events(points: Points) -> Iterator[tuple[Tensor, Tensor]]:
    """Give places (voxel, 3) and input (voxel, 4) of each event."""
    bounds = points.offsets.tolist()
    given = torch.cat([points.place, points.energy[:, None]], dim=1)
    for first, last in pairwise(bounds):
        yield points.place[first:last], given[first:last]


def _nearest(place: Tensor, centres: Tensor) -> Tensor:
    """Return int64 (voxel,): the nearest centre."""
    return torch.cdist(place, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


def _network(config: Mapping[str, Any]) -> Any:
    """Build the public network of a configuration."""
    public_module("polar_mae")
    build = importlib.import_module("pimm.models.builder").build_model
    try:
        network = build({key: value for key, value in config.items() if key != "criteria"})
    except (TypeError, KeyError, ValueError, AssertionError) as error:
        raise ConfigError(f"body 'polar_mae': no network can be made of {dict(config)}: {error}.") from error
    lacking = [part for part in (*PARTS, "grouping") if not hasattr(network, part)]
    if lacking:
        raise ConfigError(f"body 'polar_mae': a network of type {config.get('type')!r} has no {', '.join(lacking)}.")
    return network
