"""What the heads of a chunk are given, kept event by event so that it can be compared between universes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.observation import Observation
from shiftlab.tasks.event_summary import EventSummary

__all__ = ["Given", "Moved", "given", "moved"]

_PLACE = 10.0
"""Per cm: two tokens are at one place where their places agree to a tenth of a centimetre."""


@dataclass(frozen=True)
class Given:
    """One universe's input of the event-level heads on one body, for the events that the body looks at.

    Attributes:
        events: int64 (event,), their numbers in the chunk, ascending.
        encoded: Tokens, places and overall quantities of these events in this order; no voxels.
        summary: Summed energy and centre, which answers are decoded with.
        layers: Name of the layer to float32 (event, feature), the mean over the event's tokens: "layer 0" (the
            embedding), "layer 1", ... where the body lays the results of its layers side by side, "tokens" where it
            shows the last alone, and "voxels" where it speaks of single voxels. ``Encoded.overall``, which no weight
            enters, is none of them.
    """

    events: NDArray[np.int64]
    encoded: Encoded
    summary: EventSummary
    layers: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Moved:
    """Displacement of what heads are given, on the rows of the nominal universe.

    Attributes:
        tokens: (token, feature); 0 for a token without a partner in the shifted universe.
        position: (token, 3), cm; likewise.
        overall: (event, overall_features); 0 for an event that the shifted universe lacks.
        summary: Of the shifted universe; the nominal one for an event that it lacks.
        found: bool (token,): whether the token has a partner.
    """

    tokens: Tensor
    position: Tensor
    overall: Tensor
    summary: EventSummary
    found: Tensor


@torch.no_grad()
def given(body: Body, observation: Observation) -> Given | None:
    """Return what a body gives its heads, one pass; None where it looks at no event of the chunk."""
    ascending = observation.ascending
    if not len(ascending):
        return None
    parts = observation.parts(torch.ones(len(ascending), dtype=torch.bool, device=ascending.device))
    whole: list[Encoded] = []
    layers: dict[str, list[Tensor]] = {}
    for _, _, batch in parts.batches:
        encoded = body(batch)
        whole.append(_without_voxels(encoded))
        for name, values in _pooled(body, encoded).items():
            layers.setdefault(name, []).append(values)
    order = torch.argsort(ascending)
    patches = parts.patches
    return Given(
        ascending[order].cpu().numpy(),
        _joined(whole, order),
        EventSummary(patches.summed_energy, patches.centroid).take(order),
        {name: torch.cat(values)[order].float().cpu().numpy() for name, values in layers.items()},
    )


def moved(nominal: Given, shifted: Given | None) -> Moved:
    """Return how far what heads are given moves, token by token and event by event.

    Tokens are matched within an event by their place; where bodies give them none, one after the other in events that
    have as many in both universes. A token that vanishes, and one that is new, has no displacement.
    """
    one = nominal.encoded
    still = torch.zeros(len(one.tokens), dtype=torch.bool, device=one.tokens.device)
    summary = EventSummary(nominal.summary.summed_energy.clone(), nominal.summary.centroid.clone())
    tokens, position, overall = (torch.zeros_like(part) for part in (one.tokens, one.position, one.overall))
    if shifted is None:
        return Moved(tokens, position, overall, summary, still)
    other = shifted.encoded
    _, here, there = np.intersect1d(nominal.events, shifted.events, assume_unique=True, return_indices=True)
    overall[here] = other.overall[there] - one.overall[here]
    summary.summed_energy[here] = shifted.summary.summed_energy[there]
    summary.centroid[here] = shifted.summary.centroid[there]
    first, second = _matched(nominal, shifted)
    tokens[first] = other.tokens[second] - one.tokens[first]
    position[first] = other.position[second] - one.position[first]
    still[first] = True
    return Moved(tokens, position, overall, summary, still)


def _matched(nominal: Given, shifted: Given) -> tuple[Tensor, Tensor]:
    """Return the rows of the tokens that both universes have, in each."""
    labels = [_labels(side, other) for side, other in ((nominal, shifted), (shifted, nominal))]
    rows = np.concatenate(labels)
    _, number = np.unique(rows, axis=0, return_inverse=True)
    number = number.reshape(-1)
    first, second = number[: len(labels[0])], number[len(labels[0]) :]
    _, here, there = np.intersect1d(first, second, return_indices=True)
    known = labels[0][here, 1] >= 0
    device = nominal.encoded.tokens.device
    return torch.from_numpy(here[known]).to(device), torch.from_numpy(there[known]).to(device)


def _labels(side: Given, other: Given) -> NDArray[np.int64]:
    """Return int64 (token, 5): event, 0 (-1 where it cannot be matched), and its place or its number in the event."""
    encoded = side.encoded
    row = encoded.token_event.cpu().numpy()
    event = side.events[row]
    kept = np.zeros(len(row), dtype=np.int64)
    if encoded.position.any():
        there = encoded.position + encoded.centroid[encoded.token_event]
        place = np.rint(there.double().cpu().numpy() * _PLACE).astype(np.int64)
    else:
        sizes = encoded.offsets.diff().cpu().numpy()
        others = dict(zip(other.events.tolist(), other.encoded.offsets.diff().cpu().tolist(), strict=True))
        alike = [others.get(number) == size for number, size in zip(side.events.tolist(), sizes.tolist(), strict=True)]
        kept = np.where(np.array(alike)[row], 0, -1)
        within = np.arange(len(row)) - encoded.offsets.cpu().numpy()[row]
        place = np.stack([within, np.zeros_like(within), np.zeros_like(within)], axis=1)
    return np.column_stack([event, kept, place]).astype(np.int64)


def _without_voxels(encoded: Encoded) -> Encoded:
    """Return the tokens alone, which is all that event-level heads read."""
    none = encoded.offsets.new_zeros(0)
    blank = torch.zeros_like(encoded.offsets)
    value = encoded.value.new_zeros(0)
    return replace(encoded, voxel_offsets=blank, voxel_token=none, place=none, value=value, voxels=None)


def _joined(parts: list[Encoded], order: Tensor) -> Encoded:
    """Return all events of some batches, in ``order``."""
    lengths = torch.cat([part.offsets.diff() for part in parts])
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    rows = torch.cat([torch.arange(int(starts[i]), int(starts[i + 1])) for i in order.tolist()]).to(starts.device)
    offsets = torch.cat([lengths.new_zeros(1), lengths[order].cumsum(0)])
    return replace(
        parts[0],
        tokens=torch.cat([part.tokens for part in parts])[rows],
        offsets=offsets,
        position=torch.cat([part.position for part in parts])[rows],
        centroid=torch.cat([part.centroid for part in parts])[order],
        overall=torch.cat([part.overall for part in parts])[order],
        voxel_offsets=torch.zeros_like(offsets),
    )


def _pooled(body: Body, encoded: Encoded) -> dict[str, Tensor]:
    """Return the mean over each event's tokens, (event of the batch, feature), of each layer by name."""
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
