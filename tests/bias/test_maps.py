"""Variance over frozen maps: unbiased for any number of throws, freed of event noise, with intervals that cover."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias import Mean, bias
from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.covariance import Part, systematic
from shiftlab.bias.excess import unisim_rows
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
@pytest.mark.parametrize("throws", [2, 4])
def test_a_few_throws_give_the_covariance_over_size_and_map(throws: int, one_sided: bool) -> None:
    """Biases in 300,000 universes, each with its own size and map, against the mean of 20,000 parts; five errors."""
    rng = np.random.default_rng(throws)
    number = 300_000
    every = _part(rng, number, one_sided)
    z = rng.standard_normal((number, 1))
    bias = np.abs(z) * every.odd if one_sided else z * every.odd + z**2 * every.even
    products = np.einsum("na,nb->nab", bias - bias.mean(axis=0), bias - bias.mean(axis=0))
    parts = _part(rng, throws, one_sided, (20_000,)).covariance
    error = np.hypot(products.std(axis=0) / np.sqrt(number), parts.std(axis=0) / np.sqrt(len(parts)))
    assert np.abs((products.mean(axis=0) - parts.mean(axis=0)) / error).max() < 5.0


@pytest.mark.parametrize("one_sided", [False, True])
def test_both_splits_have_the_same_total(one_sided: bool) -> None:
    found = map_covariance(_part(np.random.default_rng(1), 4, one_sided, (6,)))
    assert isinstance(found, MapCovariance)
    np.testing.assert_allclose(found.total, found.common + found.scatter, atol=1e-12)
    part = _part(np.random.default_rng(1), 4, one_sided, (6,))
    np.testing.assert_allclose(found.total, part.covariance, atol=1e-12)
    rows = unisim_rows([part])
    np.testing.assert_allclose(np.swapaxes(rows, -1, -2) @ rows, part.covariance, atol=1e-12)


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


def _two_sided_coverage(experiments: int, half: float) -> float:
    """Return the same where the even response differs between maps too, independently of the odd one, half as much."""
    raw = map_covariance(_part(np.random.default_rng(5), 4, False, (experiments,))).scatter[:, 0, 0]
    truth = _truth(False)["scatter"][0, 0]
    return float(np.mean([low <= truth <= high for low, high in (map_interval(one, 0.0, 4, half) for one in raw)]))


def test_the_interval_is_wider_than_it_need_be_where_odd_and_even_responses_differ_independently() -> None:
    """Three degrees of freedom for what has up to six: 0.83 where 0.68 is claimed, 0.99 where 0.95 is."""
    assert _two_sided_coverage(4000, HALF_68) == pytest.approx(0.83, abs=0.02)
    assert _two_sided_coverage(4000, HALF_95) == pytest.approx(0.99, abs=0.01)


def _map_store(toys: Any, seed: int) -> SimpleNamespace:
    """Three heads of a lifetime, thrown once, and of a map of five throws, each with a response of its own."""
    rows = [toys.nominal, *toys.unisims(["lifetime", "map"], {"map": 5})]
    rng = np.random.default_rng(seed)
    base, odd = rng.standard_normal((3, 1, 400)), COMMON[0] + rng.standard_normal((5, 3)) @ FACTOR
    z = np.array([[row.value.get("lifetime", 0.0), row.value.get("map", 0.0)] for row in rows])
    response = z[:, :1] * [0.5, 0.2, 0.1] + z[:, 1:] * odd[[row.throw for row in rows]]
    noise = 0.2 * rng.standard_normal((3, len(rows), 400)) * z.any(axis=1)[:, None]
    outputs = base + response.T[:, :, None] + noise
    return SimpleNamespace(
        datasets={f"t{i}": toys.dataset(one[None, None, :, :, None], rows) for i, one in enumerate(outputs)}
    )


def test_the_bias_step_tells_the_mean_response_and_the_maps_apart_and_counts_both_once(toys: Any) -> None:
    found = bias(_map_store(toys, 0), tasks={f"t{i}": Mean() for i in range(3)}, replicas=40)
    assert found.maps["nuisance"].tolist() == ["map"] * 3
    assert found.maps["throws"].tolist() == [5] * 3
    assert ((found.maps["lo"] < found.maps["between_maps"]) & (found.maps["between_maps"] < found.maps["hi"])).all()
    own = found.unisims[found.unisims["nuisance"] == "lifetime"]["odd"].to_numpy() ** 2
    parts = found.maps["mean_response"].to_numpy() + found.maps["between_maps"].to_numpy()
    key = ("foundation", 0, "none")
    np.testing.assert_allclose(np.diag(found.map_covariance[key]), found.maps["between_maps"], rtol=1e-12)
    np.testing.assert_allclose(own + parts, np.diag(found.covariance[key]), rtol=0.01)


def test_a_store_without_maps_has_an_empty_table_and_no_covariance_over_maps(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a"])]
    store = toys.linear(rows, np.ones((1, 2)), np.zeros((1, 2)), 50).responses(0)
    found = bias(store, tasks={"t0": Mean(), "t1": Mean()}, replicas=10)
    assert found.maps.empty
    assert not found.map_covariance["foundation", 0, "none"].any()


def test_one_throw_has_no_variance_and_the_number_that_is_needed_is_named() -> None:
    part = _part(np.random.default_rng(0), 1, False, (3,))
    with pytest.raises(DataError, match=r"'map' has 1 throw; .* at least 2, .*universes\.throws\.map=9"):
        map_covariance(part)
    with pytest.raises(DataError, match="at least 2 are needed"):
        map_interval(1.0, 0.0, 1)
