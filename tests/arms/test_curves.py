"""Arms are compared at equal budgets, at their own best, and by what they need to match each other."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.arms.training.curves import COLUMNS, Curve, compare, write_curve, write_origin
from shiftlab.errors import ConfigError


def curve(losses, step=10, flops=1e9, wall=2.0):
    """A curve validated every ``step`` steps, each of ``flops`` and ``wall`` seconds."""
    rows = np.arange(1, len(losses) + 1) * step
    return Curve(
        pd.DataFrame(
            {
                "step": rows,
                "samples": 16 * rows,
                "tokens": np.nan,
                "flops": flops * rows,
                "wall_s": wall * rows,
                "train_loss": losses,
                "validation_loss": losses,
                "learning_rate": 1e-3,
                "epoch": rows / 100,
            }
        )
    )


losses = st.lists(st.floats(0.01, 10), min_size=1, max_size=12)


def test_a_curve_survives_its_file(tmp_path):
    path = tmp_path / "curves" / "body.csv"
    rows = curve([3.0, 2.0]).points.replace({np.nan: None}).to_dict("records")
    rows.insert(0, {**rows[0], "step": 5, "validation_loss": None})
    write_curve(path, rows)
    write_origin(path, {"run": "body"})
    read = Curve.load(path)
    assert tuple(read.points.columns) == COLUMNS
    assert read.spent("step").tolist() == [10, 20]  # a row without validation is no point of comparison
    assert read.best == 2.0
    assert json.loads(path.with_suffix(".json").read_text())["versions"]["torch"]


@given(losses, st.floats(0, 200))
def test_within_a_budget_a_training_has_the_best_it_has_seen(values, budget):
    found = curve(values).at("step", budget)
    seen = [loss for i, loss in enumerate(values) if 10 * (i + 1) <= budget]
    assert (np.isnan(found) and not seen) or found == min(seen)


@given(losses)
def test_budgets_agree_where_each_step_costs_the_same(values):
    one = curve(values, flops=3e9, wall=0.5)
    assert one.at("step", 30) == one.at("flops", 90e9) == min(values[:3])
    assert one.best_at("flops") == 3e9 * one.best_at("step")
    assert one.best_at("wall") == 0.5 * one.best_at("samples") / 16
    assert one.best == min(values)


def test_an_arm_that_is_better_by_steps_can_be_worse_by_operations():
    """The large network learns twice as fast a step and costs four times as much a step."""
    small = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    large = small[1::2]
    arms = {"small": [curve(small)], "large": [curve(large, flops=4e9)]}
    by_step = compare(arms, "step").set_index("arm")
    assert by_step["budget"].unique() == [40]
    assert by_step["loss"].to_dict() == {"small": 5.0, "large": 1.0}
    assert by_step.loc["large", "parity"] == 40
    assert by_step.loc["large", "speedup"] == 2.0
    assert by_step.loc["large", "crossing"] == 10
    by_flops = compare(arms, "flops").set_index("arm")
    assert by_flops["budget"].unique() == [80e9]
    assert by_flops["loss"].to_dict() == {"small": 1.0, "large": 5.0}
    assert by_flops.loc["large", "parity"] == 160e9
    assert by_flops.loc["large", "speedup"] == 0.5
    assert by_flops.loc["large", "crossing"] == np.inf
    assert by_flops["best"].to_dict() == {"small": 1.0, "large": 1.0}
    assert by_flops["best_at"].to_dict() == {"small": 80e9, "large": 160e9}


def test_curves_that_cross_say_where():
    arms = {"early": [curve([4.0, 3.0, 2.9, 2.8])], "late": [curve([6.0, 4.0, 2.0, 1.0])]}
    table = compare(arms, "step").set_index("arm")
    assert table.loc["late", "crossing"] == 30
    assert table.loc["early", "crossing"] == 10
    assert table.loc["late", "parity"] == 30
    back = compare(arms, "step", reference="late", budget=20).set_index("arm")
    assert back.loc["early", "parity"] == np.inf
    assert back.loc["early", "loss"] == 3.0
    assert back.loc["early", "speedup"] == 0.0


def test_the_interval_over_seeds_covers_the_true_mean():
    """Of 30 drawn sets of 12 seeds, the 95% interval covers the mean of the population in most."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(30):
        arm = [curve([5.0, 2.0 + rng.normal(scale=0.2)]) for _ in range(12)]
        row = compare({"arm": arm}, "step").iloc[0]
        assert row["loss_low"] <= row["loss"] <= row["loss_high"]
        covered += row["loss_low"] <= 2.0 <= row["loss_high"]
    assert covered >= 23  # a percentile bootstrap of 12 covers about 92%; 23 of 30 is 3 sigma below


def test_one_seed_has_no_interval_and_parity_that_may_fail_is_infinite():
    alone = compare({"a": [curve([2.0, 1.0])]}, "step").iloc[0]
    assert np.isnan(alone["loss_low"])
    arms = {"a": [curve([2.0, 1.0])] * 2, "b": [curve([2.0, 0.9]), curve([2.0, 1.5])]}
    row = compare(arms, "step").set_index("arm").loc["b"]
    assert row["parity"] == np.inf
    assert row["parity_low"] == 20
    assert row["parity_high"] == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: Curve.load(path / "none.csv"), "cannot be read"),
        (lambda path: Curve.load(path / "other.csv"), "lacks the columns step"),
        (lambda path: compare({}, "step"), "at least one training curve"),
        (lambda path: compare({"a": []}, "step"), "at least one training curve"),
        (lambda path: compare({"a": [curve([1.0])]}, "step", reference="b"), "'b' is none of the arms"),
        (lambda path: compare({"a": [curve([1.0])]}, "tokens"), "no 'tokens' in every row"),
        (lambda path: curve([1.0]).at("loss", 1.0), "not by 'loss'"),
        (lambda path: compare({"a": [curve([np.nan])]}, "step"), "no validation losses"),
        (lambda path: curve([np.nan]).best, "no validation losses"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, call, message):
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ConfigError, match=message):
        call(tmp_path)
