"""The universes of a store: which one is nominal, which form pairs, and which stores are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shiftlab.bias.design import Design, Term, read_design
from shiftlab.errors import DataError


def _design(toys: Any, rows: list[Any]) -> Design:
    return read_design({"t": toys.dataset(np.zeros((1, 1, len(rows), 3, 1)), rows)})


def test_pairs_throws_and_joint_universes_are_found_in_any_order(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"], {"b": 2}), *toys.joints(["a", "b"], 2, seed=0)]
    order = np.random.default_rng(0).permutation(len(rows))
    design = _design(toys, [rows[i] for i in order])
    place = {design.names[i]: i for i in range(len(rows))}
    assert design.names[design.nominal] == "nominal"
    plus_b = (place["b+1_throw0"], place["b+1_throw1"])
    minus_b = (place["b-1_throw0"], place["b-1_throw1"])
    assert design.terms("none") == (
        Term("a", (place["a+1_throw0"],), (place["a-1_throw0"],)),
        Term("b", plus_b, minus_b),
    )
    blocks = {frozenset(design.names[i] for i in block) for block in design.joint("none")}
    assert blocks == {frozenset({"joint_00", "joint_01"}), frozenset({"joint_02", "joint_03"})}


def test_antithetic_partners_share_the_size_of_a_one_sided_nuisance(toys: Any) -> None:
    pair = [toys.row(f"joint_0{i}", "multisim", {"a": a, "model": 0.7}, throw=1000) for i, a in enumerate((0.4, -0.4))]
    design = _design(toys, [toys.nominal, pair[0], toys.row("alone", "multisim", {"a": 1.0, "model": 0.1}), pair[1]])
    assert design.joint("none") == ((1, 3), (2,))


def test_only_one_sigma_universes_enter_the_covariance_and_the_rest_is_kept_for_the_table(toys: Any) -> None:
    wide = [toys.row("a+2", "unisim", {"a": 2.0}), toys.row("a-2", "unisim", {"a": -2.0})]
    design = _design(toys, [toys.nominal, *wide, *toys.unisims(["a"])])
    assert design.terms("none") == (Term("a", (3,), (4,)),)
    assert design.shifted(1) == ("a", 2.0)
    with pytest.raises(DataError, match=r"nuisance 'a' has universes at \[-2.0, 2.0\] sigma, but none at \+1 or -1"):
        _design(toys, [toys.nominal, *wide]).terms("none")


def test_a_recalibrated_covariance_falls_back_on_plain_universes(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"]), *toys.unisims(["a"], recalibrate="mip")]
    design = _design(toys, rows)
    assert design.recalibrations == ("none", "mip")
    assert design.terms("mip") == (Term("a", (5,), (6,)), Term("b", (3,), (4,)))


def test_a_missing_side_is_marked(toys: Any) -> None:
    design = _design(toys, [toys.nominal, toys.row("a+1", "unisim", {"a": 1.0})])
    assert design.terms("none") == (Term("a", (1,), (-1,)),)
    assert design.terms("none")[0].mirrored


def test_a_store_without_nominal_or_with_two_is_refused(toys: Any) -> None:
    with pytest.raises(DataError, match=r"hold 0 nominal universes.*a\+1_throw0, a-1_throw0"):
        _ = _design(toys, toys.unisims(["a"])).nominal
    twice = [toys.nominal, toys.row("again", "nominal", {"a": 0.0}, throw=1), *toys.unisims(["a"])]
    with pytest.raises(DataError, match="hold 2 nominal universes"):
        _ = _design(toys, twice).nominal


def test_a_universe_listed_twice_is_refused_by_name_and_by_content(toys: Any) -> None:
    pair = toys.unisims(["a"])
    with pytest.raises(DataError, match=r"universe 'a\+1_throw0' is in the responses twice"):
        _design(toys, [toys.nominal, *pair, pair[0]])
    with pytest.raises(DataError, match=r"'a\+1_throw0' and 'copy' are the same universe"):
        _design(toys, [toys.nominal, *pair, toys.row("copy", "unisim", {"a": 1.0})])


def test_a_control_may_repeat_another_universe(toys: Any) -> None:
    design = _design(toys, [toys.nominal, toys.row("identity", "control", {"a": 0.0}), *toys.unisims(["a"])])
    assert design.nominal == 0


def test_a_unisim_that_displaces_two_nuisances_is_refused(toys: Any) -> None:
    both = toys.row("both", "unisim", {"a": 1.0, "b": 1.0})
    with pytest.raises(DataError, match="unisim universe 'both' displaces 2 nuisances, not 1"):
        _design(toys, [toys.nominal, both]).terms("none")


def test_tasks_of_different_universes_are_never_joined(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a"])]
    first = toys.dataset(np.zeros((1, 1, 3, 4, 1)), rows)
    second = toys.dataset(np.zeros((1, 1, 3, 4, 1)), rows).isel(universe=[0, 2, 1])
    with pytest.raises(DataError, match="tasks 'energy' and 'flavour' differ in their universes"):
        read_design({"energy": first, "flavour": second})
    with pytest.raises(DataError, match="no task"):
        read_design({})
