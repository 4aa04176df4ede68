"""Covariance under correlated priors: against exact moments, Monte Carlo, and the sum over independent nuisances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.covariance import Part
from shiftlab.bias.prior import parts_covariance, prior_covariance
from shiftlab.errors import DataError

PRIOR = np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]])


def _responses(seed: int, nuisances: int = 3, tasks: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((nuisances, tasks)), 0.5 * rng.standard_normal((nuisances, tasks))


def _drawn(
    odd: np.ndarray, even: np.ndarray, prior: np.ndarray, side: np.ndarray, seed: int, number: int
) -> np.ndarray:
    """Return the covariance of as many responses to draws from the prior."""
    z = np.random.default_rng(seed).standard_normal((number, len(prior))) @ np.linalg.cholesky(prior).T
    linear = np.where(side, np.abs(z), z) @ odd
    return np.cov((linear + (z**2 * ~side) @ even).T)


@pytest.mark.parametrize("side", [(False, False, False), (False, True, False), (True, True, False), (True, True, True)])
def test_the_closed_form_is_the_covariance_of_draws_from_the_prior(side: tuple[bool, ...]) -> None:
    """400,000 draws; five errors of the largest element, whose kurtosis is below 15 (a squared normal)."""
    odd, even = _responses(0)
    wanted = prior_covariance(odd, even, PRIOR, np.array(side))
    drawn = np.mean([_drawn(odd, even, PRIOR, np.array(side), seed, 100_000) for seed in range(4)], axis=0)
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs((drawn - wanted) / scale).max() < 5 * np.sqrt(15 / 400_000)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(-0.99, 0.99))
def test_two_correlated_nuisances_agree_with_quadrature(seed: int, rho: float) -> None:
    """Gauss-Hermite quadrature over independent normals is exact for these polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(nodes, nodes)], axis=1)
    weight = np.outer(weights, weights).ravel() / weights.sum() ** 2
    prior = np.array([[1.0, rho], [rho, 1.0]])
    odd, even = _responses(seed, 2, 3)
    z = grid @ np.linalg.cholesky(prior).T
    response = z @ odd + z**2 @ even
    centred = response - weight @ response
    np.testing.assert_allclose(prior_covariance(odd, even, prior), (centred * weight[:, None]).T @ centred, atol=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_it_is_a_covariance_whatever_the_responses(seed: int) -> None:
    odd, even = _responses(seed)
    side = np.random.default_rng(seed).random(3) < 0.5
    total = prior_covariance(odd, even, PRIOR, side)
    np.testing.assert_allclose(total, total.T, atol=1e-12)
    assert np.linalg.eigvalsh(total)[0] > -1e-9 * np.trace(total)


def test_two_nuisances_that_are_nearly_one_add_up_before_they_are_squared() -> None:
    """At full correlation (r1 + r2) z + (q1 + q2) z^2: one nuisance with the summed response."""
    odd, even = _responses(1, 2)
    full = np.ones((2, 2))
    one = prior_covariance(odd.sum(0, keepdims=True), even.sum(0, keepdims=True), np.eye(1))
    np.testing.assert_allclose(prior_covariance(odd, even, full), one, atol=1e-12)
    side = np.array([True, True])
    np.testing.assert_allclose(
        prior_covariance(odd, even, full, side), (1 - 2 / np.pi) * np.outer(odd.sum(0), odd.sum(0)), atol=1e-12
    )


def _parts(seed: int) -> list[Part]:
    """A plain nuisance, a frozen map of four throws, a one-sided and a mirrored one; (1 + 5 replicas, throw, task)."""
    rng = np.random.default_rng(seed)
    shapes = {"plain": 1, "map": 4, "sided": 1, "mirrored": 1}
    odd = {name: rng.standard_normal((6, throws, 3)) for name, throws in shapes.items()}
    even = {name: 0.3 * rng.standard_normal((6, throws, 3)) for name, throws in shapes.items()}
    even["sided"][:], even["mirrored"][:] = 0.0, 0.0
    return [Part(name, odd[name], even[name], name in ("sided", "mirrored"), name == "sided") for name in shapes]


def test_independent_nuisances_give_the_sum_of_their_parts() -> None:
    parts = _parts(0)
    wanted = np.sum([part.covariance for part in parts], axis=0)
    assert np.array_equal(parts_covariance(parts, np.eye(4)), wanted)
    single = [part for part in parts if part.odd.shape[1] == 1]
    odd, even = (np.stack([getattr(part, name)[:, 0] for part in single], axis=1) for name in ("odd", "even"))
    side = np.array([part.one_sided for part in single])
    np.testing.assert_allclose(
        prior_covariance(odd, even, np.eye(3), side), np.sum([part.covariance for part in single], axis=0), atol=1e-12
    )


def test_one_throw_each_gives_the_closed_form() -> None:
    parts = [part for part in _parts(1) if part.odd.shape[1] == 1]
    odd, even = (np.stack([getattr(part, name)[:, 0] for part in parts], axis=1) for name in ("odd", "even"))
    side = np.array([part.one_sided for part in parts])
    np.testing.assert_allclose(parts_covariance(parts, PRIOR), prior_covariance(odd, even, PRIOR, side), atol=1e-12)


def test_a_frozen_map_moves_with_another_nuisance_by_what_all_maps_have_in_common() -> None:
    """Draws of sizes and of one of the four maps; without the spread of q over maps, which is another term."""
    parts = [part for part in _parts(2) if part.nuisance in ("plain", "map")]
    parts[1] = Part("map", parts[1].odd, np.repeat(parts[1].even[:, :1], 4, axis=1), False)
    prior = np.array([[1.0, 0.7], [0.7, 1.0]])
    rng = np.random.default_rng(0)
    z = rng.standard_normal((400_000, 2)) @ np.linalg.cholesky(prior).T
    drawn = rng.integers(4, size=len(z))
    bias = z[:, :1] * parts[0].odd[0] + z[:, :1] ** 2 * parts[0].even[0]
    bias += z[:, 1:] * parts[1].odd[0][drawn] + z[:, 1:] ** 2 * parts[1].even[0][drawn]
    wanted = parts_covariance(parts, prior)[0]
    scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs((np.cov(bias.T) - wanted) / scale).max() < 5 * np.sqrt(15 / len(z))


def test_a_prior_of_other_nuisances_is_refused() -> None:
    odd, even = _responses(0)
    with pytest.raises(DataError, match=r"3 nuisances .* prior of shape \(2, 2\)"):
        prior_covariance(odd, even, np.eye(2))
    with pytest.raises(DataError, match="no nuisance has universes"):
        parts_covariance([], np.eye(0))
