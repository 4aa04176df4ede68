"""What the bias step refuses, each through ``bias`` itself: the message names task, universe and event keys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.bias import Mean, bias
from shiftlab.errors import DataError

EVENTS = 24
MEANS = {"energy": Mean(), "flavour": Mean()}


def _rows(toys: Any) -> list[Any]:
    return [toys.nominal, *toys.unisims(["gain", "noise"])]


def _datasets(toys: Any, rows: list[Any] | None = None) -> dict[str, xr.Dataset]:
    """Two tasks of the same events."""
    rows = _rows(toys) if rows is None else rows
    rng = np.random.default_rng(0)
    shape = (1, 1, len(rows), EVENTS, 1)
    return {task: toys.dataset(rng.standard_normal(shape), rows) for task in MEANS}


def _bias(datasets: dict[str, xr.Dataset]) -> Any:
    return bias(SimpleNamespace(datasets=datasets), tasks=MEANS, replicas=4)


def _refused(datasets: dict[str, xr.Dataset], *words: str) -> None:
    """Expect one refusal in which all these words stand."""
    with pytest.raises(DataError) as caught:
        _bias(datasets)
    for word in words:
        assert word in str(caught.value)


def test_what_is_not_broken_is_taken(toys: Any) -> None:
    assert len(_bias(_datasets(toys)).table) == 2 * 4


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bad=st.dictionaries(st.integers(0, EVENTS - 1), st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1, max_size=9),
    universe=st.integers(0, 4),
    task=st.sampled_from(list(MEANS)),
)
def test_responses_that_are_not_finite_are_counted_and_named(
    toys: Any, bad: dict[int, float], universe: int, task: str
) -> None:
    """Any number of events, in any universe and task; at most five keys are listed."""
    datasets = _datasets(toys)
    for event, value in bad.items():
        datasets[task]["output"][0, 0, universe, event, 0] = value
    keys = [str(10_000 + event) for event in sorted(bad)]
    listed = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
    where = f"task '{task}', arm 'foundation', seed 0, universe '{_rows(toys)[universe].name}'"
    _refused(datasets, f"{where}: {len(bad)} of {EVENTS} evaluated events", f"(event keys {listed})")


def test_a_statistic_that_needs_all_events_at_once_counts_them_too(toys: Any) -> None:
    rows = _rows(toys)
    logits = np.random.default_rng(0).standard_normal((1, 1, len(rows), EVENTS, 1))
    logits[0, 0, 3, [4, 9, 20], 0] = np.nan
    data = toys.dataset(logits, rows, truth=(np.arange(EVENTS)[:, None] % 2).astype(float))
    message = r"task 'flavour', .*universe 'noise\+1_throw0': 3 of 24 .*\(event keys 10004, 10009, 10020\)"
    with pytest.raises(DataError, match=message):
        bias(SimpleNamespace(datasets={"flavour": data}), tasks=["flavour"])


def test_fewer_joint_universes_than_an_interval_needs_are_said_with_the_number_that_is_needed(toys: Any) -> None:
    """The rest of the record is there; only what cannot be told is missing, and its note says how many are needed."""
    rows = [*_rows(toys), *toys.joints(["gain", "noise"], 1, 0)]
    found = _bias(_datasets(toys, rows))
    assert found.joint_correlation["rho"].isna().all()
    assert found.joint_correlation["note"].str.contains("need at least 2 antithetic pairs; the responses hold 1").all()
    assert found.joint_correlation["note"].str.contains("universes.joint=4 makes 2").all()


def test_a_nuisance_without_universes_at_one_sigma_is_refused(toys: Any) -> None:
    rows = [toys.nominal, toys.row("gain+2", "unisim", {"gain": 2.0}), toys.row("gain-2", "unisim", {"gain": -2.0})]
    _refused(_datasets(toys, rows), "nuisance 'gain' has universes at [-2.0, 2.0] sigma, but none at +1 or -1")


def test_a_store_without_nominal_is_refused(toys: Any) -> None:
    _refused(_datasets(toys, toys.unisims(["gain"])), "0 nominal universes", "gain+1_throw0, gain-1_throw0")


def test_a_task_without_variance_is_refused(toys: Any) -> None:
    datasets = _datasets(toys)
    datasets["flavour"]["output"][:] = 0.25
    _refused(datasets, "task 'flavour', arm 'foundation', seed 0", "mean is 0.25 in every bootstrap replica")


def test_a_task_that_no_universe_moves_is_kept_but_correlates_with_nothing(toys: Any) -> None:
    datasets = _datasets(toys)
    datasets["flavour"]["output"][:] = datasets["flavour"]["output"][:, :, :1].values
    found = _bias(datasets)
    assert (found.table.loc[found.table["task"] == "flavour", "bias"] == 0.0).all()
    assert (found.correlation["flag"] == "unreliable").all()


@pytest.mark.parametrize("name", ["arm", "seed", "universe", "event"])
def test_nothing_is_paired_by_place_where_a_name_or_key_is_missing(toys: Any, name: str) -> None:
    """xarray would count 0, 1, 2, ... and so join events or universes of different files in silence."""
    datasets = _datasets(toys)
    datasets["flavour"] = datasets["flavour"].drop_vars(name)
    _refused(datasets, f"task 'flavour': the responses have no coordinate '{name}'", "never by place")


def test_universes_of_different_events_that_were_joined_are_refused(toys: Any) -> None:
    """The union of the events of two files is filled with NaN: counted, and named by key."""
    datasets = _datasets(toys)
    data = datasets["energy"]
    first, second = data.isel(universe=slice(0, 3)), data.isel(universe=slice(3, 5), event=slice(2, None))
    together = {"dim": "universe", "data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "outer"}
    datasets["energy"] = xr.concat([first, second], **together)
    _refused(datasets, "task 'energy'", "universe 'noise+1_throw0': 2 of 24", "(event keys 10000, 10001)")
    datasets["energy"] = xr.concat([second, first], **together)
    _refused(datasets, "task 'energy': 2 of 24 events have no evaluated (event keys 10000, 10001)")


def test_records_of_events_that_differ_between_universes_are_refused(toys: Any) -> None:
    datasets = _datasets(toys)
    data = datasets["energy"]
    datasets["energy"] = data.assign(truth=data["truth"].expand_dims(universe=data["universe"]))
    _refused(
        datasets, "task 'energy': 'truth' is over ('universe', 'event', 'truth_column')", "one value for each event"
    )


@pytest.mark.parametrize(("column", "name"), [("vertex_uid", "vertex"), ("sample", "simulated sample")])
def test_tasks_whose_common_keys_are_other_events_are_refused(toys: Any, column: str, name: str) -> None:
    datasets = _datasets(toys)
    other = datasets["flavour"][column].values.copy()
    other[[3, 5]] = other[[3, 5]] + 1 if column == "vertex_uid" else "nue_cc"
    datasets["flavour"] = datasets["flavour"].assign_coords({column: ("event", other)})
    words = f"tasks 'energy' and 'flavour': 2 of 24 common events have another {name}"
    _refused(datasets, words, "(event keys 10003, 10005)")


def test_tasks_may_evaluate_different_events_and_share_the_weights_of_those_in_common(toys: Any) -> None:
    """Half of the keys in common, in another order: the same biases as each task alone."""
    datasets = _datasets(toys)
    datasets["flavour"] = datasets["flavour"].isel(event=np.arange(EVENTS)[::-2])
    together = _bias(datasets).table.set_index(["task", "universe"])
    for task in MEANS:
        own = bias(SimpleNamespace(datasets={task: datasets[task]}), tasks={task: Mean()}, replicas=4).table
        expected = own.set_index(["task", "universe"])[["bias", "bias_error"]]
        np.testing.assert_allclose(together.loc[expected.index, ["bias", "bias_error"]], expected, rtol=1e-9)


@pytest.mark.parametrize("axis", ["arm", "seed", "universe"])
def test_tasks_of_other_arms_seeds_or_universes_are_refused(toys: Any, axis: str) -> None:
    datasets = _datasets(toys)
    names = datasets["flavour"][axis].values.copy()
    names[-1] = 7 if axis == "seed" else "other"
    datasets["flavour"] = datasets["flavour"].assign_coords({axis: names})
    _refused(datasets, f"tasks 'energy' and 'flavour' differ in their {axis}s")


def test_an_event_listed_twice_is_refused(toys: Any) -> None:
    datasets = _datasets(toys)
    key = datasets["flavour"]["event"].values.copy()
    key[4] = key[9]
    datasets["flavour"] = datasets["flavour"].assign_coords(event=key)
    _refused(datasets, "task 'flavour': event key 10009 is in the responses 2 times")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(1, 4), by_name=st.booleans())
def test_a_universe_listed_twice_is_refused(toys: Any, place: int, by_name: bool) -> None:
    """Under its own name, or as another name for the same shift."""
    rows = _rows(toys)
    again = rows[place] if by_name else toys.row("again", "unisim", rows[place].value)
    words = (
        f"universe '{rows[place].name}' is in the responses twice"
        if by_name
        else f"universes '{rows[place].name}' and 'again' are the same universe, listed twice"
    )
    _refused(_datasets(toys, [*rows, again]), words)


@pytest.mark.parametrize("name", ["vertex_uid", "weight", "truth"])
def test_events_without_a_record_are_counted_and_named(toys: Any, name: str) -> None:
    datasets = _datasets(toys)
    data = datasets["energy"]
    values = data[name].values.astype(np.float64)
    values[[1, 2]] = np.nan
    datasets["energy"] = data.assign({name: (data[name].dims, values)})
    _refused(datasets, f"task 'energy': 2 of 24 events have no {name} (event keys 10001, 10002)")


def test_a_universe_of_unknown_strength_is_refused(toys: Any) -> None:
    datasets = _datasets(toys)
    for data in datasets.values():
        data["nuisance_value"][2, 0] = np.nan
    _refused(datasets, "task 'energy', universe 'gain-1_throw0': the value of nuisance 'gain' is not finite")


def test_a_missing_variable_is_named(toys: Any) -> None:
    datasets = _datasets(toys)
    datasets["flavour"] = datasets["flavour"].drop_vars("vertex_uid")
    _refused(datasets, "task 'flavour': the responses have no 'vertex_uid'")
