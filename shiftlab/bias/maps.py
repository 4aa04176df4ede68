"""Covariance of the tasks over the realisations of a frozen random map, apart from the map's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from shiftlab.bias.bootstrap import HALF_68
from shiftlab.bias.covariance import Key, Part, systematic
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["MapCovariance", "map_covariance", "map_interval", "maps_table", "over_maps"]

_MAPS: Final = ("arm", "seed", "recalibrate", "nuisance", "task", "mean_response", "between_maps", "lo", "hi", "throws")

_MEAN_SQUARE: Final = 2.0 / np.pi
"""(E|z|)^2 of a standard normal z."""


@dataclass(frozen=True)
class MapCovariance:
    """How the tasks move together because nobody knows the map, each (1 + replica, task, task).

    The true detector has one map m, drawn by nature, and one size z of the nuisance. The response in map m is
    b = r_m z + q_m z^2 (one-sided: d_m |z|). Its covariance over z and m can be split in two ways:

    - ``within`` + ``between``, the law of total variance: the mean over maps of the covariance over z in one map, and
      the covariance over maps of the mean over z;
    - ``common`` + ``scatter``: what the mean response over maps gives, and what the differences between maps give.

    All four are unbiased over maps, for whatever number of throws: ``common`` is freed of the part of the scatter that
    stays in a mean over few throws, so that it need not be positive. Event noise is still inside: give any of them to
    ``covariance.systematic``.

    Attributes:
        nuisance: Name of the nuisance.
        throws: Number of throws; the spread has one degree of freedom less.
        within: Mean over maps of r r^T + 2 q q^T (one-sided (1 - 2/pi) d d^T).
        between: Covariance over maps of q (one-sided (2/pi) times that of d).
        common: From the mean response over maps.
        scatter: V_r + 3 V_q, V the covariance over maps (one-sided V_d).
    """

    nuisance: str
    throws: int
    within: Floats
    between: Floats
    common: Floats
    scatter: Floats

    @property
    def total(self) -> Floats:
        """(1 + replica, task, task): covariance over size and map, which is ``Part.covariance``."""
        return np.asarray(self.within + self.between, dtype=np.float64)


def map_covariance(part: Part) -> MapCovariance:
    """Return the covariance over the throws of one nuisance's frozen map.

    The estimator is the analysis of variance with one random factor (Searle, Casella, McCulloch 1992, chapter 3): V of
    T throws with 1 / (T - 1), and the square of a mean less V / T. It takes the nominal detector to be the same in
    every throw, as it is where a map's nominal size is zero or its nominal map is known.

    Raises:
        DataError: there are fewer than 2 throws.
    """
    throws = part.odd.shape[1]
    if throws < 2:
        raise DataError(
            f"nuisance '{part.nuisance}' has {throws} throw; the variance over maps needs at least 2, and 9 for an "
            f"error of half its size. universes.throws.{part.nuisance}=9 makes them."
        )
    if part.one_sided:
        square, scatter, common = _moments(part.odd)
        share = 1.0 - _MEAN_SQUARE
        return MapCovariance(part.nuisance, throws, share * square, _MEAN_SQUARE * scatter, share * common, scatter)
    odd_square, odd_scatter, odd_common = _moments(part.odd)
    even_square, even_scatter, even_common = _moments(part.even)
    return MapCovariance(
        nuisance=part.nuisance,
        throws=throws,
        within=odd_square + 2.0 * even_square,
        between=even_scatter,
        common=odd_common + 2.0 * even_common,
        scatter=odd_scatter + 3.0 * even_scatter,
    )


def _moments(response: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean square, covariance over throws and unbiased square of the mean, each (1 + replica, task, task)."""
    throws = response.shape[1]
    mean = response.mean(axis=1, keepdims=True)
    deviation = response - mean
    square = np.swapaxes(response, -1, -2) @ response / throws
    scatter = np.swapaxes(deviation, -1, -2) @ deviation / (throws - 1)
    return square, scatter, np.swapaxes(mean, -1, -2) @ mean - scatter / throws


def map_interval(scatter: float, noise: float, throws: int, half: float = HALF_68) -> tuple[float, float]:
    """Return the interval of a variance over maps, 2 ``half`` of the probability, equal tails.

    (T - 1) (raw scatter) / (true scatter + noise) is chi-squared with T - 1 degrees of freedom where the responses are
    normal over maps. An end below zero is zero.

    Args:
        scatter: Raw variance of one task over throws (``covariance.Systematic.raw``), event noise included.
        noise: The part of it that is event noise (``raw - debiased``), taken as known.
        throws: Number of throws.
        half: Half the probability.

    Raises:
        DataError: there are fewer than 2 throws.
    """
    if throws < 2:
        raise DataError(f"the variance over maps of {throws} throw has no interval; at least 2 are needed.")
    square = (throws - 1) * scatter
    low, high = (square / float(stats.chi2.ppf(0.5 + side, throws - 1)) for side in (half, -half))
    return max(0.0, low - noise), max(0.0, high - noise)


def over_maps(parts: Sequence[Part]) -> Floats:
    """Return what the differences between maps add to the covariance of the tasks, (task, task), freed of event noise.

    The sum of ``MapCovariance.scatter`` over the nuisances of two throws or more; it is counted in the systematic
    covariance already (``Part.covariance``).
    """
    scatters = [map_covariance(part).scatter for part in parts if part.throws > 1]
    if scatters:
        return systematic(np.sum(scatters, axis=0)).debiased
    return np.zeros((parts[0].odd.shape[2],) * 2)


def maps_table(found: Mapping[Key, Sequence[Part]], tasks: Sequence[str]) -> pd.DataFrame:
    """Return the variance of each task from each nuisance of several throws: mean response and maps apart.

    One row per arm, seed, recalibration, nuisance and task, in units of the data's error, squared, freed of event
    noise: ``mean_response``, what the mean response over maps gives, ``between_maps``, what the differences between
    maps give, with its 68% interval ``lo`` to ``hi``. The sum of both is what the nuisance adds to the task's
    systematic variance. Each is unbiased, so that one that is small may come out below zero.

    The interval takes T - 1 degrees of freedom for both sides together: where a map's odd and even responses differ
    independently, it is wider than it need be (``map_interval``).
    """
    rows = []
    for key, parts in found.items():
        for one in (map_covariance(part) for part in parts if part.throws > 1):
            mean, between = systematic(one.common).debiased, systematic(one.scatter)
            for t, task in enumerate(tasks):
                raw, own = float(between.raw[t, t]), float(between.debiased[t, t])
                ends = map_interval(raw, raw - own, one.throws)
                rows.append((*key, one.nuisance, task, float(mean[t, t]), own, *ends, one.throws))
    return pd.DataFrame(rows, columns=list(_MAPS))
