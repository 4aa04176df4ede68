"""Features of whole events, layer by layer: what a network's body says of an event, pooled over its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.network import Network
from shiftlab.arms.observation import Observation
from shiftlab.errors import DataError

__all__ = ["EventFeatures", "event_features", "same_events"]


@dataclass(frozen=True)
class EventFeatures:
    """Pooled features of the events of one chunk that the network looks at.

    Attributes:
        events: int64 (event,), their numbers in the chunk, ascending; empty images and too long events are missing.
        layers: Name of the layer to float32 (event, feature).
    """

    events: NDArray[np.int64]
    layers: Mapping[str, NDArray[np.float32]]


@torch.inference_mode()
def event_features(network: Network, observation: Observation) -> EventFeatures:
    """Return the mean over each event's tokens, of every layer that the body shows; one pass of the body.

    Layers are "layer 0" (the embedding), "layer 1", ... where the body lays the results of its layers side by side,
    "tokens" where it shows the last alone, and "voxels" where it speaks of single voxels. ``Encoded.overall``, which
    no weight enters, is left out.

    Args:
        network: An arm's network, ``arm.networks[name]``.
        observation: Some events in one universe.

    Raises:
        DataError: there is no event that the network looks at.
    """
    ascending = observation.ascending
    if not len(ascending):
        raise DataError("no event of this chunk is looked at: all images are empty or too long, so none has features.")
    parts = observation.parts(torch.ones(len(ascending), dtype=torch.bool, device=ascending.device))
    found: dict[str, list[Tensor]] = {}
    for _, _, batch in parts.batches:
        for name, values in _pooled(network.body, network.body(batch)).items():
            found.setdefault(name, []).append(values)
    order = torch.argsort(ascending)
    layers = {name: torch.cat(values)[order].float().cpu().numpy() for name, values in found.items()}
    return EventFeatures(ascending[order].cpu().numpy(), layers)


def same_events(nominal: EventFeatures, shifted: EventFeatures) -> tuple[EventFeatures, EventFeatures, int]:
    """Return the features of the events that both universes have, and how many only one of them has.

    An event that lost all its charge has no features; say their number beside any drift.

    Raises:
        DataError: no event is in both.
    """
    both = np.intersect1d(nominal.events, shifted.events)
    if not len(both):
        raise DataError("no event has features in both universes, so there is no drift to measure.")
    first, second = (_only(side, both) for side in (nominal, shifted))
    return first, second, len(nominal.events) + len(shifted.events) - 2 * len(both)


def _only(features: EventFeatures, events: NDArray[np.int64]) -> EventFeatures:
    rows = np.searchsorted(features.events, events)
    return EventFeatures(events, {name: values[rows] for name, values in features.layers.items()})


def _pooled(body: Body, encoded: Encoded) -> dict[str, Tensor]:
    """Return (event of the batch, feature) of each layer."""
    mean = _mean(encoded.tokens, encoded.offsets)
    width = getattr(body, "width", body.features)
    if isinstance(width, int) and width < body.features and body.features % width == 0:
        starts = range(0, body.features, width)
        found = {f"layer {number}": mean[:, start : start + width] for number, start in enumerate(starts)}
    else:
        found = {"tokens": mean}
    if encoded.voxels is not None:
        found["voxels"] = _mean(encoded.voxels, encoded.voxel_offsets)
    return found


def _mean(values: Tensor, offsets: Tensor) -> Tensor:
    """Return the mean of rows ``offsets[i]:offsets[i + 1]``, (event, feature)."""
    return torch.segment_reduce(values, "mean", lengths=offsets.diff(), axis=0)
