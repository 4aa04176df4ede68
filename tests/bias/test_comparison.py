"""The tables that compare arms: exact on known responses, silent about what the store cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias import Bias, Mean, bias
from shiftlab.bias.comparison import COMPARISON_TABLES
from shiftlab.bias.matched import strata
from shiftlab.bias.sample import read_samples
from shiftlab.responses import Responses

EVENTS = 400


def _at(toys: Any, nuisance: str, strengths: Sequence[float]) -> list[Any]:
    return [toys.row(f"{nuisance}{s:+g}", "unisim", {nuisance: s}) for s in strengths]


def _outputs(rows: Sequence[Any], response: Any, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Return (universe, event) of one head: each event's noise, the same in all universes, plus a response."""
    base = spread * np.random.default_rng(seed).standard_normal(EVENTS)
    return np.stack([base + response(row.value) for row in rows])


def _compared(toys: Any, rows: Sequence[Any], heads: dict[str, list[np.ndarray]], **more: Any) -> Bias:
    """Return the bias of one task; ``heads``: arm to (universe, event) of each of its seeds."""
    outputs = np.stack([np.stack(seeds) for seeds in heads.values()])[..., None]
    data = toys.dataset(outputs, rows, arms=list(heads), seeds=range(outputs.shape[1]), **more)
    return bias(Responses({"t": data}, {}), tasks={"t": Mean()}, replicas=40)


def _only(table: pd.DataFrame, **where: object) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return pd.Series(row)


def test_a_known_curve_is_found_back_with_its_area_whatever_the_strengths(toys: Any) -> None:
    """b = 0.5 s + 0.2 s^2 - 0.1 s^3 in every event: no event noise, so coefficients and scores are exact."""
    rows = [toys.nominal, *_at(toys, "a", [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])]

    def curve(values: Any) -> float:
        s = float(values.get("a", 0.0))
        return 0.5 * s + 0.2 * s**2 - 0.1 * s**3

    tables = _compared(toys, rows, {"one": [_outputs(rows, curve)]}).comparison
    (unit,) = tables["robustness"]["common_unit"].dropna().unique()
    fit = _only(tables["response_fits"])
    found = [fit[name] * unit for name in ("odd", "even", "cubic", "quartic")]
    assert found == pytest.approx([0.5, 0.2, -0.1, 0.0], abs=1e-9)
    points = tables["response_curves"]
    np.testing.assert_allclose(points["bias"], [curve({"a": s}) for s in points["strength"]], atol=1e-12)
    near = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    area = np.trapezoid(np.abs([curve({"a": s}) for s in near]), near) / 2.0
    assert _only(tables["robustness"], score="area", within=1.0)["raw"] == pytest.approx(area)
    assert _only(tables["robustness"], score="worst", within=1.0)["raw"] == pytest.approx(curve({"a": 1.0}))
    assert _only(tables["robustness"], score="worst", within=2.0)["raw"] == pytest.approx(abs(curve({"a": 2.0})))
    assert "loss" not in set(tables["robustness"]["score"])  # a mean is neither better nor worse


def test_a_null_shift_scores_exactly_zero_and_its_arms_share_all_ranks(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"], {"b": 3})]
    still = {arm: [_outputs(rows, lambda _: 0.0, seed) for seed in range(2)] for arm in ("one", "other")}
    tables = _compared(toys, rows, still).comparison
    for table, columns in (
        ("response_curves", ["bias", "bias_error"]),
        ("response_fits", ["odd", "odd_error", "even", "even_error", "residual"]),
        ("robustness", ["value", "lo", "hi", "lo95", "hi95", "raw"]),
        ("leaderboard", ["score", "score_lo95", "score_hi95", "mean", "worst"]),
        ("matched", ["plain", "plain_lo95", "plain_hi95"]),
    ):
        assert (tables[table][columns].to_numpy(np.float64) == 0.0).all(), table
    assert not tables["robustness"]["resolved"].any()
    assert tables["leaderboard"][["rank", "rank_lo", "rank_hi"]].to_numpy().tolist() == [[1, 1, 2]] * 2


def test_an_arm_that_resolves_worse_is_not_more_robust_for_it(toys: Any) -> None:
    """Both move alike; in units of its own error the arm of three times the spread would seem three times as robust."""
    rows = [toys.nominal, *toys.unisims(["a"])]
    heads = {
        arm: [_outputs(rows, lambda v: 0.3 * v.get("a", 0.0), seed, spread) for seed in range(2)]
        for arm, spread in (("sharp", 1.0), ("blunt", 3.0))
    }
    board = _compared(toys, rows, heads).comparison["leaderboard"].set_index("arm")
    assert board.loc["sharp", "score"] == pytest.approx(board.loc["blunt", "score"], rel=1e-9)


def test_noise_alone_is_not_called_a_bias_and_a_noisier_arm_is_not_ranked_behind(toys: Any) -> None:
    """Shifts that only scatter events: mean squares are about 0, those of |b| upper limits; 9 nuisances, 20 stores."""
    rows = [toys.nominal, *toys.unisims([f"n{k}" for k in range(9)])]
    resolved, covered, apart = [], [], []
    for trial in range(20):
        rng = np.random.default_rng(trial)
        steady = [rng.standard_normal(EVENTS) * np.ones((len(rows), 1)) for _ in range(4)]
        noise = [size * rng.standard_normal((len(rows), EVENTS)) for size in (0.2, 0.2, 0.6, 0.6)]
        heads = [base + one for base, one in zip(steady, noise, strict=True)]
        tables = _compared(toys, rows, {"calm": heads[:2], "loud": heads[2:]}).comparison
        table = tables["robustness"]
        resolved += table.loc[table["score"] == "area", "resolved"].tolist()
        covered += (table.loc[table["score"] == "area", "lo95"] == 0.0).tolist()
        apart.append(tables["leaderboard"]["rank_lo95"].max() > 1)
    assert np.mean(resolved) < 0.2
    assert np.mean(covered) > 0.8
    assert np.mean(apart) < 0.2


def test_the_throws_of_a_random_map_count_as_one_nuisance(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "map"], {"map": 4})]
    found = _compared(toys, rows, {"one": [_outputs(rows, lambda v: 1.0 * v.get("a", 0.0))]}).comparison
    assert _only(found["robustness"], score="area")["raw"] == pytest.approx(0.25)  # (0.5 + 0) / 2
    assert _only(found["robustness"], score="rms")["raw"] == pytest.approx(0.5**0.5)  # sqrt((1 + 0) / 2)
    assert len(found["response_fits"]) == 5


