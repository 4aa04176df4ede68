"""The mechanism on stores of responses: heads that are linear in the features are explained in full, others are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shiftlab.bias import Mean
from shiftlab.bias.bootstrap import HALF_68, HALF_95, poisson_weights
from shiftlab.bias.drift.tables import HARM_COLUMNS, TABLE_COLUMNS, BodyFeatures, drift_table, harm_table, last_layer
from shiftlab.bias.first_order import MECHANISM_COLUMNS, POINT_COLUMNS, LinearHeads, first_order_tables
from shiftlab.bias.mechanism import fraction_interval, mechanism
from shiftlab.errors import DataError

EVENTS, FEATURES = 300, 5
NUISANCES = ("alpha", "beta", "gamma", "delta")
HEADS = {"a": np.array([1.0, 0.5, 0.0, 0.3, 0.0]), "b": np.array([0.2, -0.4, 0.8, 0.0, 0.1])}


@pytest.fixture(scope="module")
def world(toys: Any) -> dict[str, Any]:
    """Features (universe, event, feature) that four nuisances move, and the store of heads that are linear in them."""
    rng = np.random.default_rng(0)
    rows = [toys.nominal, *toys.unisims(NUISANCES), *toys.joints(NUISANCES, 2, seed=1)]
    pull = 0.3 * rng.standard_normal((len(NUISANCES), FEATURES))
    values = np.array([[row.value.get(name, 0.0) for name in NUISANCES] for row in rows])
    nominal = rng.standard_normal((EVENTS, FEATURES))
    move = 1.0 + 0.3 * rng.standard_normal((EVENTS, 1))
    features = nominal + (values @ pull)[:, None, :] * move
    bend = 0.15 * (values @ pull)[:, None, :] ** 2 * np.ones((EVENTS, 1))
    return {"rows": rows, "features": features, "bend": bend}


def store(toys: Any, world: dict[str, Any], bend: float = 0.0) -> dict[str, Any]:
    """Responses of the two heads; with ``bend`` they see more than the features' first order."""
    seen = world["features"] + bend * world["bend"]
    return {task: toys.dataset((seen @ w)[None, None, :, :, None], world["rows"]) for task, w in HEADS.items()}


def heads(world: dict[str, Any], scale: float = 1.0, few: int = EVENTS) -> LinearHeads:
    """Nominal outputs plus slopes times the displacement, in the universes of one nuisance."""
    places = [u for u, row in enumerate(world["rows"]) if row.group != "multisim"]
    phi = world["features"][places][:, :few]
    outputs = {task: (phi[0] + scale * (phi - phi[0])) @ weight for task, weight in HEADS.items()}
    names = tuple(world["rows"][u].name for u in places)
    key = 10_000 + np.arange(few)
    return LinearHeads(
        *("foundation", 0, names, ("features",), key),
        {task: one[:, None, :, None] for task, one in outputs.items()},
        {"c": "answers voxel by voxel"},
    )


def biases(sigma: float = 0.1) -> pd.DataFrame:
    return pd.DataFrame([("foundation", 0, task, sigma) for task in HEADS], columns="arm seed task sigma_data".split())


def tables(toys: Any, world: dict[str, Any], linear: LinearHeads, bend: float = 0.0, sigma: float = 0.1) -> Any:
    statistics = {task: Mean() for task in HEADS}
    data = store(toys, world, bend)
    return first_order_tables([linear], data, statistics, biases(sigma), replicas=40, seed=3)


def test_heads_that_are_linear_in_the_features_are_explained_in_full(toys: Any, world: dict[str, Any]) -> None:
    """Whatever the events: on a third of them as on all."""
    for few in (EVENTS, 100):
        table, points = tables(toys, world, heads(world, few=few))
        assert table.columns.tolist() == list(MECHANISM_COLUMNS)
        assert points.columns.tolist() == list(POINT_COLUMNS)
        known = table[table["route"] == "features"].set_index("task")
        assert known["explained"].to_numpy() == pytest.approx(1.0, abs=1e-9)
        assert known.loc[list(HEADS), "slope"].to_numpy() == pytest.approx(1.0, abs=1e-9)
        assert set(known["events"]) == {few}
        np.testing.assert_allclose(points["predicted"], points["bias"], atol=1e-9)
        assert points["difference_error"].max() < 1e-9
        assert len(points) == 2 * 8


