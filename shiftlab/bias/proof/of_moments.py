"""Estimators read from second moments: variance, correlation, inflation, effective number, modes, shrinkage, maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from shiftlab.bias.bootstrap import interval
from shiftlab.bias.covariance import Part, Systematic, correlation
from shiftlab.bias.effective import effective_interval, effective_number
from shiftlab.bias.inflation import inflation, inflation_interval
from shiftlab.bias.joint_moments import Moments, joint_moments
from shiftlab.bias.maps import map_covariance, map_interval
from shiftlab.bias.modes import aligned, principal_modes
from shiftlab.bias.proof.cases import MAP_SPREAD, Case, Draw
from shiftlab.bias.proof.estimator import LEVELS, Estimator, Found, Note, at_levels
from shiftlab.bias.shrinkage import shrink_moments
from shiftlab.bias.statistic import Floats
from shiftlab.bias.universe_interval import Limits, correlation_interval, variance_interval

__all__ = ["OF_MOMENTS"]

_UPPER: Final = np.triu_indices(3, 1)
_EQUAL: Final = np.ones(3)
"""Weights of the combined result whose inflation is measured."""

_MODES: Final = 2

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
) -> Callable[[Draw], Found]:
    """Return an estimator that reads moments."""

    def find(draw: Draw, level: float) -> tuple[Floats, Floats, Floats]:
        found = limits(moments(draw), level)
        ends = found.estimate, found.low, found.high
        return ends if cells is None else (cells(ends[0]), cells(ends[1]), cells(ends[2]))

    return at_levels(find)


def _of_covariance(
    function: Callable[[Floats], Floats], covariance: Callable[[Case], Floats]
) -> Callable[[Case], Floats]:
    """Return the truth of a function of the covariance."""
    return lambda case: np.atleast_1d(function(covariance(case)))


def _systematics(draw: Draw) -> list[Systematic]:
    """Return the covariance of the one-nuisance universes of each pseudo-experiment, as the tables hold it."""
    found = draw.unisim_moments
    number = found.raw.shape[1]
    return [Systematic(found.raw[0, n], found.estimate[0, n], found.replicas[0, :, n]) for n in range(number)]


def _quoted_correlation(draw: Draw) -> Found:
    """Return the correlations of the headline: positive semi-definite, percentile intervals over event replicas."""
    rho = np.stack([_correlations(one.rho()) for one in _systematics(draw)])
    ends = [interval(np.moveaxis(rho[:, 1:], 1, -1), level / 2.0) for level in LEVELS]
    return Found(rho[:, 0], np.stack([low for low, _ in ends]), np.stack([high for _, high in ends]))


def _loadings(draw: Draw) -> Found:
    """Return the loadings of the leading modes less the true ones, turned into the frame of each sample."""
    number = 1 if draw.case.copies else _MODES
    values, vectors = np.linalg.eigh(draw.case.unisim_covariance())
    truth = (vectors * np.sqrt(np.clip(values, 0.0, None)))[:, ::-1][:, :number]
    estimates, lows, highs = [], [], []
    for one in _systematics(draw):
        each = [principal_modes(one.covariance, one.replicas, number, level / 2.0) for level in LEVELS]
        true = aligned(truth, each[0].loading)
        estimates.append((each[0].loading - true).ravel())
        lows.append([(modes.low - true).ravel() for modes in each])
        highs.append([(modes.high - true).ravel() for modes in each])
    return Found(np.array(estimates), np.swapaxes(lows, 0, 1), np.swapaxes(highs, 0, 1))


def _no_loading(case: Case) -> Floats:
    return np.zeros(3 * (1 if case.copies else _MODES))


def _shrunk(draw: Draw) -> Found:
    blocks = [(u,) for u in range(draw.case.universes)]
    moments = [joint_moments(one, blocks, "independent", "mean") for one in draw.joint("independent")]
    rho = np.array([_correlations(shrink_moments(one).correlation) for one in moments])
    none = np.full((len(LEVELS), *rho.shape), np.nan)
    return Found(rho, none, none)


def _variance_over_maps(draw: Draw, level: float) -> tuple[Floats, Floats, Floats]:
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
    return each[:, 0] - noise, low, high


def _map_truth(case: Case) -> Floats:
    return MAP_SPREAD**2 * np.array(case.copies or (1.0, 1.0, 1.0)) ** 2


def _inflation(moments: Moments, level: float) -> Limits:
    return inflation_interval(moments, _EQUAL, level)


_STRETCHED: Final = Note(
    "conservative", "few universes miss what skewed responses rarely do, so the part over universes is stretched"
)
_TWICE_NOISY: Final = Note(
    "conservative", "the event noise of a replica comes on top of the sample's own", ("noisy universes",)
)
_BOUNDED: Final = Note(
    "biased", "the effective number lies between 1 and the number of tasks; at an end the interval is one-sided"
)
_TURNED: Final = Note("biased", "event noise drives the modes apart, to second order")
_DRAWN: Final = (
    Note("no interval", "drawn towards 0 on purpose, for inverses; take the interval of the correlation itself"),
    Note("biased", "drawn towards 0 on purpose"),
)


def _estimators() -> tuple[Estimator, ...]:
    found = [Estimator("variance over frozen maps", at_levels(_variance_over_maps), _map_truth)]
    for universes, moments, truth in _KINDS:
        note = _TWICE_NOISY if moments is _unisims else _STRETCHED
        for name, limits, cells, function in (
            ("variance", variance_interval, None, _variances),
            ("correlation", correlation_interval, _correlations, lambda S: _correlations(correlation(S))),
            ("inflation", _inflation, None, lambda S: inflation(S, _EQUAL)),
        ):
            find = _of_moments(moments, limits, cells)
            found.append(Estimator(f"{name}, {universes}", find, _of_covariance(function, truth), (note,)))
    for universes, moments, truth in _KINDS[1:]:
        number = _of_covariance(lambda S: effective_number(correlation(S)), truth)
        find = _of_moments(moments, effective_interval)
        found.append(Estimator(f"effective number, {universes}", find, number, (_STRETCHED, _BOUNDED)))
    rho = _of_covariance(lambda S: _correlations(correlation(S)), _unisim_truth)
    drawn = _of_covariance(lambda S: _correlations(correlation(S)), _independent_truth)
    return (
        *found,
        Estimator("correlation, unisims, percentiles", _quoted_correlation, rho, (_TWICE_NOISY,)),
        Estimator("loadings of modes, unisims", _loadings, _no_loading, (_TWICE_NOISY, _TURNED)),
        Estimator("correlation, shrunk", _shrunk, drawn, _DRAWN),
    )


OF_MOMENTS: Final = _estimators()
"""All of them."""
