"""Histograms of one channel: expected events per sample and bin, shifts of each variation, paired variances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.templates.binning import bin_number
from shiftlab.templates.variations import Variation

__all__ = ["ChannelEvents", "Shift", "channel_weights", "shift", "vertex_histogram"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChannelEvents:
    """Events of one part of one channel, for one arm and seed.

    Attributes:
        observable: float64 (universe, event).
        selected: bool (universe, event), the analysis selection in each universe.
        weight: float64 (event,), expected events that each stands for, before the selection.
        vertex: int64 (event,), generator vertex.
        sample: str (event,).
    """

    observable: Floats
    selected: Bools
    weight: Floats
    vertex: Ints
    sample: npt.NDArray[np.str_]

    @classmethod
    def of(cls, data: xr.Dataset, events: Bools, weight: Floats) -> ChannelEvents:
        """Take ``events`` (event,) from a dataset of one arm and seed, with their ``weight`` (event,)."""
        return cls(
            observable=data["observable"].values[:, events].astype(np.float64),
            selected=data["selected"].values[:, events].astype(np.bool_),
            weight=weight[events],
            vertex=data["vertex_uid"].values[events].astype(np.int64),
            sample=data["sample"].values[events].astype(np.str_),
        )

    def histogram(self, universe: int, sample: str, edges: Floats) -> Floats:
        """Return float64 (vertex, bin): expected events of one sample that each vertex puts into each bin."""
        mine = self.sample == sample
        _, vertex = np.unique(self.vertex[mine], return_inverse=True)
        number = bin_number(self.observable[universe, mine], edges)
        return vertex_histogram(vertex, number, self.weight[mine] * self.selected[universe, mine], len(edges) - 1)


def channel_weights(
    weight: Floats, sample: npt.NDArray[np.str_], part: Bools, exposure: Mapping[str, float], share: float
) -> tuple[Floats, dict[str, float]]:
    """Scale generator weights so that each sample's part stands for its share of the exposure.

    w_i = g_i exposure(sample) share / sum of g over the sample's events in the part, over all
    events, selected or not: efficiency and migration stay in the histograms.

    Args:
        weight: (event,) generator weights g.
        sample: (event,) sample names.
        part: (event,) the events of the part.
        exposure: expected events per sample in the whole data set.
        share: the channel's share of the data set.

    Returns:
        (event,) expected events, zero outside the part; and the sum of g per sample.
    """
    scaled = np.zeros_like(weight)
    sums: dict[str, float] = {}
    for name, events in exposure.items():
        mine = part & (sample == name)
        sums[name] = float(weight[mine].sum())
        if sums[name] != 0.0:
            scaled[mine] = weight[mine] * (events * share / sums[name])
    return scaled, sums


def vertex_histogram(vertex: Ints, number: Ints, weight: Floats, bins: int) -> Floats:
    """Return float64 (vertex, bin) of summed weights; ``vertex``, ``number`` and ``weight`` are (event,).

    Sums over vertices give the histogram; X^T X of the result is its covariance, with the events of
    one vertex fully correlated (sum of squared weights when each vertex has one event).
    """
    vertices = int(vertex.max()) + 1 if len(vertex) else 0
    flat = np.bincount(vertex * bins + number, weights=weight, minlength=vertices * bins)
    return flat.reshape(vertices, bins).astype(np.float64)


@dataclass(frozen=True)
class Shift:
    """Displacement of one sample's histogram by one variation, with its paired Monte Carlo covariance.

    Attributes:
        up: (bin,) histogram at +1 sigma minus nominal.
        down: (bin,) histogram at -1 sigma minus nominal.
        covariance: (side, bin, side, bin) covariance of (``up``, ``down``); only events that migrate contribute.
    """

    up: Floats
    down: Floats
    covariance: Floats


def shift(nominal: Floats, up: Floats, down: Floats, variation: Variation) -> Shift:
    """Return the shift from (vertex, bin) histograms of the same events in three universes.

    With x_v the contribution of vertex v, the shift is a sum_v (x_v+ - x_v0), a being the variation's
    scale, and its covariance a^2 sum_v (x_v+ - x_v0)(x_v+ - x_v0)^T: what does not migrate cancels.
    The lower side of a mirrored variation is minus the upper one, as far as no expectation becomes negative.
    """
    plus, minus = (up - nominal) * variation.scale, (down - nominal) * variation.scale
    if variation.mirrored:
        minus = -plus
    sides = np.concatenate([plus, minus], axis=1)
    bins = nominal.shape[1]
    return Shift(
        up=plus.sum(axis=0),
        down=np.maximum(minus.sum(axis=0), -nominal.sum(axis=0)) if variation.mirrored else minus.sum(axis=0),
        covariance=(sides.T @ sides).reshape(2, bins, 2, bins),
    )
