"""Centred kernel alignment of two sets of features: 1 where a shift only turns and scales the representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from shiftlab.bias.drift.paired import Features
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Similarity", "hsic", "linear_cka"]

_GROUPS: Final = 20
"""Groups of vertices that the jackknife leaves out, one at a time (convention)."""


@dataclass(frozen=True)
class Similarity:
    """Debiased linear CKA, with an interval over events.

    Attributes:
        cka: 1 for equal features, about 0 for unrelated ones; noise may push it below 0 or above 1.
        error: Jackknife error over groups of vertices.
        low: Lower end of the interval.
        high: Upper end.
    """

    cka: float
    error: float
    low: float
    high: float


def linear_cka(features: Features, level: float = 0.6826894921370859) -> Similarity:
    """Return the debiased linear CKA of nominal and shifted features.

    CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) (Kornblith et al. 2019, ICML, eq. 2), HSIC by its unbiased
    estimate, for the plain one is close to 1 for any features wider than the sample. It sees neither a rotation, nor
    a common scale, nor a common displacement of all events: a large shift may leave it at 1. See ``displacement``.

    Equal features give exactly 1 with no error. The interval is symmetric, Student's with 19 degrees of freedom.

    Raises:
        DataError: the features do not vary over events.
    """
    if features.same and np.ptp(features.nominal, axis=0).any():
        return Similarity(1.0, 0.0, 1.0, 1.0)
    value = _cka(features.nominal, features.shifted, features.layer)
    groups = min(_GROUPS, features.vertices // 2)
    member = features.vertex % groups
    left_out = np.array(
        [_cka(features.nominal[member != g], features.shifted[member != g], features.layer) for g in range(groups)]
    )
    error = float(np.sqrt((groups - 1.0) * left_out.var()))
    reach = float(stats.t.ppf(0.5 + level / 2.0, groups - 1)) * error
    return Similarity(value, error, value - reach, value + reach)


def hsic(first: Floats, second: Floats) -> float:
    """Return the unbiased estimate of the Hilbert-Schmidt independence criterion with linear kernels.

    HSIC = [tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'KL1 / (n - 2)] / (n (n - 3)), the diagonals of K = X X' and
    L = Y Y' set to zero (Song et al. 2012, J. Mach. Learn. Res. 13, 1393, eq. 5), without forming K or L.

    Args:
        first: (event, feature).
        second: (event, other feature).

    Raises:
        DataError: fewer than 4 events.
    """
    number = len(first)
    if number < 4:
        raise DataError(f"{number} events: the unbiased HSIC needs 4 or more.")
    x, y = first - first.mean(axis=0), second - second.mean(axis=0)
    own_x, own_y = np.einsum("ef,ef->e", x, x), np.einsum("ef,ef->e", y, y)
    row_x, row_y = x @ x.sum(axis=0) - own_x, y @ y.sum(axis=0) - own_y
    trace = ((x.T @ y) ** 2).sum() - own_x @ own_y
    total = row_x.sum() * row_y.sum() / ((number - 1.0) * (number - 2.0))
    return float((trace + total - 2.0 * (row_x @ row_y) / (number - 2.0)) / (number * (number - 3.0)))


def _cka(first: Floats, second: Floats, layer: str) -> float:
    own, other = hsic(first, first), hsic(second, second)
    if min(own, other) <= 0.0:
        where = f"layer '{layer}': " if layer else ""
        raise DataError(f"{where}the features vary no more than chance over {len(first)} events; CKA has no value.")
    return hsic(first, second) / float(np.sqrt(own) * np.sqrt(other))
