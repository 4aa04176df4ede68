"""The universes of a store: which one is nominal, which form pairs, and which stores are refused."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from scipy import stats

from shiftlab.bias.bootstrap import HALF_68
from shiftlab.bias.design import Design, Term, read_design
from shiftlab.detector.prior import sobol_normals
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


def _strengths(toys: Any, strengths: list[float], throws: int = 1, recalibrate: str = "none") -> list[Any]:
    return [
        toys.row(f"a{s:+g}_throw{t}_{recalibrate}", "unisim", {"a": s}, t, recalibrate)
        for t in range(throws)
        for s in strengths
    ]


def test_a_curve_has_all_strengths_in_order_and_a_row_for_each_throw(toys: Any) -> None:
    """At two throws, the second without its smallest strength; b at one sigma; both in any order of the store."""
    wide = _strengths(toys, [3.0, -0.5, 1.0, 0.5, -1.0], throws=2)
    rows = [toys.nominal, *[row for row in wide if row.name != "a-1_throw1_none"], *toys.unisims(["b"])]
    order = np.random.default_rng(1).permutation(len(rows))
    design = _design(toys, [rows[i] for i in order])
    first, second = design.curves("none")
    assert (first.nuisance, first.strengths, first.throws) == ("a", (-1.0, -0.5, 0.5, 1.0, 3.0), (0, 1))
    names = [[design.names[i] if i >= 0 else "" for i in row] for row in first.universes]
    assert names[0] == [f"a{s:+g}_throw0_none" for s in first.strengths]
    assert names[1] == ["", *(f"a{s:+g}_throw1_none" for s in first.strengths[1:])]
    assert (second.nuisance, second.strengths) == ("b", (-1.0, 1.0))
    assert design.terms("none")[0].plus == tuple(first.universes[:, 3])


def test_recalibrated_curves_fall_back_on_plain_ones(toys: Any) -> None:
    rows = [toys.nominal, *_strengths(toys, [-2.0, -1.0, 1.0, 2.0]), *_strengths(toys, [-1.0, 1.0], recalibrate="mip")]
    design = _design(toys, [*rows, *toys.unisims(["b"])])
    assert [curve.strengths for curve in design.curves("mip")] == [(-1.0, 1.0), (-1.0, 1.0)]
    assert [curve.strengths for curve in design.curves("none")] == [(-2.0, -1.0, 1.0, 2.0), (-1.0, 1.0)]


def _joint(toys: Any, groups: int, pairs: int, *, antithetic: bool = True) -> list[Any]:
    """Return nominal and joint universes, as many in each of so many groups."""
    rng = np.random.default_rng(0)
    rows = [toys.nominal]
    for _ in range(groups * pairs):
        values = rng.standard_normal(2)
        throw = 1000 + len(rows)
        for side in (values, -values) if antithetic else (values,):
            rows.append(toys.row(f"joint_{len(rows)}", "multisim", {"a": side[0], "b": side[1]}, throw))
    return rows


def _numbered(toys: Any, rows: list[Any], groups: int) -> Any:
    data = toys.dataset(np.zeros((1, 1, len(rows), 3, 1)), rows)
    number = np.concatenate([[0], np.repeat(1 + np.arange(groups), (len(rows) - 1) // groups)])
    return data.assign_coords(scrambling=("universe", number))


def test_the_design_says_what_of_the_joint_universes_is_independent(toys: Any) -> None:
    """Every universe, every antithetic pair, or every scrambling; a store that does not say has no scramblings."""
    single = _design(toys, _joint(toys, 1, 6, antithetic=False))
    assert single.sampling("none") == "independent"
    assert single.blocks("none") == tuple((i,) for i in range(1, 7))
    pairs = _design(toys, _joint(toys, 1, 4))
    assert pairs.sampling("none") == "pairs"
    assert not pairs.scrambling.any()
    rows = _joint(toys, 8, 2)
    several = read_design({"t": _numbered(toys, rows, 8)})
    assert several.sampling("none") == "scramblings"
    assert several.blocks("none") == tuple(tuple(range(1 + 4 * i, 5 + 4 * i)) for i in range(8))


def test_too_few_universes_are_refused_with_the_number_that_is_needed(toys: Any) -> None:
    with pytest.raises(DataError, match=r"at least 20 antithetic pairs; the responses hold 6 .*universes.joint=40"):
        _design(toys, _joint(toys, 1, 6)).blocks("none", least=20)
    seven = read_design({"t": _numbered(toys, _joint(toys, 7, 2), 7)})
    with pytest.raises(DataError, match=r"at least 8 Sobol scramblings; the responses hold 7 .*scramblings=8"):
        seven.blocks("none")
    with pytest.raises(DataError, match="no joint universes"):
        _design(toys, [toys.nominal]).blocks("none")


def test_scramblings_must_be_of_one_draw(toys: Any) -> None:
    rows = _joint(toys, 8, 2)
    data = _numbered(toys, rows, 8)
    with pytest.raises(DataError, match="Sobol scramblings of 3 to 4; all must be as large"):
        read_design({"t": data.isel(universe=slice(0, -1))}).blocks("none")
    mixed = data.assign_coords(scrambling=("universe", np.where(np.arange(len(rows)) == 5, 0, data["scrambling"])))
    with pytest.raises(DataError, match="joint universe 'joint_5' has no scrambling, but others have"):
        read_design({"t": mixed}).sampling("none")


def test_clipped_draws_of_one_size_are_partners_only_in_one_throw(toys: Any) -> None:
    rows = [toys.row(f"joint_{i}", "multisim", {"a": a}, 1000 + i) for i, a in enumerate((2.0, -2.0, 2.0))]
    assert _design(toys, [toys.nominal, *rows]).sampling("none") == "independent"


def test_the_prior_is_that_of_the_store_or_independent(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"])]
    data = toys.dataset(np.zeros((1, 1, len(rows), 3, 1)), rows)
    assert np.array_equal(read_design({"t": data}).prior, np.eye(3))
    matrix = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, -0.2], [0.0, -0.2, 1.0]])

    def with_prior(values: np.ndarray, names: str = "abc") -> Design:
        more = {"other_nuisance": list(names), "prior_correlation": (("nuisance", "other_nuisance"), values)}
        return read_design({"t": data.assign_coords(more)})

    assert np.array_equal(with_prior(matrix).prior, matrix)
    assert np.array_equal(with_prior(matrix).prior_among(["c", "b"]), [[1.0, -0.2], [-0.2, 1.0]])
    with pytest.raises(DataError, match="no nuisance d in the store; it has a, b, c"):
        with_prior(matrix).prior_among(["a", "d"])
    with pytest.raises(DataError, match="other nuisances than the universes, which have a, b, c"):
        with_prior(matrix, "bac")
    with pytest.raises(DataError, match="symmetric with 1"):
        with_prior(2.0 * matrix)
    with pytest.raises(DataError, match="negative eigenvalue"):
        with_prior(np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]))


def _drawn(scramblings: int, pairs: int, seed: int) -> Design:
    """Return joint universes of three nuisances, as many pairs from each scrambling."""
    numbers = range(1, scramblings + 1) if scramblings > 1 else (0,)
    rows = [row for number in numbers for row in islice(sobol_normals(3, pairs, seed, number), pairs)]
    value = np.stack([side for row in rows for side in (row, -row)])
    joint = len(value)
    return Design(
        names=tuple(f"joint_{i}" for i in range(joint)),
        group=("multisim",) * joint,
        throw=np.arange(joint) // 2,
        recalibrate=("none",) * joint,
        nuisances=("a", "b", "c"),
        value=value,
        scrambling=np.repeat(np.array(numbers), 2 * pairs),
    )


def _coverage(scramblings: int, pairs: int, experiments: int) -> np.ndarray:
    """Return how often mean +- t s / sqrt(blocks) holds the second moment about nominal of two tasks, (element,)."""
    rng = np.random.default_rng(0)
    odd, even = rng.standard_normal((3, 2)), 0.2 * rng.standard_normal((3, 2))
    truth = odd.T @ odd + 2.0 * even.T @ even + np.outer(even.sum(0), even.sum(0))
    inside = np.zeros((2, 2))
    for seed in range(experiments):
        design = _drawn(scramblings, pairs, seed)
        bias = design.value @ odd + design.value**2 @ even
        each = np.stack([bias[list(block)].T @ bias[list(block)] / len(block) for block in design.blocks("none")])
        half = stats.t.ppf(0.5 + HALF_68, len(each) - 1) * each.std(axis=0, ddof=1) / np.sqrt(len(each))
        inside += np.abs(each.mean(axis=0) - truth) < half
    return inside[np.triu_indices(2)] / experiments


@pytest.mark.parametrize(("experiments", "errors"), [(120, 3.5), pytest.param(2000, 3.0, marks=pytest.mark.slow)])
def test_the_spread_of_scramblings_is_the_error_and_that_of_pairs_of_one_sequence_is_far_more(
    experiments: int, errors: float
) -> None:
    """Squares are skewed, so that the interval of eight scramblings covers up to 0.06 too little, never too much."""
    allowed = errors * np.sqrt(2 * HALF_68 * (1 - 2 * HALF_68) / experiments)
    found = _coverage(8, 8, experiments) - 2 * HALF_68
    assert found.max() < allowed
    assert found.min() > -0.06 - allowed
    assert _coverage(1, 64, experiments).min() > 2 * HALF_68 + 0.1
