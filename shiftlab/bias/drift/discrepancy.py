"""Maximum mean discrepancy of nominal and shifted features of the same events, with its permutation p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.distance import cdist, pdist

from shiftlab.bias.drift.paired import Features
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["Discrepancy", "mmd"]

_TIE: Final = 1e-12


@dataclass(frozen=True)
class Discrepancy:
    """Unbiased squared MMD.

    Attributes:
        mmd2: The estimate; it may be below 0, and is exactly 0 for equal features.
        p_value: Share of exchanges of nominal and shifted, the observed one counted, that give as much or more.
        bandwidth: Width of the kernel.
        events: Number of events used.
    """

    mmd2: float
    p_value: float
    bandwidth: float
    events: int


def mmd(features: Features, permutations: int = 500, seed: int = 0, most: int = 2000) -> Discrepancy:
    """Return the squared MMD with the kernel exp(-|x - y|^2 / (2 s^2)), s the median distance of all features.

    The U-statistic of h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i) over pairs of events (Gretton et
    al. 2012, J. Mach. Learn. Res. 13, 723, eq. 4 and section 8 on s), pairs within a vertex left out. Without a shift
    nominal and shifted of a vertex may be exchanged, which turns the sign of h: the p-value is from random signs, one
    of each vertex, and is exact. Features are divided by their spread first, so that no unit decides.

    Args:
        features: Of one layer.
        permutations: Random exchanges.
        seed: Of the exchanges, and of the choice of events.
        most: Most events used, as the memory grows with their square; they are chosen at random.

    Raises:
        ConfigError: fewer than 20 permutations, or ``most`` below 8.
        DataError: the features do not vary.
    """
    if permutations < 20 or most < 8:
        raise ConfigError(f"permutations = {permutations}, most = {most}: at least 20 and 8 are needed.")
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(features.vertex))
    if len(chosen) > most:
        chosen = np.sort(rng.choice(chosen, most, replace=False))
    x, y = _scaled(features.nominal[chosen], features.shifted[chosen], features.layer)
    bandwidth = float(np.median(pdist(np.concatenate([x, y]))))
    if bandwidth == 0.0:
        raise DataError(
            f"layer '{features.layer}': more than half of all events have equal features; MMD has no scale."
        )
    vertex = features.vertex[chosen]
    h = _kernel(x, x, bandwidth) + _kernel(y, y, bandwidth)
    across = _kernel(x, y, bandwidth)
    h -= across
    h -= across.T
    h[vertex[:, None] == vertex] = 0.0
    pairs = len(vertex) ** 2 - int((np.bincount(vertex) ** 2).sum())
    signs = rng.choice([-1.0, 1.0], size=(permutations, int(vertex.max()) + 1))[:, vertex]
    null = ((signs @ h) * signs).sum(axis=1) / pairs
    value = float(h.sum()) / pairs
    reached = int((null >= value - _TIE * max(1.0, abs(value))).sum())
    return Discrepancy(value, (1.0 + reached) / (1.0 + permutations), bandwidth, len(vertex))


def _scaled(first: Floats, second: Floats, layer: str) -> tuple[Floats, Floats]:
    """Return both divided by the spread of all; features that never vary are left out, they add no distance."""
    spread = np.concatenate([first, second]).std(axis=0)
    moves = spread > 0.0
    if not moves.any():
        raise DataError(f"layer '{layer}': no feature varies over {len(first)} events.")
    return first[:, moves] / spread[moves], second[:, moves] / spread[moves]


def _kernel(first: Floats, second: Floats, bandwidth: float) -> Floats:
    distance = cdist(first, second, "sqeuclidean")
    distance *= -0.5 / bandwidth**2
    return np.asarray(np.exp(distance, out=distance), dtype=np.float64)