def test_points_are_the_biases_in_errors_of_the_data(toys: Any, world: dict[str, Any]) -> None:
    _, points = tables(toys, world, heads(world), sigma=0.05)
    outputs = store(toys, world)["a"]["output"].values[0, 0, :, :, 0]
    for u, row in enumerate(world["rows"][:9]):
        if row.group == "unisim":
            found = points[(points["task"] == "a") & (points["universe"] == row.name)].iloc[0]
            assert found["bias"] == pytest.approx((outputs[u] - outputs[0]).mean() / 0.05)
            assert (found["nuisance"], found["strength"]) == next(iter(row.value.items()))


def test_half_a_slope_and_a_bent_response_are_not_explained(toys: Any, world: dict[str, Any]) -> None:
    """Heads half as steep: slope 2, 1 - 1/4 explained. A response that bends leaves the first order behind."""
    table, _ = tables(toys, world, heads(world, scale=0.5))
    of_all = table[table["task"] == "all"].iloc[0]
    assert of_all["explained"] == pytest.approx(0.75, abs=1e-6)
    assert table[table["task"] == "a"]["slope"].iloc[0] == pytest.approx(2.0)
    bent, _ = tables(toys, world, heads(world), bend=3.0)
    assert bent[bent["task"] == "all"]["explained"].iloc[0] < 0.95


def test_a_task_without_a_fraction_says_why(toys: Any, world: dict[str, Any]) -> None:
    table, _ = tables(toys, world, heads(world))
    assert table[table["task"] == "c"]["reason"].tolist() == ["answers voxel by voxel"]
    blind, points = tables(toys, world, heads(world), sigma=float("nan"))
    assert points.empty
    assert set(blind["reason"]) == {"answers voxel by voxel", "these events do not tell its statistical error"}
    one = replace(heads(world, few=1), reasons={})
    alone, _ = tables(toys, world, one)
    assert alone["reason"].str.startswith("not on these events: ").all()


def test_events_without_a_token_are_left_out(toys: Any, world: dict[str, Any]) -> None:
    whole = heads(world)
    outputs = {task: values.copy() for task, values in whole.outputs.items()}
    outputs["a"][:, :, :7] = np.nan
    table, _ = tables(toys, world, replace(whole, outputs=outputs))
    assert table[table["task"] == "a"]["events"].tolist() == [EVENTS - 7]
    assert table[table["task"] == "a"]["explained"].iloc[0] == pytest.approx(1.0, abs=1e-9)


def test_features_of_other_networks_are_refused(toys: Any, world: dict[str, Any]) -> None:
    whole = heads(world)
    other = {task: 1.01 * values for task, values in whole.outputs.items()}
    with pytest.raises(DataError, match="task 'a': the nominal outputs differ from those of the responses"):
        tables(toys, world, replace(whole, outputs=other))
    fewer = replace(whole, universes=whole.universes[:-1], outputs={task: v[:-1] for task, v in whole.outputs.items()})
    with pytest.raises(DataError, match=r"no features in universe delta-1_throw0"):
        tables(toys, world, fewer)


def body(world: dict[str, Any], task: str = "") -> BodyFeatures:
    rows = [row for row in world["rows"] if row.group != "multisim"]
    layers = {"tokens": world["features"][: len(rows)].astype(np.float32)}
    moved = [next(iter(row.value.items()), ("", 0.0)) for row in rows]
    return BodyFeatures(
        *("foundation", task, (0,) if task else (0, 1), tuple(row.name for row in rows)),
        *(tuple(name for name, _ in moved), np.array([strength for _, strength in moved])),
        *(np.zeros(len(rows), dtype=np.int64), np.arange(EVENTS), layers, np.ones(len(rows)), np.zeros(len(rows))),
    )


def harms(sizes: dict[str, float], tasks: tuple[str, ...] = ("a",)) -> pd.DataFrame:
    rows = [
        ("foundation", seed, task, "unisim", "none", "", name, size)
        for seed in (0, 1)
        for task in tasks
        for name, size in sizes.items()
    ]
    return pd.DataFrame(
        rows, columns="arm seed task group recalibrate not_quoted universe bias_over_sigma_data".split()
    )


