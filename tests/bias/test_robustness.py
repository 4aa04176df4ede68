"""Response curves, their scores, and ranks: exact on known curves, covering on noisy ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.excess import excess
from shiftlab.bias.multiway import estimate
from shiftlab.bias.robustness import leaderboard, ranks, relative_robustness, response_curve, scores
from shiftlab.errors import DataError

STRENGTH = np.array([-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0])


def _powers(*coefficients: float) -> np.ndarray:
    return np.array(coefficients)[:, None]


@settings(max_examples=30, deadline=None)
@given(*[st.floats(-2.0, 2.0)] * 4)
def test_the_fit_recovers_odd_and_even_parts(r: float, cubic: float, q: float, quartic: float) -> None:
    bias = (STRENGTH[:, None] ** np.array([1, 3, 2, 4])) @ _powers(r, cubic, q, quartic)
    curve = response_curve(STRENGTH, np.repeat(bias[None], 3, axis=0))
    assert curve.power.tolist() == [1, 3, 2, 4]
    np.testing.assert_allclose(curve.coefficient[0, :, 0], [r, cubic, q, quartic], atol=1e-8)
    np.testing.assert_allclose(curve.fitted(STRENGTH)[0], bias, atol=1e-7)


@given(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0))
def test_from_one_sigma_alone_the_fit_is_the_odd_and_the_even_response(up: float, down: float) -> None:
    curve = response_curve(np.array([1.0, -1.0]), np.full((3, 2, 1), 1.0) * np.array([[up], [down]]))
    np.testing.assert_allclose(curve.coefficient[0, :, 0], [(up - down) / 2.0, (up + down) / 2.0], atol=1e-12)
    assert curve.residual.tolist() == [0.0]


def test_a_bend_that_the_fit_cannot_follow_shows_in_the_residual() -> None:
    rng = np.random.default_rng(0)
    bias = np.abs(STRENGTH)[:, None] + 0.001 * STRENGTH[:, None] * rng.standard_normal((41, 1, 1))
    noise = 0.01 * rng.standard_normal((41, 8, 1))
    assert response_curve(STRENGTH, bias + noise).residual[0] > 5.0
    straight = STRENGTH[:, None] + noise + noise[0]
    assert response_curve(STRENGTH, straight).residual[0] < 5.0


def test_scores_of_a_straight_response_are_known() -> None:
    """|2 s| over -1..1 has area 2 and mean 1; the mean over universes is that of the points, the worst 2."""
    strength = np.array([-1.0, -0.5, 0.5, 1.0, 3.0])
    curve = response_curve(strength, np.full((4, 1, 1), 2.0) * strength[:, None])
    np.testing.assert_allclose(scores([curve], harm=["size"])[0, 0], [1.0, 1.5, 2.0])
    signed = scores([curve], harm=["loss"], sign=[1])
    np.testing.assert_allclose(signed[0, 0], [0.0, 0.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(scores([curve], harm=["size"], limit=3.0)[0, 0, 2], 6.0)


def test_a_null_shift_scores_exactly_zero() -> None:
    curve = response_curve(STRENGTH, np.zeros((2, 11, 8, 3)))
    assert not curve.coefficient.any()
    assert not curve.residual.any()
    found = scores([curve], harm=["size"] * 3)
    assert not found.any()
    whole = estimate(found[:, :, 0, 0])
    assert (whole.value, whole.error) == (0.0, 0.0)
    assert whole.interval() == (0.0, 0.0)


def _noisy(rng: np.random.Generator, size: float, noise: float, seeds: int, scatter: float) -> tuple[np.ndarray, ...]:
    """Return (seed, 1 + replica) areas of three nuisances and what they would be without events, mean over seeds."""
    slope = size * np.array([1.0, 0.6, 0.3])
    own = slope * (1.0 + scatter * rng.standard_normal((seeds, 1)))
    events = noise * rng.standard_normal((seeds, 61, 3))
    events += noise * rng.standard_normal((1, 61, 3))
    events[:, 1:] += events[:, :1]
    strength = np.array([-1.0, 1.0])
    odd, even = own[:, None, :] + events, 0.2 * size + 0.3 * events[..., ::-1]
    curves = [
        response_curve(strength, (odd[..., k, None] * strength + even[..., k, None])[..., None]) for k in range(3)
    ]
    return scores(curves, harm=["size"])[..., 0, 0], slope


def _covered(experiments: int, noise: float, scatter: float) -> list[float]:
    inside = []
    truth = 0.5 * np.mean([0.5 * (abs(r + 0.2) + abs(r - 0.2)) for r in (1.0, 0.6, 0.3)])
    for trial in range(experiments):
        area, _ = _noisy(np.random.default_rng((6, trial)), 1.0, noise, 5, scatter)
        found = estimate(area)
        inside.append([low <= truth <= high for low, high in (found.interval(), found.interval(HALF_95))])
    return np.mean(inside, axis=0).tolist()


def test_areas_cover_the_truth() -> None:
    """150 experiments: 3 binomial errors are 0.11 and 0.05."""
    shares = _covered(150, 0.02, 0.1)
    assert shares[0] == pytest.approx(2 * HALF_68, abs=0.12)
    assert shares[1] == pytest.approx(0.95, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "scatter", "conservative"), [(0.02, 0.1, False), (0.03, 0.0, True)])
def test_areas_cover_the_truth_in_two_thousand_experiments(noise: float, scatter: float, conservative: bool) -> None:
    shares = _covered(2000, noise, scatter)
    print(noise, scatter, shares)
    assert 2 * HALF_68 - 0.031 < shares[0] < 2 * HALF_68 + (0.08 if conservative else 0.031)
    assert 0.95 - 0.015 < shares[1] < 0.95 + (0.04 if conservative else 0.015)


def test_ranks_of_arms_that_cannot_be_told_apart_are_shared() -> None:
    value = np.array([1.0, 1.1, 5.0])
    found = ranks(value, 0.04 * np.eye(3), np.inf)
    assert found.tolist() == [[1, 1, 2], [2, 1, 2], [3, 3, 3]]
    exact = ranks(value, np.zeros((3, 3)), np.inf)
    assert exact.tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    assert ranks(np.ones(3), np.zeros((3, 3)), np.inf)[:, 1:].tolist() == [[1, 3]] * 3


def _ranks_held(experiments: int) -> float:
    """Return the share of experiments in which the true ranks of all arms, two of them equal, are in their sets."""
    truth, covariance = np.array([0.0, 0.0, 0.5, 2.0]), 0.1 * (np.eye(4) + 0.5)
    rng = np.random.default_rng(7)
    held = []
    for trial in range(experiments):
        found = ranks(rng.multivariate_normal(truth, covariance), covariance, np.inf, half=HALF_68, seed=trial)
        best = 1 + (truth[None] < truth[:, None]).sum(axis=1)
        worst = 4 - (truth[None] > truth[:, None]).sum(axis=1)
        held.append(((found[:, 1] <= best) & (found[:, 2] >= worst)).all())
    return float(np.mean(held))


def test_rank_sets_hold_all_true_ranks_at_once_or_more_often() -> None:
    """At least 68% (200 experiments, 3 binomial errors 0.1); more since far arms need no correction."""
    assert _ranks_held(200) > 2 * HALF_68 - 0.1


def test_an_arm_that_is_more_robust_and_more_correlated_is_shown_as_both() -> None:
    """The first arm moves half as far, but all of its tasks move together."""
    rng = np.random.default_rng(8)
    together, apart = 0.5 * np.ones((4, 3)), np.eye(4, 3) + 0.3
    response = np.stack([together, apart])[:, None, None] + 0.05 * rng.standard_normal((2, 6, 1, 4, 3))
    events = 0.02 * rng.standard_normal((2, 6, 61, 4, 3))
    events[:, :, 1:] += events[:, :, :1]
    rows = response + events
    correlated = excess(rows, ["a", "b", "c"])
    strength = np.array([-1.0, 1.0])
    curves = [response_curve(strength, rows[..., k, None, :] * strength[:, None]) for k in range(4)]
    area = scores(curves, harm=["size"] * 3)[..., 0].mean(axis=-1)
    robust = relative_robustness(area[0], area[1])
    assert correlated.claim
    assert correlated.rho.interval(HALF_95)[0] > 0.1
    assert robust.interval(HALF_95)[1] < 0.0
    named = {"shared": correlated.arm_rho, "own": correlated.minus_rho}
    table = leaderboard(area, ["shared", "own"], correlation=named)
    assert table["arm"].tolist() == ["shared", "own"]
    assert table["rank_hi95"].tolist() == [1, 2]
    assert table["rho"].iloc[0] > table["rho"].iloc[1] + 0.1
    assert table["flag"].tolist() == ["", ""]
    few = leaderboard(area[:, :3], ["shared", "own"])
    assert few["flag"].unique().tolist() == ["no claim: 3 seeds, 5 are needed"]


@pytest.mark.parametrize(
    ("strength", "bias", "message"),
    [
        ([1.0, 1.0], np.ones((3, 2, 1)), "each may be there once"),
        ([0.0, 1.0], np.ones((3, 2, 1)), "bias at strength 0 is not 0"),
        ([1.0], np.full((3, 1, 1), np.nan), "nuisance 'gain': 3 biases are not finite"),
        ([1.0, 2.0], np.ones((3, 3, 1)), "do not fit"),
    ],
)
def test_bad_curves_are_refused(strength: list[float], bias: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        response_curve(np.array(strength), bias, nuisance="gain")


def test_a_loss_needs_a_direction_and_a_nuisance_a_universe_within_the_limit() -> None:
    curve = response_curve(np.array([2.0]), np.ones((3, 1, 1)))
    with pytest.raises(DataError, match=r"needs sign \+1"):
        scores([curve], harm=["loss"])
    with pytest.raises(DataError, match=r"no universe within 1\.0 sigma"):
        scores([curve], harm=["size"])
