"""Calibration error against Guo's definition, bin by bin, and of models whose calibration is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.tasks.calibration import BINS, accuracy, binned_excess, calibration_error, expected_error


def by_definition(probability, right, weights):
    """Sum over bins of their share of the calls times |accuracy - confidence| (arXiv:1706.04599, eq. 3)."""
    total = 0.0
    for place in range(BINS):
        last = place == BINS - 1
        inside = (probability * BINS >= place) & ((probability * BINS < place + 1) | last)
        if weights[inside].sum() > 0:
            share = weights[inside].sum() / weights.sum()
            gap = np.average(right[inside], weights=weights[inside]) - np.average(
                probability[inside], weights=weights[inside]
            )
            total += share * abs(gap)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_error_is_that_of_the_definition(calls):
    probability, right, weights = (np.array(column) for column in zip(*calls, strict=True))
    if weights.sum() == 0:
        assert np.isnan(expected_error(np.zeros(BINS), np.array(0.0)))
        return
    found = calibration_error(probability, right, weights[None].astype(float))
    assert found[0] == pytest.approx(by_definition(probability, right, weights.astype(float)), abs=1e-12)


def test_sums_per_event_give_the_error_of_any_bootstrap():
    rng = np.random.default_rng(1)
    probability, right, event = rng.uniform(0.2, 1, 500), rng.random(500) < 0.6, np.sort(rng.integers(0, 20, 500))
    weights = rng.poisson(1.0, (7, 20)).astype(float)
    excess = binned_excess(*(torch.from_numpy(column) for column in (probability, right, event)), 20).numpy()
    calls = np.bincount(event, minlength=20)
    np.testing.assert_allclose(
        expected_error(weights @ excess, weights @ calls), calibration_error(probability, right, weights[:, event])
    )


def test_a_calibrated_model_has_a_small_error_and_a_boastful_one_its_boast():
    rng = np.random.default_rng(2)
    probability = rng.uniform(0.5, 1.0, 40_000)
    one = np.ones((1, len(probability)))
    honest = rng.random(len(probability)) < probability
    assert calibration_error(probability, honest, one)[0] < 0.01
    boast = rng.random(len(probability)) < probability - 0.2
    assert calibration_error(probability, boast, one)[0] == pytest.approx(0.2, abs=0.015)
    assert accuracy(boast, one)[0] == pytest.approx(0.55, abs=0.01)
