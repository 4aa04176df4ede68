"""Joint universes close on the one-nuisance universes when nuisances add up, and visibly fail to when they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias.closure import Closure, closure
from shiftlab.bias.covariance import odd_even
from shiftlab.bias.design import Design, read_design

ODD = np.array([[1.0, 0.8, 0.1], [0.2, -0.5, 0.3], [0.3, 0.3, -0.3]])
EVEN = np.array([[0.2, 0.1, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]])
UNIVERSE = "universe by universe"


def _design(toys: Any, pairs: int, throws: dict[str, int] | None = None) -> Design:
    names = ["a", "b", "c"]
    rows = [toys.nominal, *toys.unisims(names, throws), *toys.joints(names, pairs, seed=1)]
    return read_design({"t": toys.dataset(np.zeros((1, 1, len(rows), 3, 1)), rows)})


def _measures(design: Design, bias: np.ndarray, noise: float = 0.0, seed: int = 0) -> dict[str, Closure]:
    """Closure of given true biases (universe, task) with independent event noise and 200 replicas."""
    rng = np.random.default_rng(seed)
    measured = bias + noise * rng.standard_normal(bias.shape)
    every = np.concatenate([measured[None], measured + noise * rng.standard_normal((200, *bias.shape))])
    every[:, design.nominal] = 0.0
    found = closure(every, odd_even(every, design.terms("none")), design, design.joint("none"), seed)
    return {item.measure: item for item in found}


def _additive(design: Design) -> np.ndarray:
    return np.asarray(design.value @ ODD + design.value**2 @ EVEN)


def test_additive_nuisances_close_exactly_universe_by_universe(toys: Any) -> None:
    design = _design(toys, pairs=4)
    found = _measures(design, _additive(design))
    assert found[UNIVERSE].value == pytest.approx(0.0, abs=1e-12)
    assert found[UNIVERSE].expected_high == pytest.approx(0.0, abs=1e-12)


def test_moments_of_many_joint_universes_approach_the_unisim_covariance(toys: Any) -> None:
    few, many = (_measures(design, _additive(design)) for design in (_design(toys, 4), _design(toys, 4000)))
    for measure in ("second moment about nominal", "covariance about the mean"):
        assert many[measure].value < 0.05
        assert few[measure].value == pytest.approx(few[measure].expected_low, abs=1e-9)
        assert few[measure].low < few[measure].high


def test_one_sided_nuisances_close_on_joint_universes_of_their_size(toys: Any) -> None:
    """Joint universes take |z| of a one-sided nuisance; without the folded normal's moments they do not close."""
    names = ["a", "b", "c"]
    plain = [row for row in toys.unisims(names) if row.name != "a-1_throw0"]
    joint = [replace(row, value={**row.value, "a": abs(row.value["a"])}) for row in toys.joints(names, 4000, seed=1)]
    data = toys.dataset(np.zeros((1, 1, len(plain) + len(joint) + 1, 3, 1)), [toys.nominal, *plain, *joint])
    known = read_design({"t": data.assign_coords(one_sided=("nuisance", [True, False, False]))})
    assert known.one_sided == {"a"}
    unknown = read_design({"t": data})
    odd_only = known.value @ ODD
    for measure in ("second moment about nominal", "covariance about the mean"):
        assert _measures(known, odd_only)[measure].value < 0.05
    assert _measures(unknown, odd_only)["covariance about the mean"].value > 0.3


def test_event_noise_is_inside_the_expected_band(toys: Any) -> None:
    design = _design(toys, pairs=4)
    inside = [
        item.expected_low <= item.value <= item.expected_high
        for seed in range(60)
        for item in [_measures(design, _additive(design), noise=0.1, seed=seed)[UNIVERSE]]
    ]
    assert 0.5 < np.mean(inside) < 0.86


def test_interacting_nuisances_fall_outside_the_expected_band(toys: Any) -> None:
    design = _design(toys, pairs=4)
    product = (design.value[:, 0] * design.value[:, 1])[:, None] * np.array([0.6, 0.0, -0.6])
    found = _measures(design, _additive(design) + product, noise=0.02)[UNIVERSE]
    assert found.value > 2.0 * found.expected_high


def test_another_throw_of_a_frozen_map_belongs_to_the_expected_band(toys: Any) -> None:
    design = _design(toys, pairs=4, throws={"c": 4})
    rng = np.random.default_rng(8)
    fixed = design.value[:, :2] @ ODD[:2]
    map_response = rng.standard_normal((len(design.names), 3)) * design.value[:, 2:]
    for up in range(len(design.names)):
        if design.names[up].startswith("c+1"):
            map_response[up + 1] = -map_response[up]
        if design.names[up].startswith("joint") and up % 2 == len(design.names) % 2:
            map_response[up + 1] = -map_response[up]
    found = _measures(design, fixed + map_response)[UNIVERSE]
    assert found.value > 0.2
    assert 0.6 * found.expected_low < found.value < 1.6 * found.expected_high


def test_universes_without_a_partner_are_blocks_of_one(toys: Any) -> None:
    names = ["a", "b", "c"]
    rows = [toys.nominal, *toys.unisims(names), *toys.joints(names, 3, seed=1)[:5]]
    design = read_design({"t": toys.dataset(np.zeros((1, 1, len(rows), 3, 1)), rows)})
    assert sorted(len(block) for block in design.joint("none")) == [1, 2, 2]
    assert _measures(design, _additive(design))[UNIVERSE].value == pytest.approx(0.0, abs=1e-12)


def test_tasks_that_do_not_move_are_at_distance_zero(toys: Any) -> None:
    design = _design(toys, pairs=2)
    for item in _measures(design, np.zeros((len(design.names), 3))).values():
        assert (item.value, item.low, item.high) == (0.0, 0.0, 0.0)
