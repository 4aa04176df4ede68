"""Biases in units of the result: the first-order shift of mu is what a refit of the shifted spectrum finds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias.currency import in_parameter
from shiftlab.errors import DataError
from shiftlab.fit import fit
from shiftlab.fit.parameter import parameter_shifts
from shiftlab.templates import Observation, Templates

Build = Callable[..., Templates]

TWO = {
    "flavour": [[400.0, 800.0, 1600.0], [3000.0, 1500.0, 600.0]],
    "energy": [[900.0, 1100.0, 800.0], [1500.0, 2000.0, 1600.0]],
}


def shifted(build: Build, scale: float = 1.0) -> Templates:
    """Two nuisances of half a percent; the second is a throw of two, whose templates hold 1/sqrt 2 of the shift."""
    rng = np.random.default_rng(1)
    effects = {name: 0.005 * rng.normal(size=(2, 6)) for name in ("gain_scale", "map_1")}
    made = build(TWO, {name: (shift, -shift) for name, shift in effects.items()}, mc=1e-4)
    about = {name: {"up": f"{name}+1", "down": f"{name}-1", "scale": scale} for name in effects}
    four = {name: np.zeros_like(one) for name, one in made.covariance.items()}
    for one in four.values():
        bins = np.arange(one.shape[-1])
        for side in range(2):
            one[:, :, side, bins, side, bins] = 4.0
    return replace(made, covariance=four, record={"variations": about})


def test_first_order_shift_is_that_of_a_refit(build: Build) -> None:
    """Only the channel's spectrum is replaced; the shift of mu in the refit agrees within the curvature."""
    templates = shifted(build)
    table = parameter_shifts([templates], [fit(templates, refits=0)]).set_index(["task", "universe"])
    for channel in templates.channels:
        counts = templates.expected.copy()
        bins = templates.slice(channel)
        counts[bins] = templates.up[0].sum(axis=0)[bins]
        zero = np.zeros_like(counts)
        observations = {**templates.observations, "held_out": Observation("held_out", "x", counts, zero, zero, {})}
        moved = fit(replace(templates, observations=observations), refits=0).fits["held_out"].mu - 1.0
        assert table.loc[(channel, "gain_scale+1"), "parameter_shift"] == pytest.approx(moved, rel=0.03, abs=1e-5)
        assert table.loc[(channel, "gain_scale-1"), "parameter_shift"] == pytest.approx(-moved, rel=0.05, abs=1e-5)


def test_the_error_is_that_of_independent_bins(build: Build) -> None:
    """Four events^2 in each of two samples: sqrt(8 sum slope^2)."""
    templates = shifted(build)
    result = fit(templates, refits=0)
    row = parameter_shifts([templates], [result]).query("task == 'energy'").iloc[0]
    slope = result.response.query("channel == 'energy'")["dmu_dn"]
    assert row["parameter_error"] == pytest.approx(np.sqrt(8.0 * (slope**2).sum()))


def test_a_throw_of_several_counts_whole(build: Build) -> None:
    """A map's templates hold 1/sqrt(throws) of its shift, its universe the whole of it."""
    one, half = (parameter_shifts([t], [fit(t, refits=0)]) for t in (shifted(build), shifted(build, 0.5)))
    assert half["parameter_shift"].to_numpy() == pytest.approx(2.0 * one["parameter_shift"].to_numpy())


def test_odd_and_even_parts_are_put_together_again(build: Build) -> None:
    """up = odd + even and down = -odd + even: each universe has one row, and the shift of the unsplit variation."""
    rng = np.random.default_rng(4)
    odd, even = 0.004 * rng.normal(size=(2, 2, 6))
    whole = build(TWO, {"noise": (odd + even, -odd + even)}, mc=1e-4)
    sides = {"up": "noise+1", "down": "noise-1", "scale": 1.0}
    whole = replace(whole, record={"variations": {"noise": sides}})
    root = np.sqrt(2.0)
    split = build(TWO, {"noise": (odd, -odd), "noise_even": (root * even, -root * even)}, mc=1e-4)
    parts = {"noise": {**sides, "part": "odd"}, "noise_even": {**sides, "part": "even", "factor": root}}
    parts["noise_even"]["even_part_of"] = "noise"
    split = replace(split, record={"variations": parts})
    result = fit(split, refits=0)
    one, two = (parameter_shifts([t], [replace(result, response=result.response)]) for t in (whole, split))
    keys = ["task", "universe"]
    assert len(two) == len(one) == 4
    pd.testing.assert_series_equal(
        one.set_index(keys)["parameter_shift"].sort_index(), two.set_index(keys)["parameter_shift"].sort_index()
    )


def test_shifts_of_another_fit_are_refused(build: Build) -> None:
    """Templates of one arm with the fit of another would be silently wrong."""
    templates = shifted(build)
    with pytest.raises(DataError, match="hand in pairs"):
        parameter_shifts([replace(templates, arm="classic")], [fit(templates, refits=0)])


def test_shifts_find_their_rows() -> None:
    """Rows without a shift keep what they had; shifts without a row are left out; two for one row are refused."""
    keys = {"arm": "a", "seed": 0, "recalibrate": "none", "task": "energy"}
    table = pd.DataFrame([{**keys, "universe": u, "parameter_shift": np.nan, "parameter_error": np.nan} for u in "xy"])
    shifts = pd.DataFrame([{**keys, "universe": u, "parameter_shift": 0.5, "parameter_error": 0.1} for u in "yz"])
    found = in_parameter(table, shifts)
    assert found["parameter_shift"].isna().tolist() == [True, False]
    assert found["parameter_error"].iloc[1] == 0.1
    with pytest.raises(DataError, match="universe y"):
        in_parameter(table, pd.concat([shifts, shifts.iloc[:1]]))
