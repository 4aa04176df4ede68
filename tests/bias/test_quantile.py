"""Quantiles of weighted events: equal to those of a full sort, for every set of weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias import bias
from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.quantile import Quantile, Width68, weighted_quantiles
from shiftlab.errors import ConfigError
from shiftlab.tasks.quantiles import weighted_quantile

HALF = 0.341344746068543


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**31), st.booleans())
def test_a_window_gives_what_a_full_sort_gives(events: int, level: float, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((3, events))
    if ties:
        values = np.round(values)
    weights = poisson_weights(np.arange(events) // 2, range(8), seed)
    weights *= rng.exponential(size=events) * np.exp(values[0])  # weights that move the quantile far from its rank
    (found,) = weighted_quantiles(values, weights, (level,))
    np.testing.assert_allclose(found, weighted_quantile(values, weights, level), rtol=1e-9, atol=1e-12)


def test_a_replica_far_from_the_others_is_found_too() -> None:
    """All weight of one replica lies where the window of the others is not."""
    values = np.linspace(0.0, 1.0, 2001)
    weights = np.ones((3, 2001))
    weights[1, :1900] = 0.0
    weights[2] = 0.0
    (found,) = weighted_quantiles(values, weights, (0.5,))
    np.testing.assert_allclose(found, [0.5, 0.975, np.nan])


def test_widths_and_medians_of_a_normal() -> None:
    x = 3.0 + 2.0 * np.random.default_rng(0).standard_normal((1, 20_000, 2))
    truth, weights = np.full((20_000, 1), 2.0), np.ones((1, 20_000))
    assert Width68().score(x, truth, weights)[0, 0] == pytest.approx(2.0, rel=0.03)
    assert Quantile(column=1).score(x, truth, weights)[0, 0] == pytest.approx(3.0, abs=0.06)
    assert Width68(relative_to=0).score(x, truth, weights)[0, 0] == pytest.approx(1.0, rel=0.03)
    assert Quantile(column=1).event_spread(x[0], truth, weights[0]) == pytest.approx(2.0, rel=0.03)
    assert (Quantile().statistic, Quantile(level=0.9).statistic) == ("median", "90% quantile")


def test_a_resolution_is_a_statistic_whose_bias_is_quoted(toys: Any) -> None:
    """A smearing by 0.75 makes a width of 1.25; a shift moves the median and no width."""
    rng = np.random.default_rng(3)
    base, smear = rng.standard_normal((2, 4000))
    rows = [toys.nominal, *toys.unisims(["a"])]
    outputs = np.stack([base, base + 0.75 * smear, base + 0.3])[None, None, ..., None]
    data = toys.dataset(outputs, rows)
    tasks = {"width": Width68(), "median": Quantile()}
    table = bias(SimpleNamespace(datasets=dict.fromkeys(tasks, data)), tasks=tasks, replicas=40).table
    value = table.set_index(["task", "direction"])["bias"]
    assert value["width", 1] == pytest.approx(0.25, abs=0.06)
    assert value["width", -1] == pytest.approx(0.0, abs=1e-12)
    assert value["median", -1] == pytest.approx(0.3, abs=1e-12)


def test_a_level_that_is_no_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"quantile level 68: allowed is a number between 0 and 1"):
        Quantile(level=68)
