"""Matching on nominal performance: equal losses afterwards, nothing invented, and coverage of matched contrasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.bootstrap import HALF_68, HALF_95, poisson_weights
from shiftlab.bias.matching import match, matching_table, quantile_strata
from shiftlab.bias.multiway import estimate
from shiftlab.errors import ConfigError, DataError


def _weights(events: int, replicas: int, seed: int = 0) -> np.ndarray:
    weights = poisson_weights(np.arange(events, dtype=np.int64), range(replicas + 1), seed)
    weights[0] = 1.0
    return weights


def _arms(rng: np.random.Generator, events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return difficulty (event,), resolutions (arm, event) and squared residuals (arm, event, 1).

    The first arm is better on hard events, much worse on easy ones.
    """
    hard = rng.uniform(size=events)
    sigma = np.stack([1.4 - 0.3 * hard, 0.7 + 0.8 * hard])
    return hard, sigma, ((sigma * rng.standard_normal(sigma.shape)) ** 2)[:, :, None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3))
def test_after_matching_both_arms_resolve_every_task_equally_well(seed: int, tasks: int) -> None:
    rng = np.random.default_rng(seed)
    stratum = rng.integers(30, size=4000)
    spread = np.exp(0.5 * rng.standard_normal((2, 30, tasks)))
    loss = spread[:, stratum] * rng.standard_exponential((2, 4000, tasks))
    found = match(loss, stratum, np.arange(loss.shape[1]), _weights(4000, 5, seed), tasks=["a", "b", "c"][:tasks])
    np.testing.assert_allclose(found.after[0], found.after[1], rtol=1e-8)
    for replica in range(6):
        weight = found.weights(_weights(4000, 5, seed))[replica]
        if np.isfinite(weight).all():
            mean = np.einsum("e,aet->at", weight, loss) / weight.sum()
            np.testing.assert_allclose(mean[0], mean[1], rtol=1e-5)
    assert 0.0 < found.effective < 1.0


def test_arms_that_are_equal_already_keep_every_weight() -> None:
    rng = np.random.default_rng(0)
    loss = np.repeat(rng.standard_exponential((1, 500, 2)), 2, axis=0)
    weights = _weights(500, 4)
    stratum = rng.integers(2, size=500)
    found = match(loss, stratum, np.arange(loss.shape[1]), weights, tasks=["a", "b"])
    np.testing.assert_array_equal(found.weights(weights), weights)
    assert found.effective == pytest.approx(1.0)


def test_the_order_of_the_arms_does_not_matter() -> None:
    hard, _, loss = _arms(np.random.default_rng(1), 3000)
    stratum = quantile_strata(hard[:, None], 4)
    weights = _weights(3000, 3)
    one, other = (
        match(order, stratum, np.arange(order.shape[1]), weights, tasks=["a"]) for order in (loss, loss[::-1])
    )
    np.testing.assert_allclose(one.factor, other.factor, rtol=1e-6)


def test_what_was_dropped_is_reported_and_has_no_weight() -> None:
    hard, _, loss = _arms(np.random.default_rng(2), 2000)
    stratum = quantile_strata(hard[:, None], 8)
    stratum[:7] = 99
    weights = _weights(2000, 3)
    found = match(loss, stratum, np.arange(loss.shape[1]), weights, tasks=["a"])
    assert found.strata[found.dropped].tolist() == [99]
    assert found.kept == 1993
    assert not found.weights(weights)[:, :7].any()
    table = matching_table(found, ["a"], ["foundation", "scratch"])
    assert table["dropped_strata"].tolist() == [1, 1]
    assert table["after"].nunique() == 1 or abs(table["after"].diff().iloc[1]) < 1e-8
    assert table["before"].iloc[0] > 1.2 * table["before"].iloc[1]


