"""The estimators whose bias and coverage are measured, each beside the truth that it is to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from scipy import stats

from shiftlab.bias.covariance import Part, correlation
from shiftlab.bias.effective import effective_interval, effective_number
from shiftlab.bias.inflation import inflation, inflation_interval
from shiftlab.bias.influence import influence
from shiftlab.bias.joint_moments import Moments
from shiftlab.bias.maps import map_covariance, map_interval
from shiftlab.bias.proof.cases import MAP_SPREAD, SIGNS, Case, Draw
from shiftlab.bias.statistic import Floats, Mean
from shiftlab.bias.universe_interval import Limits, correlation_interval, variance_interval

__all__ = ["ESTIMATORS", "Estimator", "Found"]

_UPPER: Final = np.triu_indices(3, 1)
_EQUAL: Final = np.ones(3)
"""Weights of the combined result whose inflation is measured."""


@dataclass(frozen=True)
class Found:
    """What an estimator gives in some pseudo-experiments, each (pseudo-experiment, cell).

    Attributes:
        estimate: The estimates.
        low: Lower ends of the intervals.
        high: Upper ends.
    """

    estimate: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Estimator:
    """One estimator.

    Attributes:
        name: What is estimated, and from what.
        find: From pseudo-experiments and the probability of the interval to what is found.
        truth: From a case to the true values, (cell,).
        conservative: Why its intervals may cover more than they claim; empty where they may not.
        biased: Why the estimate may lie beside the truth; empty where it may not.
    """

    name: str
    find: Callable[[Draw, float], Found]
    truth: Callable[[Case], Floats]
    conservative: str = ""
    biased: str = ""


def _bias_by_influence(draw: Draw, level: float) -> Found:
    """Biases of the one-nuisance universes, their errors from influence values; normal quantiles."""
    z = (np.eye(draw.z["pairs"].shape[-1])[:, None] * SIGNS[:, None]).reshape(-1, draw.z["pairs"].shape[-1])
    moved = np.einsum("uf,peft->pute", draw.case.features(z), draw.response, optimize=True)
    nominal = np.swapaxes(draw.nominal, 1, 2)[:, None]
    none, one = np.empty((moved.shape[-1], 0)), np.ones(moved.shape[-1])
    pulls = [influence(Mean(), outputs[..., None], none, one) for outputs in (nominal + moved, nominal)]
    error = np.sqrt(((pulls[0] - pulls[1]) ** 2).sum(axis=-1))
    return _symmetric(draw.unisim[:, 0], error, float(stats.norm.ppf(0.5 + level / 2.0)))


def _bias_by_bootstrap(draw: Draw, level: float) -> Found:
    """Biases of the one-nuisance universes, their errors from replicas; Student's quantiles."""
    error = draw.unisim[:, 1:].std(axis=1, ddof=1)
    quantile = float(stats.t.ppf(0.5 + level / 2.0, draw.unisim.shape[1] - 2))
    return _symmetric(draw.unisim[:, 0], error, quantile)


def _variance_over_maps(draw: Draw, level: float) -> Found:
    """Variance of each task over the realisations of a frozen map, event noise taken off."""
    number, replicas, throws, tasks = draw.maps.shape
    odd = draw.maps.reshape(-1, throws, tasks)
    scatter = map_covariance(Part("map", odd, np.zeros_like(odd), mirrored=False)).scatter
    each = np.diagonal(scatter, axis1=-2, axis2=-1).reshape(number, replicas, tasks)
    noise = each[:, 1:].mean(axis=1) - each[:, 0]
    ends = [
        map_interval(float(raw), float(own), throws, level / 2.0)
        for raw, own in zip(each[:, 0].ravel(), noise.ravel(), strict=True)
    ]
    low, high = np.array(ends).T.reshape(2, number, tasks)
    return Found(each[:, 0] - noise, low, high)


def _map_truth(case: Case) -> Floats:
    return MAP_SPREAD**2 * np.array(case.copies or (1.0, 1.0, 1.0)) ** 2