def test_drift_that_ranks_as_harm_does_correlates_fully(world: dict[str, Any]) -> None:
    """A shared body against the heads of each seed; a body of one task against that task alone."""
    table = drift_table([body(world)], trees="none")
    assert table.columns.tolist() == list(TABLE_COLUMNS)
    assert table["seed"].unique().tolist() == ["all"]
    sizes = {row.universe: row.drift2**3 for row in table.itertuples()}
    found = harm_table(table, harms(sizes, ("a", "b")))
    assert found.columns.tolist() == list(HARM_COLUMNS)
    assert found[["seed", "task"]].to_numpy().tolist() == [[0, "a"], [0, "b"], [1, "a"], [1, "b"]]
    assert found["rho"].to_numpy() == pytest.approx(1.0)
    assert set(found["families"]) == {4}
    own = harm_table(drift_table([body(world, "b")], trees="none"), harms(sizes, ("a", "b")))
    assert own[["seed", "task"]].to_numpy().tolist() == [[0, "b"]]
    few = table[table["nuisance"] != "alpha"]
    assert harm_table(few, harms(sizes)).empty


def test_lost_events_are_left_out_and_counted(world: dict[str, Any]) -> None:
    whole = body(world)
    layer = whole.layers["tokens"].copy()
    layer[2, :5] = np.nan
    table = drift_table([replace(whole, layers={"tokens": layer})], trees="none").set_index("universe")
    lost = table["events_lost"]
    assert lost.iloc[1] == 5
    assert lost.drop(lost.index[1]).eq(0).all()
    assert table["events"].iloc[1] == EVENTS - 5
    layer[2, 6:] = np.nan
    with pytest.raises(DataError, match=r"arm 'foundation', seed all, body 'shared', universe 'alpha-1_throw0'"):
        drift_table([replace(whole, layers={"tokens": layer})], trees="none")


def test_trees_are_taught_in_the_layer_that_heads_read_last(world: dict[str, Any]) -> None:
    assert last_layer(["layer 0", "layer 1", "voxels"]) == "layer 1"
    assert last_layer(["voxels"]) == "voxels"
    one = body(world)
    one = replace(one, universes=one.universes[:2], layers={"layer 0": one.layers["tokens"], **one.layers})
    area = drift_table([one]).set_index("layer")["auc"]
    assert np.isnan(area["layer 0"])
    assert area["tokens"] > 0.5


def _covered(experiments: int, events: int) -> np.ndarray:
    """Return how often the 68% and 95% intervals over events of the fraction explained hold it; fixed universes.

    Each event answers each universe in its own way: b = r (1 + 0.5 x) + bend r^2 (1 + 0.5 y) + noise, of which the
    linear head has the first term and half of the noise.
    """
    response = np.random.default_rng(1).normal(size=(8, 2))
    bend = 0.5 * response**2
    truth = 1.0 - (bend**2).sum() / ((response + bend) ** 2).sum()
    inside = []
    for seed in range(experiments):
        rng = np.random.default_rng((7, seed))
        x, y, own, shared = (rng.normal(size=(events, *shape)) for shape in ((1, 1), (1, 1), (8, 2), (8, 2)))
        linear = response * (1.0 + 0.5 * x) + 2.0 * shared
        real = linear + bend * (1.0 + 0.5 * y) + 2.0 * own
        weight = poisson_weights(np.arange(events), range(121), seed)
        weight[0] = 1.0
        weight /= weight.sum(axis=1, keepdims=True)
        b, d = (np.einsum("re,eut->rut", weight, side) for side in (real, linear))
        found = mechanism(b, d, np.eye(2)).explained_total
        ends = (fraction_interval(found, half) for half in (HALF_68, HALF_95))
        inside.append([low <= truth <= high for low, high in ends])
    return np.asarray(np.mean(inside, axis=0))


def test_the_interval_over_events_covers_the_fraction_of_a_catalogue_of_universes() -> None:
    """120 experiments where events tell what is unexplained: 3 binomial errors are 0.13 and 0.06."""
    assert _covered(120, 400) == pytest.approx([0.683, 0.95], abs=0.13)


@pytest.mark.slow
@pytest.mark.parametrize(("events", "measured"), [(50, (0.838, 0.89)), (100, (0.868, 0.989)), (400, (0.714, 0.966))])
def test_the_interval_over_events_covers_as_its_docstring_says(events: int, measured: tuple[float, float]) -> None:
    """2,000 experiments; 3 binomial errors are 0.03 and 0.02."""
    shares = _covered(2000, events)
    print(events, shares.round(3).tolist())
    assert shares == pytest.approx(measured, abs=0.03)
