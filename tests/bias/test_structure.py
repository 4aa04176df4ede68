"""Structure of the tasks' covariance in the tables: copies are one task, independent tasks many, modes have names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias import Bias, Mean, bias

TASKS = {f"t{i}": Mean() for i in range(3)}


def _found(toys: Any, odd: np.ndarray, joints: int) -> Bias:
    """Three tasks that respond linearly to two nuisances, with joint universes in antithetic pairs."""
    rows = [toys.nominal, *toys.unisims(["a", "b"]), *toys.joints(["a", "b"], joints, 0)]
    return bias(toys.linear(rows, odd, np.zeros((2, 3)), 400).responses(0), tasks=TASKS, replicas=60)


def _value(found: Bias, measure: str, source: str) -> Any:
    table = found.structure
    (row,) = table[(table["measure"] == measure) & (table["source"] == source)].itertuples()
    return row


def test_copies_are_one_task_and_their_sum_is_inflated_by_their_number(toys: Any) -> None:
    found = _found(toys, np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]), 16)
    for source in ("unisims", "joint universes"):
        assert _value(found, "effective number of tasks", source).value == pytest.approx(1.0, abs=0.05)
        assert _value(found, "inflation of the sum", source).value == pytest.approx(3.0, abs=0.15)
    assert found.joint_correlation["rho"].to_numpy() == pytest.approx(1.0, abs=0.05)


def test_tasks_of_different_nuisances_are_independent(toys: Any) -> None:
    """t0 hangs on a alone, t1 on b alone; t2 does not move, is not reliable and does not count."""
    found = _found(toys, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 0)
    row = _value(found, "effective number of tasks", "unisims")
    assert (row.tasks, row.note) == ("t0, t1", "")
    assert row.lo <= row.value <= row.hi
    assert row.value == pytest.approx(2.0, abs=0.1)
    assert _value(found, "inflation of the sum", "unisims").value == pytest.approx(1.0, abs=0.1)
    assert found.joint_correlation.empty


def test_too_few_joint_universes_say_how_many_are_needed(toys: Any) -> None:
    found = _found(toys, np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]), 4)
    assert "8 are needed" in _value(found, "inflation of the sum", "joint universes").note
    assert found.joint_correlation["note"].str.contains("8 are needed").all()


def test_a_mode_is_named_by_its_nuisance_and_loads_the_tasks_that_it_moves(toys: Any) -> None:
    found = _found(toys, np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 1.0]]), 0)
    first = found.modes[found.modes["mode"] == 1].set_index("task")
    assert set(first["name"].str.split().str[0]) == {"a"}
    assert (first.loc[["t0", "t1"], "lo"] > 0.0).all()
    assert abs(first.loc["t2", "loading"]) < 0.2 * first.loc["t0", "loading"]


def test_what_tasks_share_is_counted_once_in_their_joint_significance(toys: Any) -> None:
    """t1 is a copy of t0 and adds nothing; the shift moves t0 and t2, the other universe only scatters events."""
    rows = [toys.nominal, *toys.unisims(["a"])]
    noise = np.random.default_rng(4).normal(0.0, 0.3, (3, 3, 200))
    noise[:, 0] = 0.0
    noise += np.random.default_rng(5).normal(size=(3, 1, 200))
    moved = np.array([0.0, 1.0, 0.0])[:, None]
    values = [moved * size + noise[t] for t, size in enumerate((0.5, 0.5, 0.2))]
    values[1] = values[0]
    tasks = {f"t{t}": toys.dataset(values[t][None, None, :, :, None], rows) for t in range(3)}
    table = bias(SimpleNamespace(datasets=tasks), tasks=TASKS, replicas=60).joint_significance.set_index("universe")
    assert (table["tasks"] == 2).all()
    assert table.loc["a+1_throw0", "p_value"] < 1e-6
    assert table.loc["a-1_throw0", "p_value"] > 1e-3
    assert (table["q_value"] >= table["p_value"]).all()
    assert (table["holm"] >= table["q_value"] - 1e-12).all()


def test_a_bias_moves_a_parameter_by_its_slope(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a"])]
    store = toys.linear(rows, np.array([[1.0, 0.5]]), np.zeros((1, 2)), 100).responses(0)
    table = bias(store, tasks={"t0": Mean(), "t1": Mean()}, replicas=20, slopes={"t0": -2.0}).table
    first, second = table[table["task"] == "t0"], table[table["task"] == "t1"]
    assert first["parameter_shift"].to_numpy() == pytest.approx(-2.0 * first["bias"].to_numpy())
    assert first["parameter_error"].to_numpy() == pytest.approx(2.0 * first["bias_error"].to_numpy())
    assert second["parameter_shift"].isna().all()
    assert (table["bias_over_resolution"] * table["resolution"]).to_numpy() == pytest.approx(table["bias"].to_numpy())