def _symmetric(estimate: Floats, error: Floats, quantile: float) -> Found:
    return _flat(estimate, estimate - quantile * error, estimate + quantile * error)


def _flat(*values: Floats) -> Found:
    return Found(*(value.reshape(len(value), -1) for value in values))


_Moments: TypeAlias = Callable[[Draw], Moments]


def _unisims(draw: Draw) -> Moments:
    return draw.unisim_moments


def _independent(draw: Draw) -> Moments:
    return draw.independent_moments


def _pairs(draw: Draw) -> Moments:
    return draw.pair_moments


def _unisim_truth(case: Case) -> Floats:
    return case.unisim_covariance()


def _independent_truth(case: Case) -> Floats:
    return case.joint_covariance("mean")


def _pairs_truth(case: Case) -> Floats:
    return case.joint_covariance("nominal")


_KINDS: Final[tuple[tuple[str, _Moments, Callable[[Case], Floats]], ...]] = (
    ("unisims", _unisims, _unisim_truth),
    ("independent universes", _independent, _independent_truth),
    ("antithetic pairs", _pairs, _pairs_truth),
)
"""Universes, their moments and what those are to find."""


def _variances(matrices: Floats) -> Floats:
    return np.asarray(np.diagonal(matrices, axis1=-2, axis2=-1), dtype=np.float64)


def _correlations(matrices: Floats) -> Floats:
    return matrices[..., *_UPPER]


def _of_moments(
    moments: _Moments, limits: Callable[[Moments, float], Limits], cells: Callable[[Floats], Floats] | None = None
) -> Callable[[Draw, float], Found]:
    """Return an estimator that reads moments."""

    def find(draw: Draw, level: float) -> Found:
        found = limits(moments(draw), level)
        ends = found.estimate, found.low, found.high
        return _flat(*(ends if cells is None else map(cells, ends)))

    return find


def _of_covariance(
    function: Callable[[Floats], Floats], covariance: Callable[[Case], Floats]
) -> Callable[[Case], Floats]:
    """Return the truth of a function of the covariance."""
    return lambda case: np.atleast_1d(function(covariance(case)))


_STRETCHED: Final = "few universes miss what skewed responses rarely do, so the part over universes is stretched"
_BOUNDED: Final = "the effective number lies between 1 and the number of tasks; at an end the interval is one-sided"


def _estimators() -> tuple[Estimator, ...]:
    found = [
        Estimator("bias, error by influence", _bias_by_influence, lambda case: case.unisim().ravel()),
        Estimator("bias, error by bootstrap", _bias_by_bootstrap, lambda case: case.unisim().ravel()),
        Estimator("variance, frozen maps", _variance_over_maps, _map_truth),
    ]
    for universes, moments, truth in _KINDS:
        why = "" if moments is _unisims else _STRETCHED  # intervals over events are exact but for very noisy tasks
        for name, limits, cells, function in (
            ("variance", variance_interval, None, _variances),
            ("correlation", correlation_interval, _correlations, lambda S: _correlations(correlation(S))),
            ("inflation", _inflation_interval, None, lambda S: inflation(S, _EQUAL)),
        ):
            find = _of_moments(moments, limits, cells)
            found.append(Estimator(f"{name}, {universes}", find, _of_covariance(function, truth), why))
    for universes, moments, truth in _KINDS[1:]:
        find = _of_moments(moments, effective_interval)
        number = _of_covariance(lambda S: effective_number(correlation(S)), truth)
        found.append(Estimator(f"effective number, {universes}", find, number, _STRETCHED, _BOUNDED))
    return tuple(found)


def _inflation_interval(moments: Moments, level: float) -> Limits:
    return inflation_interval(moments, _EQUAL, level)


ESTIMATORS: Final = _estimators()
"""All of them. A new one is one line: name, what finds it, its truth and, if so, why it is conservative or biased."""
