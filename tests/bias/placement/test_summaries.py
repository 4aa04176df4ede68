"""Summaries add up over events, know nothing of labels, and refuse what they cannot sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.bias.placement import choose_summaries
from shiftlab.errors import ConfigError, DataError


def _columns(seed: int, events: int = 500) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"charge": rng.gamma(3.0, 1.0, events), "count": rng.poisson(4.0, events).astype(float)}


@given(st.integers(0, 2**31), st.integers(1, 499))
def test_the_summaries_of_a_mixture_are_the_sums_of_its_parts(seed: int, cut: int) -> None:
    columns = _columns(seed)
    summaries = choose_summaries(columns)
    parts = [
        summaries.values({name: column[side] for name, column in columns.items()}).sum(axis=0)
        for side in (slice(None, cut), slice(cut, None))
    ]
    np.testing.assert_allclose(sum(parts), summaries.values(columns).sum(axis=0), rtol=1e-10, atol=1e-9)


def test_bins_of_a_smooth_column_have_equal_content() -> None:
    columns = _columns(1, 6000)
    summaries = choose_summaries(columns, bins=6, powers=1)
    total = dict(zip(summaries.names, summaries.values(columns).sum(axis=0), strict=True))
    assert total["events"] == 6000
    assert [total[f"charge bin {b}"] for b in range(2, 7)] == [1000.0] * 5
    assert abs(total["charge power 1"]) < 300.0


def test_bins_follow_the_weights_that_make_the_simulation_look_like_data() -> None:
    columns = {"charge": np.arange(1000.0)}
    weight = np.where(columns["charge"] < 500.0, 3.0, 1.0)
    summaries = choose_summaries(columns, weight, bins=2)
    assert summaries.edges[0] == pytest.approx([333.0], abs=1.0)


def test_a_count_of_few_values_gets_fewer_bins_and_a_flag_one_edge() -> None:
    flag = {"selected": np.array([0.0, 1.0] * 50)}
    assert choose_summaries(flag, bins=6).edges[0].tolist() == [0.5]


def test_events_that_are_not_finite_are_counted_and_named() -> None:
    columns = _columns(2)
    columns["charge"][[3, 7]] = np.nan
    with pytest.raises(DataError, match=r"'charge': 2 of 500 events are not finite \(events 3, 7\)"):
        choose_summaries(columns)


def test_what_cannot_be_summarised_is_refused() -> None:
    with pytest.raises(DataError, match="no label-free column"):
        choose_summaries({})
    with pytest.raises(DataError, match="'flat' has the value 2 in every event"):
        choose_summaries({"flat": np.full(10, 2.0)})
    with pytest.raises(ConfigError, match="2 or more bins"):
        choose_summaries(_columns(0), bins=1)
    with pytest.raises(DataError, match=r"columns \['count'\] are missing"):
        choose_summaries(_columns(0)).values({"charge": np.ones(3)})
    with pytest.raises(DataError, match="one per event"):
        choose_summaries({"a": np.arange(3.0), "b": np.arange(4.0)})
