"""The bias step as a whole: controls with known answers, errors in closed form, and refusals."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias import Bias, Mean, bias
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.tasks import named_tasks

ORACLE = Path(__file__).parents[1] / "oracles" / "paired_statistics.csv"
ODD = np.array([[1.0, 0.8, 0.1], [0.2, -0.5, 0.3], [0.3, 0.3, -0.3]])
EVEN = np.array([[0.2, 0.1, 0.0], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]])


def _tasks(number: int) -> dict[str, Mean]:
    return {f"t{i}": Mean() for i in range(number)}


def _store(toys: Any, outputs: np.ndarray, rows: list[Any], **columns: Any) -> SimpleNamespace:
    """A store of tasks t0, t1, ... from outputs (task, universe, event), one arm and one seed."""
    datasets = {f"t{i}": toys.dataset(one[None, None, :, :, None], rows, **columns) for i, one in enumerate(outputs)}
    return SimpleNamespace(datasets=datasets)


def _row(result: Bias, task: str, universe: str) -> Any:
    table = result.table
    return table[(table["task"] == task) & (table["universe"] == universe)].iloc[0]


def _rho(result: Bias) -> np.ndarray:
    return np.asarray(result.correlation["rho"].to_numpy())


def test_the_identity_universe_has_no_bias_and_no_error_at_all(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"]), toys.row("identity", "control")]
    result = bias(toys.linear(rows, ODD, EVEN, 300).responses(0), tasks=_tasks(3), replicas=50)
    identity = result.table[result.table["universe"] == "identity"]
    assert len(identity) == 3
    assert (identity[["bias", "bias_error", "bias_over_sigma_data"]] == 0.0).all(axis=None)
    assert not identity["significance"].any()
    assert not identity["mc_limited"].any()
    assert (identity["q_value"] == 1.0).all()


def test_a_known_linear_and_even_response_is_found_back(toys: Any) -> None:
    """Positive control: Sigma = R R^T + 2 Q Q^T over the data's errors, within the event errors."""
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"])]
    result = bias(toys.linear(rows, ODD, EVEN, 4000, 0.2).responses(1), tasks=_tasks(3))
    sigma = result.table.groupby("task")["sigma_data"].first().to_numpy()
    truth = ODD.T @ ODD + 2.0 * EVEN.T @ EVEN
    np.testing.assert_allclose(
        result.covariance["foundation", 0, "none"] * np.outer(sigma, sigma), truth, rtol=0.03, atol=3e-3
    )
    expected = (truth / np.sqrt(np.outer(np.diag(truth), np.diag(truth))))[np.triu_indices(3, 1)]
    np.testing.assert_allclose(_rho(result), expected, atol=0.02)
    response = result.unisims.set_index(["nuisance", "task"])
    assert response.loc[("a", "t1"), "odd"] * sigma[1] == pytest.approx(0.8, rel=0.03)
    assert response.loc[("a", "t0"), "even"] * sigma[0] == pytest.approx(0.2, rel=1e-6)


