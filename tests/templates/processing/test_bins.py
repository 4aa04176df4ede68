"""Thin bins join, empty ones are raised, and predictions below zero are found; each with its record."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.templates.processing import norm_shape
from shiftlab.templates.processing.bins import FLOOR, floor_bins, join_bins, positivity

COUNTS = hnp.arrays(np.float64, st.integers(1, 8), elements=st.integers(0, 30).map(float))


@given(COUNTS)
def test_every_bin_ends_with_enough_events_or_all_are_one(counts: np.ndarray) -> None:
    """Unweighted events: n_eff = n, so that the rule is ten events."""
    joined = join_bins(counts, counts)
    edges = np.delete(np.arange(len(counts) + 1), [one.edge for one in joined])
    left = np.add.reduceat(counts, edges[:-1])
    assert left.sum() == counts.sum()
    assert len(left) == 1 or left.min() >= 10.0
    assert all(one.effective < 10.0 for one in joined)
    assert 0 not in [one.edge for one in joined]


def test_the_thinnest_bin_joins_its_thinner_neighbour() -> None:
    joined = join_bins(np.array([40.0, 3.0, 12.0, 50.0]), np.array([40.0, 3.0, 12.0, 50.0]))
    assert [(one.edge, one.effective) for one in joined] == [(2, 3.0)]
    weighted = join_bins(np.array([40.0, 40.0]), np.array([40.0, 400.0]))
    assert [one.effective for one in weighted] == [4.0]


def test_the_floor_is_put_where_there_is_nothing_and_only_there() -> None:
    nominal, up = np.array([[0.0, 5.0]]), np.array([[[3.0, 0.0]]])
    found = floor_bins(nominal, up, up.copy())
    np.testing.assert_array_equal(found.nominal, [[FLOOR, 5.0]])
    np.testing.assert_array_equal(found.up, [[[3.0, FLOOR]]])
    np.testing.assert_array_equal(found.raised, [[True, False]])
    assert found.added.sum() == FLOOR


def test_predictions_below_zero_are_found_at_three_sigma() -> None:
    """An additive shift of -40% reaches -20% at three sigma; a yield factor never does."""
    nominal = np.array([[10.0, 100.0]])
    up, down = nominal * [0.6, 1.04], nominal * [1.4, 0.96]
    found = positivity(nominal, up, down, [norm_shape(nominal[0], up[0], down[0])])
    assert {strength: bool(bad.any()) for strength, bad in found.items()} == {
        -3.0: False,
        -1.0: False,
        1.0: False,
        3.0: True,
    }
    np.testing.assert_array_equal(found[3.0], [True, False])
    up, down = 0.6 * nominal, 1.4 * nominal
    assert not any(
        bad.any() for bad in positivity(nominal, up, down, [norm_shape(nominal[0], up[0], down[0])]).values()
    )
