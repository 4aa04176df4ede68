"""Partition of the vertices: disjoint, deterministic, in the declared shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.templates.partition import keyed_uniform, partition

PINNED = np.array([0.4423300699960948, 0.4869240131118977, 0.6629943497595391])
UIDS = np.arange(200_000, dtype=np.int64) * 7 - 300_000


def test_shares_and_held_out_fraction_are_those_declared() -> None:
    parts = partition(("a", "b", "c"), {"a": 1.0, "b": 2.0, "c": 1.0}, 0.2, 0)
    shares = np.bincount(parts.channel(UIDS), minlength=3) / len(UIDS)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.005)
    assert parts.held_out(UIDS).mean() == pytest.approx(0.2, abs=0.005)


def test_held_out_part_is_independent_of_the_channel() -> None:
    """Held-out events follow the same channel rule as templates and data."""
    parts = partition(("a", "b"), None, 0.3, 1)
    held = parts.held_out(UIDS)
    assert parts.channel(UIDS)[held].mean() == pytest.approx(0.5, abs=0.01)


@given(hnp.arrays(np.int64, st.integers(1, 40)), st.integers(0, 2**31))
def test_a_vertex_keeps_its_place_whatever_stands_around_it(uids: np.ndarray, seed: int) -> None:
    """The draw is a function of (seed, purpose, uid) only: order and company do not matter."""
    order = np.random.default_rng(seed).permutation(len(uids))
    values = keyed_uniform(uids, seed, "channel")
    np.testing.assert_array_equal(keyed_uniform(uids[order], seed, "channel"), values[order])
    assert ((values >= 0.0) & (values < 1.0)).all()


def test_seed_and_purpose_give_independent_draws() -> None:
    one = keyed_uniform(UIDS, 0, "channel")
    for other in (keyed_uniform(UIDS, 1, "channel"), keyed_uniform(UIDS, 0, "hold-out")):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.01


def test_draws_are_pinned() -> None:
    """Another machine or version must not move a vertex to another channel."""
    np.testing.assert_array_equal(keyed_uniform(np.array([0, 1, -1]), 0, "channel"), PINNED)


def test_bad_shares_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'flavor'\. Did you mean 'flavour'"):
        partition(("flavour",), {"flavor": 1.0}, 0.2, 0)
    with pytest.raises(ConfigError, match="share is positive"):
        partition(("a", "b"), {"a": 0.0, "b": 1.0}, 0.2, 0)
    with pytest.raises(ConfigError, match="channel 'b' has no share"):
        partition(("a", "b"), {"a": 1.0}, 0.2, 0)
    with pytest.raises(ConfigError, match="no channels"):
        partition((), None, 0.2, 0)
    with pytest.raises(ConfigError, match=r"holdout = 1\.0"):
        partition(("a",), None, 1.0, 0)
