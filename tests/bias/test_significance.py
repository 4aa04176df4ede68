"""Significance: p-values are uniform where nothing is biased, and false discoveries stay within what is stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from shiftlab.bias.significance import holm, joint, p_values, q_values, z_values
from shiftlab.errors import DataError

PROBABILITIES = arrays(np.float64, st.integers(1, 30), elements=st.floats(0.0, 1.0))


def _binomial(share: float, trials: int) -> float:
    """Three standard errors of a share."""
    return 3.0 * float(np.sqrt(share * (1.0 - share) / trials))


def test_z_is_bias_over_error_and_0_for_a_universe_that_equals_the_nominal() -> None:
    found = z_values(np.array([2.0, -3.0, 0.0, 0.1, -0.1]), np.array([1.0, 2.0, 0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(found, [2.0, -1.5, 0.0, np.inf, -np.inf])
    np.testing.assert_allclose(p_values(found), [0.04550026389635842, stats.norm.sf(1.5) * 2, 1.0, 0.0, 0.0])


@pytest.mark.parametrize("replicas", [5, 20, 200])
def test_p_values_of_an_error_from_few_replicas_are_uniform(replicas: int) -> None:
    """Student's t; a normal would call 12% of the cells of 5 replicas unlikely at 5%."""
    rng = np.random.default_rng(0)
    trials = 20_000
    error = rng.standard_normal((trials, replicas)).std(axis=1, ddof=1)
    z = z_values(rng.standard_normal(trials), error)
    for level in (0.05, 0.32):
        assert np.mean(p_values(z, replicas - 1) < level) == pytest.approx(level, abs=_binomial(level, trials))
    if replicas == 5:
        assert np.mean(p_values(z) < 0.05) > 0.1


@given(PROBABILITIES)
def test_adjusted_p_values_keep_their_order_and_are_never_smaller(p: np.ndarray) -> None:
    for adjusted in (holm(p), q_values(p)):
        assert (adjusted >= p - 1e-15).all()
        assert (adjusted <= 1.0).all()
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0.0).all()
    assert (holm(p) >= q_values(p) - 1e-12).all()


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    """Their 1995 example: 15 p-values, of which four are rejected at a false discovery rate of 5%."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]
    q = q_values(np.array([*p, 1.0]))
    assert (q <= 0.05).sum() == 4
    assert q[0] == pytest.approx(0.0015, rel=1e-6)
    assert q[3] == pytest.approx(0.0095 * 15 / 4, rel=1e-6)


def test_holm_of_a_worked_example() -> None:
    """Four p-values: 0.005 x 4, 0.01 x 3, then 0.03 x 2 = 0.06, which 0.04 x 1 may not undercut."""
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_false_discoveries_stay_within_the_stated_rate() -> None:
    """Tables of 10 tasks x 20 shifts with correlated tasks, a quarter of the shifts real at 4 sigma: the false share of
    cells with q < 0.1 is at most 0.1 x the share of true nulls (independent shifts); without one real shift, the chance
    of any cell at q < 0.1 or Holm < 0.1 is at most 0.1."""
    rng = np.random.default_rng(1)
    trials, tasks, shifts = 500, 10, 20
    noise = rng.standard_normal((trials, shifts, tasks)) + rng.standard_normal((trials, shifts, 1))
    noise /= np.sqrt(2.0)
    real = np.arange(shifts) < shifts // 4
    false, family, discovery = [], 0, 0
    moved, still = p_values(noise + 4.0 * real[:, None]), p_values(noise)
    for shifted, unmoved in zip(moved, still, strict=True):
        q = q_values(shifted.ravel()).reshape(shifted.shape) < 0.1
        false.append(q[~real].sum() / max(1, q.sum()))
        null = unmoved.ravel()
        family += int((holm(null) < 0.1).any())
        discovery += int((q_values(null) < 0.1).any())
    assert np.mean(false) <= 0.1 * 0.75 + 3.0 * np.std(false) / np.sqrt(trials)
    assert np.mean(false) > 0.04  # a control that never rejects would pass the line above
    assert family / trials <= 0.1 + _binomial(0.1, trials)
    assert discovery / trials <= 0.1 + _binomial(0.1, trials)


def _covariance(tasks: int, rho: float) -> np.ndarray:
    scale = np.geomspace(1e-3, 1e3, tasks)  # tasks have any units
    matrix: np.ndarray = (np.eye(tasks) * (1.0 - rho) + rho) * np.outer(scale, scale)
    return matrix


@pytest.mark.parametrize("replicas", [8, 30, None])
def test_joint_p_values_are_uniform_where_no_task_is_biased(replicas: int | None) -> None:
    rng = np.random.default_rng(2)
    truth = _covariance(5, 0.7)
    trials = 1000
    root = np.linalg.cholesky(truth)
    found = []
    for _ in range(trials):
        bias = root @ rng.standard_normal(5)
        known = truth if replicas is None else np.cov(root @ rng.standard_normal((5, replicas)))
        found.append(joint(bias, known, None if replicas is None else replicas - 1).p)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    for level in (0.05, 0.32):
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=_binomial(level, trials))


def test_a_copy_of_a_task_changes_nothing() -> None:
    bias, covariance = np.array([0.3, -2.0, 1.0]), np.eye(3) + 0.3
    twice = np.array([0, 1, 2, 1])
    once, copied = joint(bias, covariance), joint(bias[twice], covariance[np.ix_(twice, twice)])
    assert copied.statistic == pytest.approx(once.statistic, rel=1e-9)
    assert copied.freedom == once.freedom == 3


def test_what_moves_without_error_is_certain_and_what_stays_says_nothing() -> None:
    covariance = np.diag([1.0, 0.0])
    still = joint(np.array([1.0, 0.0]), covariance)
    assert (still.statistic, still.freedom) == (pytest.approx(1.0), 1)
    assert still.p == pytest.approx(float(p_values(np.array(1.0))))
    assert joint(np.array([1.0, 0.1]), covariance).p == 0.0
    assert joint(np.zeros(2), np.zeros((2, 2))).p == 1.0
    copies = np.ones((2, 2))
    assert joint(np.array([1.0, 2.0]), copies).statistic == np.inf  # their difference does not vary, yet it moves


def test_fewer_replicas_than_tasks_are_refused() -> None:
    with pytest.raises(DataError, match="joint significance of 5 tasks needs at least 6 bootstrap replicas, not 5"):
        joint(np.ones(5), np.eye(5), 4)
