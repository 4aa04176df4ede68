"""Features of real networks: equal for any number of workers, of the arms' own answers, and not moved by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shiftlab.arms import load_arms
from shiftlab.bias.drift.tables import BodyFeatures, drift_table
from shiftlab.detector import NOMINAL, Universe
from shiftlab.errors import ConfigError, DataError
from shiftlab.responses.features import Features, feature_universes, first_order_of, layers_of, run_bodies
from shiftlab.tasks import named_tasks

CHECKPOINTS = Path(__file__).parents[2] / "studies" / "checkpoints" / "demo"
TASKS = named_tasks(["segmentation", "flavour", "energy"])
UNIVERSES = (
    NOMINAL,
    Universe("nothing", group="control"),
    Universe("gain_scale+1", (("gain_scale", 1.0),), group="unisim"),
    Universe("threshold_level+1", (("threshold_level", 1.0),), group="unisim"),
)


@pytest.fixture(scope="module")
def sample(make_tracks):
    return make_tracks(36)


@pytest.fixture(scope="module")
def shipped():
    """Both seeds of the shared body, which rest on one checkpoint."""
    return load_arms(CHECKPOINTS, ["foundation"])


@pytest.fixture(scope="module")
def features(sample, pixel_lar, shipped) -> Features:
    return run_bodies(sample, pixel_lar, UNIVERSES, shipped, TASKS, most=80, chunk=20)


@pytest.fixture(scope="module")
def body(features):
    assert list(features.bodies) == ["foundation 0 1"]
    return features.bodies["foundation 0 1"]


def test_two_seeds_on_one_frozen_body_are_one_set_of_features(body):
    assert body["seed"].values.tolist() == [0, 1]
    assert list(layers_of(body)) == ["layer 0", "layer 1", "layer 2", "layer 3", "voxels"]
    assert set(first_order_of(body)) == {"flavour", "energy"}
    assert "segmentation" in body.attrs["not_linear"]


def test_a_universe_that_displaces_nothing_moves_nothing_bit_for_bit(body):
    """The identity shift has drift 0, exactly, in every measure of the table."""
    for layer in layers_of(body).values():
        np.testing.assert_array_equal(layer[1], layer[0])
    assert body["matched"].values[:2].tolist() == [1.0, 1.0]
    assert body["new"].values[:2].tolist() == [0.0, 0.0]
    for answers in first_order_of(body).values():
        np.testing.assert_array_equal(answers[:, 1], answers[:, 0])
    layers = {name: layer.values for name, layer in layers_of(body).items()}
    seen = np.isfinite(layers["layer 0"]).all(axis=(0, 2))
    given = BodyFeatures(
        *("foundation", "", (0, 1), tuple(body["universe"].values.tolist()), tuple(body["nuisance"].values.tolist())),
        *(body["strength"].values, body["throw"].values, body["vertex_uid"].values[seen]),
        {name: values[:, seen] for name, values in layers.items()},
        *(body["matched"].values, body["new"].values),
    )
    table = drift_table([given]).set_index(["universe", "layer"])
    still = table.loc["nothing"]
    assert (still[["drift2", "drift2_lo", "drift2_hi", "mmd2"]] == 0.0).all(axis=None)
    assert (still[["cka", "cka_lo", "cka_hi"]] == 1.0).all(axis=None)
    assert (table.loc["gain_scale+1", "drift2"] > 0.0).all()
    assert table["auc"].isna().all()  # 18 vertices are too few for the trees
    assert set(table["seed"]) == {"all"}


def test_nominal_answers_are_those_of_the_arms(body, sample, pixel_lar, shipped):
    """The head at nominal is the head itself, on both routes."""
    key = body["event"].values.tolist()
    rows = [sample.events.key.tolist().index(one) for one in key]
    chosen = sample.take(rows)
    for seed, arm in enumerate(shipped):
        for task in TASKS[1:]:
            expected = arm.predict(pixel_lar.image(chosen), None, [task])[task.name]
            scored = task.scored(chosen.events)
            for route in (0, 1):
                found = first_order_of(body)[task.name].values[seed, 0, route][scored]
                known = np.isfinite(found)
                assert known.mean() > 0.9  # one event of the sample lies outside
                np.testing.assert_allclose(found[known], expected[known], rtol=1e-4, atol=1e-4)


def test_workers_change_no_number_and_the_file_holds_all(features, sample, pixel_lar, shipped, tmp_path):
    """Two chunks on two threads, as on one; equal features give equal bytes."""
    again = run_bodies(sample, pixel_lar, UNIVERSES, shipped, TASKS, most=80, chunk=20, workers=2)
    features.save(tmp_path / "one.nc")
    again.save(tmp_path / "two.nc")
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()
    read = Features.load(tmp_path / "one.nc")
    assert read.attrs == features.attrs
    for name, data in features.bodies.items():
        assert read.bodies[name].identical(data)


def test_events_are_taken_evenly_from_those_that_a_task_evaluates(sample, pixel_lar, shipped):
    few = run_bodies(sample, pixel_lar, UNIVERSES[:1], shipped, TASKS[1:], most=10)
    data = few.bodies["foundation 0 1"]
    evaluated = np.logical_or.reduce([task.evaluated(sample.events) for task in TASKS[1:]])
    places = np.flatnonzero(np.isin(sample.events.key.numpy(), data["event"].values))
    assert len(places) == 10
    assert evaluated[places].all()
    assert np.ptp(np.diff(np.searchsorted(np.flatnonzero(evaluated), places))) <= 1


def test_only_nuisances_alone_without_recalibration_are_looked_at():
    others = (
        Universe("joint", (("gain_scale", 1.0), ("noise_enc", 1.0)), group="multisim"),
        Universe("mip", (("gain_scale", 1.0),), recalibrate="mip", group="unisim"),
    )
    assert feature_universes([*UNIVERSES, *others]) == (UNIVERSES[0], *UNIVERSES[2:])


def test_what_has_no_features_is_refused(sample, pixel_lar, arm, shipped, tmp_path):
    with pytest.raises(ConfigError, match="arm 'sums' has no network"):
        run_bodies(sample, pixel_lar, UNIVERSES, [arm("sums")(0)], TASKS[1:])
    with pytest.raises(ConfigError, match="no arm is given"):
        run_bodies(sample, pixel_lar, UNIVERSES, [], TASKS)
    with pytest.raises(DataError, match="no event is evaluated"):
        run_bodies(sample.take([2, 5]), pixel_lar, UNIVERSES, shipped, TASKS[1:])
    (tmp_path / "cut.nc").write_bytes(b"no file")
    with pytest.raises(DataError, match="cannot read features"):
        Features.load(tmp_path / "cut.nc")


def test_an_arm_of_one_body_per_task_has_features_and_no_first_order(sample, pixel_lar):
    arms = load_arms(CHECKPOINTS, ["scratch"], [0])
    few = run_bodies(sample.take(list(range(12))), pixel_lar, UNIVERSES[:1], arms, TASKS[1:], most=12)
    assert list(few.bodies) == ["scratch 0 flavour", "scratch 0 energy"]
    assert all(not first_order_of(data) for data in few.bodies.values())
    one, two = (layers_of(data)["layer 3"].values for data in few.bodies.values())
    assert not np.allclose(one, two, equal_nan=True)
