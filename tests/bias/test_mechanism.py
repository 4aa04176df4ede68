"""Mechanism of a shared body: a linear head is explained in full, another head is not, and intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.mechanism import fraction_interval, mechanism, mechanism_table, predicted_bias
from shiftlab.errors import DataError

HEADS = np.array([[1.0, 0.5, 0.0, 0.3], [0.8, -0.2, 0.6, 0.0], [0.2, 0.9, 0.4, -0.5]])
PULL = np.array([[0.8, 0.3, -0.2, 0.5], [0.1, -0.6, 0.7, 0.2]])
"""(nuisance, feature): how the features move."""


def _toy(
    rng: np.random.Generator, universes: int, own: float, noise: float = 0.05, replicas: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """Return biases and feature displacements; ``own`` is the part of each bias that the features do not make."""
    z = rng.standard_normal((universes, 2))
    events = rng.standard_normal((1 + replicas, 2, 4)) * noise
    events[1:] += events[0]
    displacement = z @ (PULL + events)
    alone = rng.standard_normal((1 + replicas, universes, 3)) * noise
    alone[1:] += alone[0]
    elsewhere = own * rng.standard_normal((universes, 3))
    return predicted_bias(displacement, HEADS) + elsewhere + alone * (own > 0.0), displacement


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(6, 20), st.booleans())
def test_a_known_linear_map_explains_everything_whatever_the_events(seed: int, universes: int, drawn: bool) -> None:
    bias, displacement = _toy(np.random.default_rng(seed), universes, own=0.0, noise=0.02)
    found = mechanism(bias, displacement, HEADS, block=np.arange(universes) if drawn else None)
    assert found.explained.value == pytest.approx(1.0, abs=1e-6)
    assert found.explained.error < 1e-5
    for slope in found.slope:
        assert slope.value == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(found.predicted, found.covariance, atol=1e-9)


def test_the_prediction_is_the_head_weights_on_the_covariance_of_the_features() -> None:
    bias, displacement = _toy(np.random.default_rng(1), 2000, own=0.0, noise=0.0)
    found = mechanism(bias, displacement, HEADS, block=np.arange(2000))
    moment = displacement[0].T @ displacement[0] / 2000
    np.testing.assert_allclose(found.predicted, HEADS @ moment @ HEADS.T, rtol=1e-9)
    np.testing.assert_allclose(found.predicted, HEADS @ PULL.T @ PULL @ HEADS.T, rtol=0.15, atol=0.05)


def test_heads_of_another_body_are_not_explained() -> None:
    """Weights of heads that were not trained on these features: nothing is explained, or less than nothing."""
    rng = np.random.default_rng(2)
    bias, displacement = _toy(rng, 200, own=0.0)
    fractions = [
        mechanism(bias, displacement, rng.permuted(HEADS, axis=1), block=np.arange(200)).explained.value
        for _ in range(20)
    ]
    assert max(fractions) < 0.97
    assert np.median(fractions) < 0.5
    stranger = mechanism(bias, displacement, np.zeros_like(HEADS), block=np.arange(200))
    assert stranger.explained.value == pytest.approx(0.0, abs=1e-12)


def test_a_head_twice_as_steep_has_slope_one_half_and_is_not_called_explained() -> None:
    bias, displacement = _toy(np.random.default_rng(3), 50, own=0.0)
    found = mechanism(bias, displacement, 2.0 * HEADS)
    assert [slope.value for slope in found.slope] == pytest.approx([0.5] * 3)
    assert found.explained.value == pytest.approx(-2.0)
    table = mechanism_table(found, ["a", "b", "c"])
    assert table["task"].tolist() == ["covariance matrix", "all", "a", "b", "c"]
    assert table["slope"].iloc[2:].tolist() == pytest.approx([0.5] * 3)


def _covered(experiments: int, universes: int, own: float) -> np.ndarray:
    """Return the shares of 68% and 95% intervals of (matrix, total, task by task) that hold the truth, (2, 3)."""
    moment = HEADS @ PULL.T @ PULL @ HEADS.T
    total = moment + own**2 * np.eye(3)
    matrix = 1.0 - np.linalg.norm(total - moment) / np.linalg.norm(total)
    fractions = (1.0 - 3.0 * own**2 / np.trace(total), *(1.0 - own**2 / np.diag(total)))
    inside = []
    for trial in range(experiments):
        bias, displacement = _toy(np.random.default_rng((4, trial)), universes, own)
        found = mechanism(bias, displacement, HEADS, block=np.arange(universes))
        levels = []
        for half in (HALF_68, HALF_95):
            low, high = fraction_interval(found.explained, half)
            ends = [fraction_interval(one, half) for one in (found.explained_total, *found.explained_task)]
            held = [a <= value <= b for (a, b), value in zip(ends, fractions, strict=True)]
            levels.append([low <= matrix <= high, held[0], np.mean(held[1:])])
        inside.append(levels)
    return np.mean(inside, axis=0)


def test_intervals_cover_the_fraction_explained() -> None:
    """150 experiments: 3 binomial errors are 0.11 and 0.05."""
    shares = _covered(150, 60, 0.5)
    assert shares[0] == pytest.approx([0.72, 0.683, 0.683], abs=0.12)
    assert shares[1] == pytest.approx([0.95, 0.95, 0.95], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("universes", [16, 32, 100])
def test_intervals_cover_the_fraction_explained_in_two_thousand_experiments(universes: int) -> None:
    shares = _covered(2000, universes, 0.5)
    print(universes, shares.round(3).tolist())
    assert shares[0, 1:] == pytest.approx([0.683, 0.683], abs=0.035)
    assert shares[1, 1:] == pytest.approx([0.95, 0.95], abs=0.018)


def test_bad_input_is_refused() -> None:
    bias, displacement = _toy(np.random.default_rng(5), 10, own=0.1)
    with pytest.raises(DataError, match=r"head weights \(task, feature\)"):
        mechanism(bias, displacement, HEADS.T)
    still = bias * np.array([1.0, 0.0, 1.0])
    with pytest.raises(DataError, match="task 'b': the bias is 0 in all universes"):
        mechanism(still, displacement, HEADS, tasks=["a", "b", "c"])
    displacement[0, 3, 2] = np.nan
    with pytest.raises(DataError, match="1 feature displacements are not finite"):
        mechanism(bias, displacement, HEADS)