def test_a_nuisance_of_one_side_is_scored_on_that_side(toys: Any) -> None:
    rows = [toys.nominal, *_at(toys, "a", [1.0])]
    found = _compared(toys, rows, {"one": [_outputs(rows, lambda v: -0.4 * v.get("a", 0.0))]}).comparison
    assert _only(found["robustness"], score="area")["raw"] == pytest.approx(0.2)
    assert _only(found["robustness"], score="rms")["raw"] == pytest.approx(0.4)
    fit = _only(found["response_fits"])
    assert fit["points"] == 1
    assert np.isnan(fit["even"])


def test_arms_are_ordered_by_how_far_they_move_with_five_seeds_to_claim_it(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"])]
    rng = np.random.default_rng(0)

    def seeds(size: float) -> list[np.ndarray]:
        own = size * (1.0 + 0.05 * rng.standard_normal(5))
        return [_outputs(rows, lambda v, r=r: r * sum(v.values()), s) for s, r in enumerate(own)]

    tables = _compared(toys, rows, {"far": seeds(0.4), "near": seeds(0.2), "same": seeds(0.2)}).comparison
    board = tables["leaderboard"]
    assert board["arm"].iloc[2] == "far"
    assert board[["rank_lo95", "rank_hi95"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    assert (board["flag"] == "").all()
    contrast = _only(tables["matched"], arm="far", minus_arm="near")
    assert contrast["plain_lo95"] > 0.0
    assert contrast["note"] == "the task has no loss per event"


def test_copies_of_an_arm_have_no_contrast_and_no_excess(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"])]
    head = [_outputs(rows, lambda v: 0.3 * sum(v.values()), seed) for seed in range(2)]
    row = _only(_compared(toys, rows, {"one": head, "copy": head}).comparison["matched"])
    assert row[["plain", "plain_lo95", "plain_hi95"]].tolist() == [0.0] * 3


def test_one_arm_one_seed_one_task_work_and_say_what_is_missing(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a"])]
    tables = _compared(toys, rows, {"one": [_outputs(rows, lambda v: 0.3 * sum(v.values()))]}).comparison
    assert set(tables) == set(COMPARISON_TABLES)
    board = _only(tables["leaderboard"])
    assert board["flag"] == "no claim: 1 seed, 5 are needed"
    assert board["rank"] == board["rank_hi95"] == 1
    assert np.isnan(board["rho"])
    assert tables["matched"].empty
    assert tables["matched_excess"].empty
    assert "one seed" in _only(tables["variance_components"])["note"]
    assert tables["correlation_shares"].empty


def test_a_store_of_joint_universes_alone_has_no_leaderboard(toys: Any) -> None:
    rows = [toys.nominal, *toys.joints(["a"], 4, 0)]
    heads = {arm: [_outputs(rows, lambda v: 0.3 * sum(v.values()), s) for s in range(2)] for arm in ("one", "other")}
    tables = _compared(toys, rows, heads).comparison
    for name in ("response_curves", "robustness", "leaderboard", "robustness_replicas"):
        assert tables[name].empty
    assert tables["variance_components"]["note"].eq("").all()


def test_variance_is_the_nuisances_where_all_trainings_answer_alike_and_theirs_where_each_has_its_own(
    toys: Any,
) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"]), *toys.joints(["a", "b"], 12, 1)]
    rng = np.random.default_rng(2)
    own = rng.standard_normal((6, 2))
    heads = {
        "alike": [_outputs(rows, lambda v: 0.5 * v.get("a", 0.0), s) for s in range(6)],
        "own": [
            _outputs(rows, lambda v, w=w: w @ [v.get("a", 0.0), v.get("b", 0.0)], s) for s, w in enumerate(0.5 * own)
        ],
    }
    shares = _compared(toys, rows, heads).comparison["variance_components"]
    assert _only(shares, arm="alike", component="nuisance")["share"] == pytest.approx(1.0, abs=1e-9)
    assert _only(shares, arm="own", component="residual")["share"] > 0.6
    assert (shares["flag"] == "").all()
    none = _compared(toys, rows[:5], {arm: [one[:5] for one in seeds] for arm, seeds in heads.items()})
    assert none.comparison["variance_components"]["note"].str.contains("no joint universes").all()


@dataclass(frozen=True)
class _Residual(Mean):
    """A mean of outputs whose loss is that of a second output, the residual at nominal."""

    truth_columns: tuple[str, ...] = ("energy",)

    def event_loss(self, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return outputs[..., 1] ** 2


def _harmed(toys: Any, better: bool, events: int = 6000) -> Bias:
    """Return two arms whose harm follows from how well they resolve an event: neither is robust for another reason.

    The first arm is better on hard events and much worse on easy ones; or, with ``better``, better everywhere.
    """
    rng = np.random.default_rng(3)
    rows = [toys.nominal, *toys.unisims(["a"])]
    hard = rng.uniform(size=events)
    sigma = np.stack([1.4 - 0.3 * hard, 0.7 + 0.8 * hard])
    if better:
        sigma[0] = 0.5 * sigma[1]
    residual = sigma * rng.standard_normal(sigma.shape)
    step = np.array([row.value.get("a", 0.0) for row in rows])[:, None]
    outputs = np.stack(
        [
            np.stack([residual[arm] + step * (0.5 * sigma[arm] ** 2), residual[arm] + 0.0 * step], axis=-1)
            for arm in range(2)
        ]
    )[:, None]
    data = toys.dataset(outputs, rows, arms=["one", "other"], truth=hard[:, None])
    return bias(Responses({"t": data, "u": data.copy()}, {}), tasks={"t": _Residual(), "u": _Residual()}, replicas=60)


def test_harm_that_comes_of_performance_alone_vanishes_at_equal_performance(toys: Any) -> None:
    tables = _harmed(toys, better=False).comparison
    row = _only(tables["matched"], task="t")
    assert row["plain_lo95"] > 0.0
    assert row["matched_lo95"] < 0.0 < row["matched_hi95"]
    assert abs(row["matched"]) < 0.2 * row["plain"]
    assert row["loss"] > 1.1 * row["minus_loss"]
    assert 0.1 < row["effective_share"] < 1.0
    together = _only(tables["matched"], task="all")
    assert together["matched"] == pytest.approx(row["matched"])
    board = tables["leaderboard"].set_index("arm")
    assert board.loc["other", "relative"] == pytest.approx(-row["matched"])
    assert board.loc["other", "relative_to"] == "one"
    assert np.isnan(board.loc["one", "relative"])
    # Two copies of a task correlate fully in both arms, at equal performance too.
    assert tables["matched_excess"]["excess"].abs().max() < 1e-9


def test_an_arm_that_is_better_everywhere_is_not_matched_and_the_note_says_why(toys: Any) -> None:
    tables = _harmed(toys, better=True).comparison
    row = _only(tables["matched"], task="t")
    assert np.isnan(row["matched"])
    assert "the first arm resolves better in all" in row["note"]
    assert row["loss"] < row["minus_loss"]
    assert row["plain_hi95"] < 0.0
    assert tables["matched_excess"].empty
    assert tables["leaderboard"]["relative"].isna().all()


def test_strata_are_bins_of_the_energy_within_each_class(toys: Any) -> None:
    """The task's own truth is a class; the energy is that of another task, for whose events it is known."""
    rng = np.random.default_rng(4)
    rows = [toys.nominal, *toys.unisims(["a"])]
    kind, energy = np.repeat([0.0, 1.0], 300), rng.uniform(size=600)
    outputs = rng.standard_normal((1, 1, 3, 600, 2))
    pair = {
        "kind": toys.dataset(outputs, rows, truth=kind[:, None]),
        "energy": toys.dataset(outputs, rows, truth=energy[:, None]),
    }
    samples = read_samples(pair)
    found = strata("kind", samples, {"kind": Mean(), "energy": _Residual()})
    assert sorted(np.bincount(found).tolist()) == [100] * 6
    for cell in range(6):
        assert len(np.unique(kind[found == cell])) == 1
    spans = [np.ptp(energy[found == cell]) for cell in range(6)]
    assert max(spans) < 0.5
