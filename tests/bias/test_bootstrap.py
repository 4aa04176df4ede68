"""Bootstrap weights are Poisson(1), independent, and belong to a vertex, not to a place in a file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shiftlab.bias.bootstrap import HALF_95, interval, known_interval, poisson_weights

VERTICES = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40, unique=True)


@given(VERTICES, st.integers(0, 2**31))
def test_weights_follow_the_vertex_through_any_permutation(uids: list[int], seed: int) -> None:
    vertex = np.array(uids, dtype=np.int64)
    shuffled = np.random.default_rng(len(uids)).permutation(len(uids))
    weights = poisson_weights(vertex, range(5), seed)
    np.testing.assert_array_equal(poisson_weights(vertex[shuffled], range(5), seed), weights[:, shuffled])


@given(VERTICES, st.integers(1, 9))
def test_weights_do_not_depend_on_how_events_and_replicas_are_chunked(uids: list[int], cut: int) -> None:
    vertex = np.array(uids, dtype=np.int64)
    whole = poisson_weights(vertex, range(10), 3)
    parts = [poisson_weights(piece, range(10), 3) for piece in np.array_split(vertex, cut)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(poisson_weights(vertex, range(cut, 10), 3), whole[cut:])


def test_events_of_one_vertex_share_their_weight() -> None:
    weights = poisson_weights(np.array([5, 9, 5], dtype=np.int64), range(50), 0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, 0] != weights[:, 1]).any()


def test_weights_are_poisson_with_mean_one() -> None:
    weights = poisson_weights(np.arange(50_000, dtype=np.int64), range(20), 1).ravel().astype(int)
    seen = np.bincount(np.minimum(weights, 7), minlength=8)
    probability = [math.exp(-1) / math.factorial(k) for k in range(7)]
    expected = np.array([*probability, 1.0 - sum(probability)]) * len(weights)
    assert stats.chisquare(seen, expected).pvalue > 1e-3


def test_neighbouring_vertices_replicas_and_seeds_are_uncorrelated() -> None:
    vertex = np.arange(200_000, dtype=np.int64)
    first, second = poisson_weights(vertex, range(2), 0)
    other = poisson_weights(vertex, range(1), 1)[0]
    for a, b in ((first, second), (first, other), (first[:-1], first[1:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.0 / math.sqrt(len(vertex))


def _mix(value: int) -> int:
    """SplitMix64's output function in Python integers, as Steele, Lea and Flood print it."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_weights_are_the_same_numbers_on_every_machine() -> None:
    vertex = [0, 1, -1, 2**62]
    weights = poisson_weights(np.array(vertex, dtype=np.int64), range(1, 4), 20260101)
    assert weights.tolist() == [[1.0, 1.0, 2.0, 0.0], [2.0, 0.0, 2.0, 0.0], [1.0, 2.0, 1.0, 0.0]]
    for replica in range(1, 4):
        for event, uid in enumerate(vertex):
            uniform = _mix(_mix(uid % 2**64) ^ _mix(_mix(20260101) ^ _mix(replica))) / 2**64
            assert weights[replica - 1, event] == stats.poisson.ppf(uniform, 1.0)


def test_interval_holds_the_asked_share_of_a_normal() -> None:
    normal = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    assert interval(normal) == pytest.approx((-1.0, 1.0), abs=1e-3)
    assert interval(normal, HALF_95) == pytest.approx((-1.95996, 1.95996), abs=1e-3)


def test_the_interval_of_a_statistic_that_some_replicas_lack_is_that_of_the_others():
    replicas = np.random.default_rng(0).normal(size=1000)
    some = np.append(replicas, np.full(20, np.nan))
    assert known_interval(some) == pytest.approx(tuple(float(end) for end in interval(replicas)))
    assert np.isnan(known_interval(np.append(replicas, np.full(100, np.nan)))).all()
    assert np.isnan(known_interval(np.full(10, np.nan))).all()


def test_a_percentile_interval_holds_one_more_draw_as_often_as_it_claims_also_of_few_replicas() -> None:
    """39 replicas and one more draw of the same law, 20,000 times: 3 binomial errors are 0.01 and 0.005."""
    drawn = np.random.default_rng(3).standard_normal((20_000, 40))
    for half, error in ((0.4, 0.0085), (HALF_95, 0.0047)):
        low, high = interval(drawn[:, 1:], half)
        share = ((low <= drawn[:, 0]) & (drawn[:, 0] <= high)).mean()
        assert share == pytest.approx(2.0 * half, abs=error)
