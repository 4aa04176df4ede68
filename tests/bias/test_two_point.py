"""Paired differences: the bootstrap's error is that of the theory, shared parts cancel, few vertices are not quoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias import Mean, bias
from shiftlab.bias.two_point import QUOTABLE, generation_nuisances, mark, paired_difference, verdict
from shiftlab.errors import ConfigError, DataError

ATTRS = {
    "detector": {
        "effects": {
            "gain": {"stage": "amplify", "parameters": {"scale": {}}},
            "hadronic_model": {"stage": "generate", "parameters": {"model": {}}},
        }
    }
}


def test_the_error_is_that_of_the_paired_difference_not_of_the_two_samples() -> None:
    """sd(difference) / sqrt(n) to the 5% of 1000 replicas, although each side varies a hundred times more."""
    rng = np.random.default_rng(1)
    shared, own = 100.0 * rng.standard_normal(6000), rng.normal(0.5, 1.0, 6000)
    found = paired_difference(shared, shared + own, np.arange(6000))
    assert found.value[0] == pytest.approx(own.mean())
    assert found.error[0] == pytest.approx(own.std() / 6000**0.5, rel=0.08)
    assert found.low[0] < found.value[0] < found.high[0]
    assert found.vertices == 6000
    assert found.verdict == ""


def test_equal_sides_differ_by_nothing() -> None:
    values = np.random.default_rng(2).random((50, 3))
    found = paired_difference(values, values.copy(), np.arange(50), replicas=20)
    assert found.value.tolist() == found.error.tolist() == [0.0, 0.0, 0.0]


def test_events_of_one_vertex_are_drawn_together() -> None:
    """Ten copies of each event say no more than one: the error is that of the vertices."""
    rng = np.random.default_rng(3)
    change = rng.standard_normal(400)
    one = paired_difference(np.zeros(400), change, np.arange(400))
    ten = paired_difference(np.zeros(4000), np.repeat(change, 10), np.repeat(np.arange(400), 10))
    assert ten.error[0] == pytest.approx(one.error[0], rel=1e-9)
    assert ten.vertices == 400


def test_any_statistic_and_weight_can_be_asked_for() -> None:
    """A ratio of sums: 10% more energy everywhere is 0.1, without any error."""
    energy = np.random.default_rng(4).random((300, 2)) + 0.5
    scaled = energy * np.array([1.1, 1.0])
    found = paired_difference(
        energy,
        scaled,
        np.arange(300),
        lambda values, weights: (weights @ values[:, 0]) / (weights @ energy[:, 0]),
        weight=np.linspace(0.1, 2.0, 300),
        replicas=30,
    )
    assert found.value[0] == pytest.approx(0.1)
    assert found.error[0] < 1e-12


def test_replicas_are_the_same_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).random((2, 500))
    whole = paired_difference(values[0], values[1], np.arange(500), replicas=50)
    monkeypatch.setattr("shiftlab.bias.two_point._BLOCK", 3500)
    blocks = paired_difference(values[0], values[1], np.arange(500), replicas=50)
    assert blocks.error[0] == pytest.approx(whole.error[0], rel=1e-12)


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(DataError, match="same events in the same order"):
        paired_difference(np.zeros(3), np.zeros(4), np.arange(3))
    with pytest.raises(ConfigError, match="2 or more"):
        paired_difference(np.zeros(3), np.zeros(3), np.arange(3), replicas=1)
    with pytest.raises(DataError, match="no value"):
        paired_difference(np.zeros(3), np.zeros(3), np.arange(3), lambda v, w: np.full(len(w), np.nan), replicas=4)


def test_fewer_than_five_thousand_vertices_are_not_quoted() -> None:
    assert QUOTABLE == 5000
    assert verdict(5000) == ""
    assert verdict(4999) == "not quoted: 4999 vertices, 5000 needed"


def test_only_variations_of_generation_are_marked(toys: Any) -> None:
    assert generation_nuisances(ATTRS) == ("hadronic_model_model",)
    assert generation_nuisances({}) == ()
    table = pd.DataFrame({"task": ["t0", "t0"], "nuisance": ["gain_scale", "hadronic_model_model"], "not_quoted": ""})
    rows = [toys.nominal, *toys.unisims(["gain_scale"])]
    store = toys.linear(rows, np.array([[1.0]]), np.zeros((1, 1)), 120).responses(0)
    marked = mark(table, store.datasets, generation_nuisances(ATTRS))
    assert marked["not_quoted"].tolist() == ["", "not quoted: 120 vertices, 5000 needed"]


def test_the_bias_of_a_few_vertices_is_run_but_neither_quoted_nor_headlined(toys: Any, tmp_path: Path) -> None:
    """The row is there with its error; the summary leaves it out of the largest biases and says why."""
    rows = [toys.nominal, *toys.unisims(["gain_scale", "hadronic_model_model"])]
    store = toys.linear(rows, np.array([[0.1], [5.0]]), np.zeros((2, 1)), 200).responses(0)
    with_record = type(store)(store.datasets, ATTRS)
    result = bias(with_record, tasks={"t0": Mean()}, replicas=40)
    why = "not quoted: 200 vertices, 5000 needed"
    assert set(result.table.loc[result.table["nuisance"] == "hadronic_model_model", "not_quoted"]) == {why}
    summary = result.summary()
    assert summary["not_quoted"] == [{"nuisance": "hadronic_model_model", "task": "t0", "not_quoted": why}]
    (largest,) = summary["arms"]["foundation"]["largest_bias"]
    assert largest["nuisance"] == "gain_scale"
    assert (bias(store, tasks={"t0": Mean()}, replicas=40).table["not_quoted"] == "").all()
