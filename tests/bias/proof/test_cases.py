"""The synthetic responses have the truth that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.proof.cases import CASES, NUISANCES, Case, draw


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_moments_of_the_features_are_those_of_the_prior(case: Case) -> None:
    """Closed forms against 200,000 draws of the prior."""
    z = case.nuisances(np.random.default_rng(0), (200_000, NUISANCES))
    features = case.features(z)
    second = features.T @ features / len(features)
    np.testing.assert_allclose(features.mean(axis=0), case.first, atol=0.02)
    np.testing.assert_allclose(np.diag(second), case.second, rtol=0.04)
    biases = features @ case.mean_response
    scale = np.abs(np.diag(case.joint_covariance("mean"))).max()
    np.testing.assert_allclose(np.cov(biases.T), case.joint_covariance("mean"), atol=0.03 * scale)
    about_nominal = biases.T @ biases / len(biases)
    np.testing.assert_allclose(about_nominal, case.joint_covariance("nominal"), atol=0.03 * scale)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_draws_scatter_about_the_true_biases_with_the_error_of_their_events(case: Case) -> None:
    drawn = draw(case, 200, 40, (1,))
    truth = case.unisim().reshape(-1, 3)
    found = drawn.unisim[:, 0]
    error = found.std(axis=0, ddof=1)
    assert (np.abs(found.mean(axis=0) - truth) < 4.5 * error / np.sqrt(200)).all()
    spread = np.sqrt(drawn.unisim[:, 1:].var(axis=1, ddof=1).mean(axis=0))
    np.testing.assert_allclose(spread, error, rtol=0.25)
    np.testing.assert_allclose(drawn.means[:, 0], drawn.response.mean(axis=1), atol=1e-12)


def test_copies_are_copies_event_by_event_and_the_same_seed_gives_the_same_draw() -> None:
    case = next(case for case in CASES if case.copies)
    one, again, other = (draw(case, 3, 20, seed) for seed in ((2, 0), (2, 0), (2, 1)))
    np.testing.assert_allclose(one.response[..., 1], 2.0 * one.response[..., 0])
    np.testing.assert_allclose(one.joint("pairs")[..., 2], -one.joint("pairs")[..., 0])
    np.testing.assert_array_equal(one.means, again.means)
    assert not np.array_equal(one.means, other.means)


def test_antithetic_pairs_are_mirrored_and_weights_are_shared_by_tasks_and_universes() -> None:
    drawn = draw(CASES[0], 4, 25, (3,))
    pairs = drawn.joint("pairs")
    assert pairs.shape == (4, 26, CASES[0].universes, 3)
    np.testing.assert_allclose(pairs[:, :, 0::2], -pairs[:, :, 1::2], atol=1e-12)
    np.testing.assert_allclose(drawn.weights.sum(axis=1), 1.0)
    up, down = drawn.unisim[:, :, 0::2], drawn.unisim[:, :, 1::2]
    np.testing.assert_allclose(up, -down, atol=1e-12)
