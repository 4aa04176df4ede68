"""Bin edges: equal shares of the expectation, open outer bins, merging of thin bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.errors import ConfigError, DataError
from shiftlab.templates.binning import bin_number, check_edges, merge_bins, quantile_edges


def test_quantile_edges_share_the_summed_expectation() -> None:
    values = np.arange(1000.0)
    weights = np.where(values < 500, 1.0, 3.0)
    edges = quantile_edges(values, weights, 4)
    counts = np.bincount(bin_number(values, edges), weights=weights)
    np.testing.assert_allclose(counts, 500.0, rtol=0.01)


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-20, 20).map(float)),
    st.integers(1, 5),
)
def test_edges_increase_and_no_event_sits_on_an_inner_edge(values: np.ndarray, bins: int) -> None:
    edges = quantile_edges(values, np.ones_like(values), bins)
    assert (np.diff(edges) > 0).all()
    assert 2 <= len(edges) <= bins + 1
    assert not np.isin(edges[1:-1], values).any()
    assert (np.bincount(bin_number(values, edges), minlength=len(edges) - 1) > 0).all()


def test_one_value_gives_one_bin() -> None:
    edges = quantile_edges(np.full(5, 3.0), np.ones(5), 3)
    assert len(edges) == 2
    assert edges[0] < 3.0 < edges[1]


def test_outer_bins_hold_underflow_and_overflow() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    np.testing.assert_array_equal(bin_number(np.array([-9.0, 0.5, 1.0, 1.5, 99.0]), edges), [0, 0, 1, 1, 1])


def test_thin_bins_join_their_thinner_neighbour() -> None:
    values = np.repeat([0.5, 1.5, 2.5, 3.5], [30, 2, 10, 30])
    edges, merges = merge_bins(values, np.ones(len(values)), np.arange(5.0), 5.0, "merge", "energy")
    np.testing.assert_array_equal(edges, [0.0, 1.0, 3.0, 4.0])
    assert [(merge.edge, merge.effective) for merge in merges] == [(2.0, 2.0)]


def test_merging_stops_at_one_bin() -> None:
    edges, merges = merge_bins(np.array([0.5]), np.ones(1), np.arange(4.0), 100.0, "merge", "energy")
    np.testing.assert_array_equal(edges, [0.0, 3.0])
    assert len(merges) == 2


def test_policy_error_refuses_empty_bins_and_keeps_thin_ones() -> None:
    edges, merges = merge_bins(np.array([0.5, 1.5]), np.ones(2), np.arange(3.0), 50.0, "error", "energy")
    assert len(edges) == 3
    assert merges == ()
    with pytest.raises(DataError, match="channel 'energy': bin 1 expects no events"):
        merge_bins(np.array([0.5]), np.ones(1), np.arange(3.0), 1.0, "error", "energy")


def test_bad_edges_are_refused() -> None:
    for bad in ([1.0], [1.0, 1.0], [0.0, np.inf], [2.0, 1.0]):
        with pytest.raises(ConfigError, match=r"templates\.edges\.energy"):
            check_edges(bad, "energy")
    with pytest.raises(DataError, match="no selected event"):
        quantile_edges(np.array([]), np.array([]), 2)
    with pytest.raises(ConfigError, match="bins = 0"):
        quantile_edges(np.ones(3), np.ones(3), 0)