def test_copies_of_a_head_have_correlation_one_with_an_interval_of_no_width(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"])]
    outputs = toys.linear(rows, ODD, EVEN, 500, 1.0).outputs(2)
    result = bias(_store(toys, outputs[[0, 0, 1]], rows), tasks=_tasks(3), replicas=60)
    assert result.correlation.loc[0, ["rho", "lo", "hi"]].astype(float).tolist() == pytest.approx([1.0] * 3, abs=1e-9)


def test_heads_of_independent_universes_on_disjoint_vertices_are_uncorrelated(toys: Any) -> None:
    """Negative control: pulls of rho against 0 over 40 pairs of heads."""
    rows = [toys.nominal, *toys.unisims([f"n{k}" for k in range(6)])]
    own = np.repeat(np.eye(2), 3, axis=0) * 0.15
    pulls = []
    for trial in range(40):
        models = [toys.linear(rows, own[:, [t]], 0 * own[:, [t]], 250, jitter=0.3) for t in range(2)]
        heads = [model.outputs(2 * trial + t)[0] for t, model in enumerate(models)]
        store = _store(toys, np.stack(heads), rows)
        apart = {"vertex_uid": ("event", 10**6 + np.arange(250)), "event": 10**6 + np.arange(250)}
        store.datasets["t1"] = store.datasets["t1"].assign_coords(apart)
        row = bias(store, tasks=_tasks(2), replicas=60, seed=trial).correlation.iloc[0]
        pulls.append(row["rho"] / ((row["hi"] - row["lo"]) / 2))
    assert abs(np.mean(pulls)) < 4.0 / np.sqrt(len(pulls))
    assert np.mean(np.abs(pulls) < 1.0) > 0.5


def test_errors_of_a_mean_are_the_analytic_ones_and_pairing_gains(toys: Any) -> None:
    rng = np.random.default_rng(0)
    base, shift = rng.standard_normal(3000), 0.1 + 0.05 * rng.standard_normal(3000)
    rows = [toys.nominal, *toys.unisims(["a"])]
    result = bias(
        _store(toys, np.stack([base, base + shift, base - shift])[None], rows), tasks=_tasks(1), replicas=1000
    )
    row = _row(result, "t0", "a+1_throw0")
    assert row["bias"] == pytest.approx(shift.mean(), rel=1e-12)
    assert row["bias_error"] == pytest.approx(shift.std() / np.sqrt(3000), rel=0.1)
    assert row["nominal_error"] == pytest.approx(base.std() / np.sqrt(3000), rel=0.1)
    assert row["unpaired_error"] == pytest.approx(np.hypot(base.std(), (base + shift).std()) / np.sqrt(3000), rel=0.1)
    assert row["unpaired_error"] > 20.0 * row["bias_error"]
    assert row["sigma_data"] == pytest.approx(row["nominal_error"], rel=5.0 / np.sqrt(2000.0))  # of 1000 replicas


class _Count:
    """Events between two edges, a statistic that a test makes up."""

    statistic = "count"
    unit = "events"

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def score(self, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        inside = (outputs[..., 0] >= self.low) & (outputs[..., 0] < self.high)
        return inside.astype(np.float64) @ weights.T


def test_migration_between_bins_has_the_paired_error_of_the_oracle(toys: Any) -> None:
    rows = [line for line in ORACLE.read_text().splitlines() if not line.startswith("#")]
    oracle = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(rows)]
    x = np.random.default_rng(20240701).exponential(size=20_000)
    outputs = np.stack([x, 1.02 * x])
    universes = [toys.nominal, toys.row("scale+1", "unisim", {"scale": 1.0})]
    tasks = {f"t{i}": _Count(row["lo"], row["hi"]) for i, row in enumerate(oracle)}
    result = bias(_store(toys, np.stack([outputs] * len(oracle)), universes), tasks=tasks, replicas=400)
    for i, expected in enumerate(oracle):
        row = _row(result, f"t{i}", "scale+1")
        assert row["nominal"] == expected["N_nom"]
        assert row["bias"] == expected["delta"]
        assert row["bias_error"] == pytest.approx(expected["paired_sigma"], rel=0.14)
        assert row["unpaired_error"] == pytest.approx(expected["unpaired_sigma"], rel=0.14)
        assert row["mirrored"]


def test_events_of_one_vertex_are_resampled_together(toys: Any) -> None:
    rng = np.random.default_rng(1)
    base, shift = rng.standard_normal(400), rng.standard_normal(400)
    rows = [toys.nominal, *toys.unisims(["a"])]
    outputs = np.stack([base, base + shift, base - shift])
    vertex = np.arange(400, dtype=np.int64)
    once = bias(_store(toys, outputs[None], rows, vertex=vertex), tasks=_tasks(1))
    thrice = bias(_store(toys, np.tile(outputs, 3)[None], rows, vertex=np.tile(vertex, 3)), tasks=_tasks(1))
    columns = ["nominal", "bias", "bias_error", "unpaired_error", "sigma_data"]
    np.testing.assert_allclose(thrice.table[columns], once.table[columns], rtol=1e-9)


def test_the_order_of_events_changes_nothing(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"]), *toys.joints(["a", "b", "c"], 2, 0)]
    store = SimpleNamespace(datasets=toys.linear(rows, ODD, EVEN, 200).responses(4).datasets)
    order = np.random.default_rng(0).permutation(200)
    shuffled = SimpleNamespace(datasets={task: data.isel(event=order) for task, data in store.datasets.items()})
    first, second = (bias(one, tasks=_tasks(3), replicas=50) for one in (store, shuffled))
    for name in ("table", "correlation", "closure", "performance"):
        numbers = getattr(first, name).select_dtypes("float")
        np.testing.assert_allclose(getattr(second, name)[numbers.columns], numbers, rtol=1e-7, atol=1e-9)


def test_arms_and_seeds_stand_side_by_side_on_identical_universes(toys: Any) -> None:
    """The excess of arm A over arm C is the difference of their mean rho; equal arms have excess 0 exactly."""
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"])]
    one = toys.linear(rows, ODD, EVEN, 300, 1.0).outputs(0)
    other = toys.linear(rows, ODD * [1.0, -1.0, 1.0], EVEN, 300, 1.0).outputs(0)
    stacked = np.stack([np.stack([one, one]), np.stack([other, one])])
    datasets = {
        f"t{t}": toys.dataset(stacked[:, :, t, :, :, None], rows, arms=["foundation", "scratch"], seeds=[1, 2])
        for t in range(3)
    }
    result = bias(SimpleNamespace(datasets=datasets), tasks=_tasks(3), replicas=50)
    rho = result.correlation.groupby(["arm", "seed"])["rho"].mean()
    excess = result.excess.set_index("seed")
    assert excess.loc[1, "excess"] == pytest.approx(rho["foundation", 1] - rho["scratch", 1])
    assert excess.loc[1, "lo"] < excess.loc[1, "excess"] < excess.loc[1, "hi"]
    assert excess.loc[2, ["excess", "lo", "hi"]].tolist() == [0.0, 0.0, 0.0]
    assert excess["pairs"].tolist() == [3, 3, 3]
    assert excess.loc["all", "excess"] == pytest.approx(excess.loc[1, "excess"] / 2.0)
    assert "2 seeds, 5 are needed" in excess.loc["all", "flag"]
    ranges = result.seed_range.set_index(["arm", "task_a", "task_b"])
    assert ranges.loc[("foundation", "t0", "t1"), "rho_min"] == ranges.loc[("foundation", "t0", "t1"), "rho_max"]
    assert ranges.loc[("scratch", "t0", "t1"), "rho_min"] < -0.4
    assert ranges.loc[("scratch", "t0", "t1"), "rho_max"] > 0.4
    assert (ranges["seeds"] == 2).all()


def test_recalibrated_universes_have_their_own_covariance(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b", "c"]), *toys.unisims(["a"], recalibrate="mip")]
    outputs = toys.linear(rows, ODD, 0 * EVEN, 400, 0.1).outputs(0)
    outputs[:, -2:] = outputs[:, :1]
    result = bias(_store(toys, outputs, rows), tasks=_tasks(3), replicas=50)
    response = result.unisims.set_index(["recalibrate", "nuisance", "task"])["odd"]
    assert response["mip", "a", "t0"] == 0.0
    assert response["mip", "b", "t0"] == response["none", "b", "t0"]
    assert result.covariance["foundation", 0, "mip"][0, 0] < 0.3 * result.covariance["foundation", 0, "none"][0, 0]


def test_a_store_without_unisims_still_gives_biases(toys: Any) -> None:
    rows = [toys.nominal, *toys.joints(["a", "b", "c"], 2, 0)]
    result = bias(toys.linear(rows, ODD, EVEN, 200).responses(0), tasks=_tasks(3), replicas=20)
    assert len(result.table) == 12
    assert result.correlation.empty
    assert result.closure.empty
    assert result.covariance == {}
    assert result.summary()["arms"]["foundation"]["largest_bias"] == []


def test_registered_tasks_are_found_by_name(toys: Any) -> None:
    """Flavour and energy of the catalogue on made-up outputs; a smeared score loses AUC."""
    rng = np.random.default_rng(0)
    rows = [toys.nominal, *toys.unisims(["a"])]
    nue, energy = rng.integers(0, 2, 400).astype(float), rng.uniform(200.0, 900.0, 400)
    logit = 2.0 * nue - 1.0 + rng.standard_normal(400)
    logits = np.stack([logit, logit + rng.standard_normal(400), logit])
    reco = energy * (1.0 + 0.1 * rng.standard_normal(400)) * np.array([[1.0], [1.02], [0.98]])
    datasets = {
        "energy": toys.dataset(reco[None, None, :, :, None], rows, truth=energy[:, None]),
        "flavour": toys.dataset(logits[None, None, :, :, None], rows, truth=nue[:, None]),
    }
    result = bias(SimpleNamespace(datasets=datasets), replicas=60)
    assert _row(result, "energy", "a+1_throw0")["bias"] == pytest.approx(0.02, rel=0.05)
    assert _row(result, "flavour", "a+1_throw0")["bias"] < -0.05
    assert _row(result, "flavour", "a-1_throw0")["bias"] == 0.0
    performance = result.performance.set_index("statistic")
    assert performance.loc["AUC", "reference_value"] == 0.5
    assert performance.loc["AUC", "lo95"] < performance.loc["AUC", "lo"] < performance.loc["AUC", "value"]
    assert performance.loc["resolution", "value"] < performance.loc["resolution", "reference_value"]
    assert (performance["n_events"] == 400).all()
    only = bias(SimpleNamespace(datasets=datasets), tasks=["energy"], replicas=20)
    assert only.tasks == ("energy",)


def _refusals(toys: Any) -> tuple[np.ndarray, list[Any]]:
    rows = [toys.nominal, *toys.unisims(["a"])]
    return np.random.default_rng(0).standard_normal((1, 3, 30)), rows


def test_responses_that_are_not_finite_are_counted_and_named(toys: Any) -> None:
    outputs, rows = _refusals(toys)
    outputs[0, 2, [3, 7]] = np.nan
    outputs[0, 1, 7] = np.inf
    message = r"'t0', arm 'foundation', seed 0, universe 'a\+1_throw0': 1 of 30 .* \(event keys 10007\); 3 over all"
    with pytest.raises(DataError, match=message):
        bias(_store(toys, outputs, rows), tasks=_tasks(1), replicas=5)


def test_events_outside_the_evaluation_set_may_have_no_response(toys: Any) -> None:
    outputs, rows = _refusals(toys)
    outputs[0, :, 5] = np.nan
    evaluated = np.arange(30) != 5
    assert len(bias(_store(toys, outputs, rows, evaluated=evaluated), tasks=_tasks(1), replicas=5).table) == 2


def test_a_statistic_without_variance_is_refused(toys: Any) -> None:
    _, rows = _refusals(toys)
    message = "'t0', arm 'foundation', seed 0: mean is 0.7 in every bootstrap replica, so it has no variance"
    with pytest.raises(DataError, match=message):
        bias(_store(toys, np.full((1, 3, 30), 0.7), rows), tasks=_tasks(1), replicas=5)


def test_a_perfect_head_has_biases_but_none_in_units_of_an_error_that_nothing_tells(toys: Any) -> None:
    """An AUC of 1 in every replica has no spread: its shifts stay in the table, marked, and correlate with nothing."""
    rows = [toys.nominal, *toys.unisims(["a"])]
    truth = (np.arange(60.0)[:, None] % 2 == 0).astype(float)
    perfect = 4.0 * truth.T - 2.0 + np.random.default_rng(0).random((1, 60))
    worse = perfect + 6.0 * np.random.default_rng(1).standard_normal((1, 60))
    sums = np.random.default_rng(2).standard_normal((3, 60)) + np.arange(3)[:, None]
    logits = np.concatenate([perfect, worse, perfect])
    data = {
        "flavour": toys.dataset(logits[None, None, :, :, None], rows, truth=truth),
        "mean": toys.dataset(sums[None, None, :, :, None], rows, truth=truth),
    }
    (statistic,) = named_tasks(["flavour"])
    found = bias(SimpleNamespace(datasets=data), tasks={"flavour": statistic, "mean": Mean()}, replicas=20)
    flavour = found.table[found.table["task"] == "flavour"]
    assert flavour["bias"].iloc[0] < 0.0
    assert flavour["sigma_data"].isna().all()
    assert set(flavour["not_quoted"]) == {"AUC is 1 in every bootstrap replica: these events do not tell its error"}
    assert (found.table.loc[found.table["task"] == "mean", "not_quoted"] == "").all()
    assert (found.correlation["flag"] == "unreliable").all()
    (largest,) = found.summary()["arms"]["foundation"]["largest_bias"]
    assert largest["task"] == "mean"


def test_scatter_lifts_a_calibration_error_less_and_it_lies_in_its_interval(toys: Any) -> None:
    """Of 300 calibrated events, all of the error is scatter; one step of the bootstrap leaves 2 - sqrt(2) of it."""
    rows = [toys.nominal, *toys.unisims(["a"])]
    (statistic,) = named_tasks(["flavour"])
    found, raw = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        logit = rng.normal(0.0, 1.5, 300)
        truth = (rng.random(300) < 1.0 / (1.0 + np.exp(-logit))).astype(float)[:, None]
        logits = logit[None] + np.zeros((3, 1))
        data = {"flavour": toys.dataset(logits[None, None, :, :, None], rows, truth=truth)}
        table = bias(SimpleNamespace(datasets=data), replicas=60).performance.set_index("statistic")
        found.append(table.loc["ECE", ["lo", "value", "hi"]].to_numpy(dtype=float))
        raw.append(float(statistic.further(logit[:, None], truth, np.ones((1, 300)))["ECE"][0]))
    low, value, high = np.array(found).T
    assert (low <= value).all()
    assert (value <= high).all()
    assert np.mean(value) / np.mean(raw) == pytest.approx(2.0 - 2.0**0.5, abs=0.1)


def test_a_class_with_too_few_events_is_refused(toys: Any) -> None:
    outputs, rows = _refusals(toys)
    data = toys.dataset(outputs[:, None, :, :, None], rows, truth=(np.arange(30.0)[:, None] == 4).astype(float))
    with pytest.raises(DataError, match=r"task 'flavour': AUC has no value in \d+ of 201 bootstrap replicas of 30"):
        bias(SimpleNamespace(datasets={"flavour": data}))


def test_unknown_tasks_and_too_few_replicas_are_refused(toys: Any) -> None:
    outputs, rows = _refusals(toys)
    store = _store(toys, outputs, rows)
    with pytest.raises(UnknownNameError, match="unknown task 't9'"):
        bias(store, tasks={"t9": Mean()})
    with pytest.raises(ConfigError, match=r"bias\.replicas = 1"):
        bias(store, tasks=_tasks(1), replicas=1)
