"""The fit's derivatives, its minimum in the linear limit, shrinkage and posterior against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shiftlab.bias.covariance import Part
from shiftlab.bias.placement import observe, place, task_interaction
from shiftlab.bias.placement.fit import fit, hessian, jacobian, objective, whiten
from shiftlab.bias.placement.goodness import noncentrality_limit
from shiftlab.bias.placement.posterior import _chains, posterior, quantiles
from shiftlab.bias.placement.shrink import shrunk

SIZE = 7


@pytest.fixture(scope="module")
def case(world: Any) -> tuple[Any, np.ndarray]:
    """A whitened model and a whitened sample."""
    library = world.library(world.events(6000, np.random.default_rng(0)))
    sample = observe(library.summaries, world.data(np.random.default_rng(1), {"gain": 1.0, "noise": -1.0}))
    white = whiten(shrunk(world.model(library, sample)), np.zeros(SIZE))
    return white, white.transform @ sample


def test_derivatives_are_those_of_finite_differences(case: tuple[Any, np.ndarray]) -> None:
    white, observed = case
    theta = fit(white, observed[None], np.zeros((1, SIZE))).theta[0] + 0.1
    step = 1e-3
    shift = np.eye(SIZE) * step
    expected, slopes = jacobian(white, theta[None])
    up, down = (jacobian(white, theta + sign * shift)[0] for sign in (1.0, -1.0))
    np.testing.assert_allclose(slopes[0], (up - down) / (2.0 * step), atol=1e-4)
    value = float(((observed - expected[0]) ** 2).sum() + (theta**2).sum())
    assert objective(white, observed[None], theta[None])[0] == pytest.approx(value)

    def gradient(at: np.ndarray) -> np.ndarray:
        mean, slope = jacobian(white, at[None])
        return at - slope[0] @ (observed - mean[0])

    differences = np.stack([(gradient(theta + one) - gradient(theta - one)) / (2.0 * step) for one in shift])
    curvature = hessian(white, observed, theta)
    np.testing.assert_allclose(curvature, differences, rtol=1e-4, atol=1e-3)


def test_the_fit_ends_where_the_gradient_vanishes(case: tuple[Any, np.ndarray]) -> None:
    white, observed = case
    starts = np.random.default_rng(3).normal(0.0, 1.0, (8, SIZE))
    found = fit(white, np.repeat(observed[None], 8, axis=0), starts)
    assert found.converged.all()
    expected, slopes = jacobian(white, found.theta)
    gradient = found.theta - np.einsum("tpj,tj->tp", slopes, observed - expected)
    scale = np.sqrt(np.einsum("tpj,tpj->tp", slopes, slopes) + 1.0)
    assert (np.abs(gradient) < 0.01 * scale).all()
    assert found.objective.max() < objective(white, observed[None], np.zeros((1, SIZE)))[0]


def test_a_response_that_turns_back_gives_two_places_and_the_interval_holds_both(worlds: Any) -> None:
    """With an even response as large as the odd one, z and -1 - z look the same."""
    world = worlds(even=1.0)
    library = world.library(world.events(20_000, np.random.default_rng(8)))
    sample = observe(library.summaries, world.data(np.random.default_rng(9), {"noise": 0.6}, events=4000.0))
    placed = place(world.model(library, sample, 4000.0), sample, toys=0)
    k = placed.parameters.index("noise")
    assert len(placed.other) >= 1
    both = sorted([placed.value[k], placed.other[0, k]])
    assert both == pytest.approx([-1.6, 0.6], abs=0.4)
    assert placed.interval[0, k] < -1.4
    assert placed.interval[3, k] > 0.4


def test_weighted_draws_have_the_moments_and_the_quantiles_of_a_normal(case: tuple[Any, np.ndarray]) -> None:
    """At the expectation of nominal the posterior is close to the normal of the Hessian."""
    white, _ = case
    nominal = jacobian(white, np.zeros((1, SIZE)))[0][0]
    drawn = posterior(white, nominal, np.zeros((1, SIZE)))
    assert drawn.effective > 0.5
    closed = np.sqrt(np.diag(np.linalg.inv(drawn.hessian)))
    np.testing.assert_allclose(np.sqrt(np.diag(drawn.covariance)), closed, rtol=0.15)
    rng = np.random.default_rng(4)
    values = rng.standard_normal((40_000, 1)) * 2.0
    # Draws of twice the width, weighted back to a standard normal.
    weight = np.exp(-(values[:, 0] ** 2) * 3.0 / 8.0)
    low95, low, high, high95 = quantiles(values, weight / weight.sum())[:, 0]
    assert (low95, low, high, high95) == pytest.approx((-1.96, -1.0, 1.0, 1.96), abs=0.05)


def test_chains_have_the_moments_of_weighted_draws(case: tuple[Any, np.ndarray]) -> None:
    """The same posterior by both ways: means within 0.12 and spreads within 10% of each other."""
    white, observed = case
    best = fit(white, observed[None], np.zeros((1, SIZE))).theta
    drawn = posterior(white, observed, best)
    assert drawn.effective > 0.3
    chains = _chains(white, observed, drawn, 5)
    mean, spread = drawn.weight @ drawn.theta, np.sqrt(np.diag(drawn.covariance))
    np.testing.assert_allclose(chains.theta.mean(axis=0), mean, atol=0.12)
    np.testing.assert_allclose(chains.theta.std(axis=0), spread, rtol=0.1)


def test_responses_that_are_noise_alone_are_shrunk_to_nothing_and_strong_ones_are_kept(world: Any) -> None:
    """3,000 simulated events: the even responses of gain and threshold are noise; the odd one of threshold is not."""
    library = world.library(world.events(3000, np.random.default_rng(5)))
    sample = observe(library.summaries, world.data(np.random.default_rng(6), {}))
    model = world.model(library, sample)
    before, after = (np.einsum("cuj->uj", one.library.total[:, 0]) for one in (model, shrunk(model)))
    white = whiten(model, np.zeros(SIZE)).transform
    size = np.linalg.norm(before @ white.T, axis=1), np.linalg.norm(after @ white.T, axis=1)
    threshold = 1 + 2 * library.nuisances.index("threshold")
    assert size[1][threshold] > 0.9 * size[0][threshold]
    assert size[1][2] < 0.6 * size[0][2]
    np.testing.assert_array_equal(after[0], before[0])


def test_the_noncentrality_limit_is_that_of_a_single_normal() -> None:
    """One summary at 3 standard deviations: the upper limit on its mean is 3 + 1.645 at 95%."""
    assert np.sqrt(noncentrality_limit(9.0, 1, 0.95)) == pytest.approx(3.0 + 1.645, abs=0.01)
    assert noncentrality_limit(0.1, 20, 0.68) == 0.0


def test_what_tasks_do_together_is_what_their_responses_leave_over() -> None:
    rng = np.random.default_rng(7)
    odd, even = rng.standard_normal((2, 2, 3))
    parts = [Part(name, odd[None, k : k + 1], even[None, k : k + 1], False) for k, name in enumerate("ab")]
    z = rng.standard_normal((2000, 2))
    additive = z @ odd + z**2 @ even
    values = {"a": z[:, 0], "b": z[:, 1]}
    np.testing.assert_allclose(task_interaction(parts, additive[None], values), 0.0, atol=1e-12)
    product = (z[:, 0] * z[:, 1])[:, None] * np.array([1.0, 2.0, 0.0])
    found = task_interaction(parts, (additive + product)[None], values)
    np.testing.assert_allclose(found, np.outer([1, 2, 0], [1, 2, 0]), atol=0.35)
    assert not task_interaction(parts, additive[None, :0], {}).any()


def test_noise_and_maps_that_have_terms_of_their_own_are_no_interaction() -> None:
    """400 universes of two noisy tasks, one moved by a map thrown anew in each; variances 1 of noise, 1 of the map."""
    rng = np.random.default_rng(8)
    throws = np.stack([rng.standard_normal((1, 50)), np.zeros((1, 50))], axis=2)
    maps = Part(
        "map", np.repeat(throws - throws.mean(axis=1, keepdims=True), 201, axis=0), np.zeros((201, 50, 2)), False
    )
    z = rng.standard_normal(400)
    noise = rng.standard_normal((201, 400, 2))
    noise[1:] += noise[:1]
    moved = z[:, None] * np.stack([rng.standard_normal(400), np.zeros(400)], axis=1)
    found = task_interaction([maps], noise + moved, {"map": z})
    assert np.diag(found) == pytest.approx([0.0, 0.0], abs=0.35)
    raw = ((noise + moved)[0] ** 2).mean(axis=0)
    assert raw == pytest.approx([2.0, 1.0], abs=0.5)
