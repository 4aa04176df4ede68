"""Variance over frozen maps: unbiased for any number of throws, freed of event noise, with intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.covariance import Part, systematic
from shiftlab.bias.maps import MapCovariance, map_covariance, map_interval
from shiftlab.errors import DataError

COMMON = np.array([[1.0, 0.5, 0.0], [0.3, -0.2, 0.4]])
"""Mean response over maps, odd and even; (side, task)."""

FACTOR = np.array([[0.8, 0.3, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 0.6]])
SPREAD = FACTOR.T @ FACTOR
"""Covariance of the odd response over maps; that of the even one is a quarter of it."""


def _part(rng: np.random.Generator, throws: int, one_sided: bool, shape: tuple[int, ...] = ()) -> Part:
    """Return the responses in so many random maps; leading axes ``shape`` take the place of replicas."""
    size = (*shape, throws, 3)
    odd = COMMON[0] + rng.standard_normal(size) @ FACTOR
    even = COMMON[1] + 0.5 * rng.standard_normal(size) @ FACTOR
    return Part("map", odd, np.zeros_like(even) if one_sided else even, one_sided, one_sided)


def _truth(one_sided: bool) -> dict[str, np.ndarray]:
    r, q = (np.outer(side, side) for side in COMMON)
    if one_sided:
        share = 2 / np.pi
        return {
            "within": (1 - share) * (r + SPREAD),
            "between": share * SPREAD,
            "common": (1 - share) * r,
            "scatter": SPREAD,
        }
    return {
        "within": r + SPREAD + 2 * (q + SPREAD / 4),
        "between": SPREAD / 4,
        "common": r + 2 * q,
        "scatter": SPREAD + 3 * SPREAD / 4,
    }


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("throws", [2, 4, 16])
def test_every_term_is_unbiased_over_maps(throws: int, one_sided: bool) -> None:
    """The mean over 20,000 experiments, each with its own maps, within five of its errors."""
    found = map_covariance(_part(np.random.default_rng(throws), throws, one_sided, (20_000,)))
    for name, truth in _truth(one_sided).items():
        term = getattr(found, name)
        error = term.std(axis=0) / np.sqrt(len(term))
        assert np.abs((term.mean(axis=0) - truth) / error).max() < 5.0, name


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_total_is_the_covariance_over_size_and_map(one_sided: bool) -> None:
    """Draws of z and of the map; kurtosis below 15, five errors."""
    rng = np.random.default_rng(0)
    number = 300_000
    part = _part(rng, number, one_sided)
    z = rng.standard_normal((number, 1))
    bias = np.abs(z) * part.odd if one_sided else z * part.odd + z**2 * part.even
    truth = _truth(one_sided)
    total = truth["within"] + truth["between"]
    scale = np.sqrt(np.outer(np.diag(total), np.diag(total)))
    assert np.abs((np.cov(bias.T) - total) / scale).max() < 5 * np.sqrt(15 / number)
    np.testing.assert_allclose(total, truth["common"] + truth["scatter"])


@pytest.mark.parametrize("one_sided", [False, True])
def test_both_splits_have_the_same_total(one_sided: bool) -> None:
    found = map_covariance(_part(np.random.default_rng(1), 4, one_sided, (6,)))
    assert isinstance(found, MapCovariance)
    np.testing.assert_allclose(found.total, found.common + found.scatter, atol=1e-12)
    if not one_sided:
        part = _part(np.random.default_rng(1), 4, one_sided, (6,))
        np.testing.assert_allclose(found.within, part.covariance, atol=1e-12)


def test_maps_that_are_all_the_same_have_no_scatter() -> None:
    part = _part(np.random.default_rng(2), 1, False, (6,))
    same = Part("map", np.repeat(part.odd, 4, axis=1), np.repeat(part.even, 4, axis=1), False)
    found = map_covariance(same)
    np.testing.assert_allclose(found.between, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.scatter, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.common, part.covariance, atol=1e-12)


def test_event_noise_leaves_the_scatter_with_the_bootstrap() -> None:
    """Noise as large as the maps' spread, of its own in each throw, in 600 experiments with 40 replicas each."""
    rng = np.random.default_rng(3)
    raw, freed = [], []
    for _ in range(600):
        clean = _part(rng, 4, True)
        noise = rng.standard_normal((41, 4, 3)) @ FACTOR
        seen = clean.odd + noise[0]  # event noise of the sample; each replica adds as much again
        odd = np.concatenate([seen[None], seen + noise[1:]])
        found = systematic(map_covariance(Part("map", odd, np.zeros_like(odd), True, True)).scatter)
        raw.append(found.raw)
        freed.append(found.debiased)
    error = np.std(freed, axis=0) / np.sqrt(len(freed))
    assert np.abs((np.mean(freed, axis=0) - SPREAD) / error).max() < 5.0
    assert np.trace(np.mean(raw, axis=0)) == pytest.approx(2 * np.trace(SPREAD), rel=0.1)


def _coverage(throws: int, noise: float, experiments: int, half: float) -> float:
    """Return how often the interval of the first task's variance over maps holds the truth."""
    rng = np.random.default_rng(throws)
    part = _part(rng, throws, True, (experiments,))
    event = np.sqrt(noise) * rng.standard_normal(part.odd.shape)
    raw = map_covariance(Part("map", part.odd + event, part.even, True, True)).scatter[:, 0, 0]
    inside = [low <= SPREAD[0, 0] <= high for low, high in (map_interval(one, noise, throws, half) for one in raw)]
    return float(np.mean(inside))


@pytest.mark.parametrize(("half", "nominal"), [(HALF_68, 2 * HALF_68), (HALF_95, 0.95)])
@pytest.mark.parametrize(("throws", "noise"), [(2, 0.0), (4, 0.2), (16, 0.0)])
def test_the_interval_covers(throws: int, noise: float, half: float, nominal: float) -> None:
    number = 400
    assert abs(_coverage(throws, noise, number, half) - nominal) < 3.5 * np.sqrt(nominal * (1 - nominal) / number)


@pytest.mark.slow
@pytest.mark.parametrize(("half", "nominal"), [(HALF_68, 2 * HALF_68), (HALF_95, 0.95)])
@pytest.mark.parametrize(("throws", "noise"), [(2, 0.0), (3, 0.1), (4, 0.0), (4, 0.2), (8, 0.6), (16, 0.0)])
def test_the_interval_covers_in_many_experiments(throws: int, noise: float, half: float, nominal: float) -> None:
    number = 4000
    assert abs(_coverage(throws, noise, number, half) - nominal) < 3.0 * np.sqrt(nominal * (1 - nominal) / number)


def test_one_throw_has_no_variance_and_the_number_that_is_needed_is_named() -> None:
    part = _part(np.random.default_rng(0), 1, False, (3,))
    with pytest.raises(DataError, match=r"'map' has 1 throw; .* at least 2, .*universes\.throws\.map=9"):
        map_covariance(part)
    with pytest.raises(DataError, match="at least 2 are needed"):
        map_interval(1.0, 0.0, 1)
