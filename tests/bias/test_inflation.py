"""Combination inflation: closed forms, and the coverage of its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.covariance import systematic
from shiftlab.bias.inflation import inflation, inflation_interval
from shiftlab.bias.joint_moments import event_moments, joint_moments
from shiftlab.errors import DataError

ODD = np.array([[0.8, 0.6, 0.1], [0.4, -0.3, 0.7], [0.3, 0.5, 0.5], [0.2, 0.2, -0.4]])
WEIGHTS = np.array([1.0, 0.5, 2.0])


def test_copies_add_up_and_independent_tasks_do_not() -> None:
    assert inflation(np.ones((4, 4)), np.ones(4)) == pytest.approx(4.0)
    assert inflation(np.diag([1.0, 2.0, 3.0]), WEIGHTS) == pytest.approx(1.0)
    assert inflation(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones(2)) == pytest.approx(0.0)
    assert np.isnan(inflation(np.zeros((2, 2)), np.ones(2)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100.0))
def test_it_does_not_depend_on_the_units_of_the_weights_or_the_tasks(seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((3, 5))
    covariance, weights, scale = matrix @ matrix.T, rng.standard_normal(3), rng.uniform(0.1, 10.0, 3)
    kappa = inflation(covariance, weights)
    assert inflation(unit * covariance, -2.0 * weights) == pytest.approx(kappa)
    assert inflation(covariance * scale[:, None] * scale, weights / scale) == pytest.approx(kappa)
    assert -1e-9 <= kappa <= 3.0 + 1e-9


def _covered(level: float, experiments: int) -> float:
    rng = np.random.default_rng(4)
    truth = float(inflation(ODD.T @ ODD, WEIGHTS))
    inside = []
    for _ in range(experiments):
        displacement = rng.standard_normal((1, 32, 4)) @ ODD
        moments = joint_moments(displacement, [(i,) for i in range(32)], "independent", "nominal")
        found = inflation_interval(moments, WEIGHTS, level)
        inside.append(found.low[0] <= truth <= found.high[0])
    return float(np.mean(inside))


@pytest.mark.parametrize(("level", "most"), [(0.683, 0.84), (0.95, 1.0)])
def test_the_interval_over_universes_covers(level: float, most: float) -> None:
    assert level - 3.0 * (level * (1.0 - level) / 300) ** 0.5 < _covered(level, 300) < most


@pytest.mark.slow
@pytest.mark.parametrize(("level", "most"), [(0.683, 0.80), (0.95, 0.99)])
def test_the_interval_over_universes_covers_in_2000_experiments(level: float, most: float) -> None:
    share = _covered(level, 2000)
    print(f"inflation, 32 universes, {level}: {share:.3f}")
    assert level - 0.01 < share < most


def test_one_nuisance_universes_give_an_interval_over_events() -> None:
    rng = np.random.default_rng(1)
    odd = ODD + 0.05 * rng.standard_normal((401, 4, 3))
    moments = event_moments([systematic(np.swapaxes(odd, 1, 2) @ odd)])
    found = inflation_interval(moments, WEIGHTS)
    spread = inflation(moments.replicas[0], WEIGHTS).std(ddof=1)
    assert found.universe_error[0] == 0.0
    assert (found.high[0] - found.low[0]) / 2.0 == pytest.approx(spread, rel=0.1)


def test_bad_weights_are_refused() -> None:
    for weights in (np.ones(2), np.zeros(3), np.array([1.0, np.nan, 1.0])):
        with pytest.raises(DataError, match="one finite weight for each of 3 tasks"):
            inflation(np.eye(3), weights)
    moments = joint_moments(np.zeros((1, 16, 3)), [(i,) for i in range(16)], "independent")
    with pytest.raises(DataError, match="nothing to combine"):
        inflation_interval(moments, WEIGHTS)