def _contrast(rng: np.random.Generator, events: int, replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the arms' plain and matched difference of harm under a shift, each (1 + replica,).

    Harm is a function of how well an arm resolves an event, the same for both: neither arm is more robust than its
    performance makes it.
    """
    hard, sigma, loss = _arms(rng, events)
    harm = 0.5 * sigma**2 + 0.3 * rng.standard_normal(sigma.shape)
    weights = _weights(events, replicas, int(rng.integers(2**31)))
    stratum = quantile_strata(hard[:, None], 4)
    matched = match(loss, stratum, np.arange(loss.shape[1]), weights, tasks=["a"]).weights(weights)
    plain, equal = ((w @ (harm[0] - harm[1])) / w.sum(axis=1) for w in (weights, matched))
    return plain, equal


def test_harm_that_comes_of_performance_alone_vanishes_when_arms_are_matched() -> None:
    plain, equal = _contrast(np.random.default_rng(4), 20_000, 50)
    assert plain[0] > 10.0 * plain[1:].std()
    assert abs(equal[0]) < 3.0 * equal[1:].std()


def _covered(experiments: int, events: int, replicas: int) -> tuple[float, float, float]:
    """Return the shares of 68% and 95% intervals that hold the truth, and of experiments that have no match."""
    inside, refused = [], 0
    for trial in range(experiments):
        try:
            _, equal = _contrast(np.random.default_rng((5, trial)), events, replicas)
        except DataError:
            refused += 1
            continue
        found = estimate(equal[None])
        if np.isnan(found.error):
            refused += 1
            continue
        inside.append([low <= 0.0 <= high for low, high in (found.interval(), found.interval(HALF_95))])
    shares = np.mean(inside, axis=0)
    return float(shares[0]), float(shares[1]), refused / experiments


def test_matched_contrasts_cover_the_truth() -> None:
    """80 experiments: 3 binomial errors are 0.16 and 0.07."""
    shares = _covered(80, 2000, 40)
    assert shares[0] == pytest.approx(2 * HALF_68, abs=0.16)
    assert shares[1] == pytest.approx(0.95, abs=0.08)
    assert shares[2] < 0.1


@pytest.mark.slow
def test_matched_contrasts_cover_the_truth_in_two_thousand_experiments() -> None:
    shares = _covered(2000, 2000, 100)
    print(shares)
    assert 2 * HALF_68 - 0.031 < shares[0] < 2 * HALF_68 + 0.05
    assert 0.95 - 0.015 < shares[1] < 0.98
    assert shares[2] < 0.04


def test_arms_that_cannot_be_matched_are_refused_by_name() -> None:
    rng = np.random.default_rng(6)
    loss = rng.uniform(1.0, 2.0, (2, 400, 2))
    loss[1, :, 0] = loss[0, :, 0]
    loss[1, :, 1] *= 0.2
    with pytest.raises(DataError, match=r"task 'b': the second arm resolves better in all 2 strata"):
        match(loss, rng.integers(2, size=400), np.arange(loss.shape[1]), _weights(400, 3), tasks=["a", "b"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", r"2 of 100 events have a nominal loss that is not finite.*task 'a'"),
        ("few", "none of 50 strata has 100 events"),
    ],
)
def test_bad_input_is_refused(change: str, message: str) -> None:
    loss = np.random.default_rng(7).standard_exponential((2, 100, 1))
    stratum = np.arange(100) % (50 if change == "few" else 2)
    if change == "nan":
        loss[0, [3, 8], 0] = np.nan
    with pytest.raises(DataError, match=message):
        match(loss, stratum, np.arange(loss.shape[1]), _weights(100, 3), tasks=["a"])


def test_strata_are_equally_filled_cells_and_need_two_bins() -> None:
    cells = quantile_strata(np.random.default_rng(8).standard_normal((900, 2)), 3)
    assert np.bincount(cells).tolist() == pytest.approx([100] * 9, abs=35)
    with pytest.raises(ConfigError, match="2 or more"):
        quantile_strata(np.zeros((3, 1)), 1)
    with pytest.raises(DataError, match="1 of 3 events"):
        quantile_strata(np.array([[0.0], [np.nan], [1.0]]), 2)
