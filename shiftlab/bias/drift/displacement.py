"""Label-free drift score: the mean displacement of the features in units of their spread over events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import solve_triangular

from shiftlab.bias.bootstrap import HALF_68, interval, poisson_weights
from shiftlab.bias.drift.paired import Features, vertex_sums
from shiftlab.bias.shrinkage import ledoit_wolf
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["Displacement", "displacement"]

_SAME: Final = 1e-12


@dataclass(frozen=True)
class Displacement:
    """How far a layer moves on average.

    Attributes:
        drift2: d^T S^-1 d, freed of event noise; may be below 0 and is exactly 0 for equal features.
        low: Lower end of its interval over vertices, not below 0.
        high: Upper end, not below 0.
        noise: The event noise that was taken off.
        shrinkage: Share of S that is the diagonal, from 0 to 1.
        features: Number of features that vary.
    """

    drift2: float
    low: float
    high: float
    noise: float
    shrinkage: float
    features: int

    @property
    def drift(self) -> float:
        """Root of ``drift2``, 0 where that is negative: in standard deviations of an event."""
        return float(np.sqrt(max(0.0, self.drift2)))


def displacement(features: Features, replicas: int = 200, seed: int = 0, half: float = HALF_68) -> Displacement:
    """Return the squared Mahalanobis distance of the mean features, with a bootstrap interval over vertices.

    d is the mean over the same events of shifted less nominal features, S the covariance of the features over events
    within each universe, its correlations shrunk (Ledoit and Wolf 2004). As d has an error, d^T S^-1 d is too large by
    the trace of S^-1 Cov(d), which is taken off; twice for replicas, as a replica's d has the error twice. In a replica
    S changes too: to first order in it, by its variance along S^-1 d.

    The interval is conservative where the drift is within its error, as the lower end stops at 0: of 500 intervals of
    68% in 200 events 0.99 cover a drift of 0, 0.80 one of 0.05, 0.73 one of 0.1, 0.70 one of 0.3 and 0.68 one of 1.

    Args:
        features: Of one layer.
        replicas: Poisson(1) bootstrap replicas over vertices.
        seed: Of the bootstrap.
        half: Half the probability of the interval.

    Raises:
        ConfigError: fewer than 20 replicas.
        DataError: no feature varies, or one moves that is constant in each universe.
    """
    if replicas < 20:
        raise ConfigError(f"replicas = {replicas} of the drift's interval; 20 or more are needed.")
    centred = np.concatenate([side - side.mean(axis=0) for side in (features.nominal, features.shifted)])
    scale = np.abs(features.nominal).max(axis=0) + np.abs(features.shifted).max(axis=0)
    varies = centred.std(axis=0) > _SAME * scale
    moved = np.abs((features.shifted - features.nominal).mean(axis=0)) > _SAME * scale
    stuck = np.flatnonzero(moved & ~varies)
    if len(stuck) or not varies.any():
        raise DataError(
            f"layer '{features.layer}': feature number {stuck[0]} moves but is the same for all events of a universe, "
            "so that its drift has no unit."
            if len(stuck)
            else f"layer '{features.layer}': no feature varies over events."
        )
    shrunk = ledoit_wolf(centred[:, varies])
    factor = np.linalg.cholesky(shrunk.covariance(centred[:, varies].var(axis=0)))
    step = (features.shifted - features.nominal)[:, varies]
    white = vertex_sums(solve_triangular(factor, step.T, lower=True).T, features)
    size = np.bincount(features.vertex).astype(np.float64)
    mean, spread = white.sum(axis=0) / size.sum(), _noise(white, size)
    along = centred[:, varies] @ solve_triangular(factor, mean, lower=True, trans="T")
    square = vertex_sums((along**2).reshape(2, -1).mean(axis=0), features)
    weights = poisson_weights(np.arange(len(size)), range(1, 1 + replicas), seed)
    drawn = _replicas(white, size, square, weights) - 2.0 * spread
    low, high = interval(drawn, half)
    ends = max(0.0, float(low)), max(0.0, float(high))
    return Displacement(float(mean @ mean) - spread, *ends, spread, shrunk.intensity, int(varies.sum()))


def _replicas(white: Floats, size: Floats, square: Floats, weights: Floats) -> Floats:
    """Return d^T S^-1 d of each replica, (replica,).

    Args:
        white: (vertex, feature), sums over events of the whitened displacement.
        size: (vertex,), events of each vertex.
        square: (vertex,), sums of the squared features along S^-1 d.
        weights: (replica, vertex).
    """
    total = weights @ size
    mean = weights @ white / total[:, None]
    variance, whole = weights @ square / total, float(square.sum() / size.sum())
    if whole == 0.0:
        return np.asarray((mean**2).sum(axis=1), dtype=np.float64)
    return np.asarray((mean**2).sum(axis=1) * whole / variance, dtype=np.float64)


def _noise(white: Floats, size: Floats) -> float:
    """Return the trace of the covariance of the mean, over vertices."""
    pull = white - size[:, None] * (white.sum(axis=0) / size.sum())
    number = len(size)
    return float((pull**2).sum() / size.sum() ** 2 * number / (number - 1.0))
