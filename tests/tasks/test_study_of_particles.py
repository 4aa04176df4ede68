"""Particles, vertices and directions through the chain: images in displaced detectors, counts, bias, intervals."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from shiftlab.arms.classic import Classic
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import training_set
from shiftlab.bias import bias
from shiftlab.detector import NOMINAL, detector, unisim
from shiftlab.errors import ConfigError
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks

_spec = importlib.util.spec_from_file_location("crossing", Path(__file__).with_name("crossing.py"))
crossing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(crossing)

NAMES = ["direction", "neutrino_energy", "particle_id", "particles", "vertex"]
TASKS = named_tasks(NAMES)


@pytest.fixture(scope="module")
def pixel():
    return detector("pixel_lar")


@pytest.fixture(scope="module")
def found(pixel):
    universes = (NOMINAL, *unisim(pixel, only=("lifetime_tau",)))
    events = crossing.crossings(60)
    responses = respond(events, pixel, universes, [crossing.Knowing(0)], tasks=TASKS, chunk=25)
    return responses, bias(responses, replicas=40)


def test_every_metric_of_every_task_has_an_interval(found):
    table = found[1].performance
    assert set(table["task"]) == set(NAMES)
    rows = table[table["value"].notna()]
    never = rows[rows["lo"].isna() | rows["hi"].isna() | rows["lo95"].isna()]
    assert list(never["statistic"]) == []
    assert (rows["lo"] <= rows["hi"]).all()
    assert (rows["lo95"] <= rows["lo"] + 1e-12).all()
    # No event holds one of these kinds, and nothing was called so.
    absent = {f"{what} of {kind}" for what in ("F1", "precision", "recall") for kind in ("gamma", "electron")}
    assert set(table[table["value"].isna()]["statistic"]) == {*absent, "recall of pion"}


def test_events_that_were_called_one_pion_are_missed_and_made_up(found):
    table = found[1].performance.set_index(["task", "statistic"])["value"]
    responses = found[0]
    number = responses.task("particles")["event"].values % 5
    odd = number == 0
    data = responses.task("particles")["output"].sel(universe="nominal").values[0, 0]
    ari = data[:, TASKS[3].output_names.index("ari")]
    np.testing.assert_allclose(ari[~odd], 1.0, atol=0.3)  # the threshold takes a few cells
    assert np.abs(ari[odd]).max() < 0.1
    assert table["particles", "mean ARI"] == pytest.approx(0.78, abs=0.05)
    assert table["particle_id", "accuracy of matches"] > table["particle_id", "recall of proton"]
    assert table["particle_id", "precision of pion"] == 0.0
    assert 0 < table["particle_id", "ECE of matches"] < 0.5


def test_a_shorter_lifetime_pulls_vertices_to_the_anode_and_a_longer_one_away(found):
    """Charge from far away is lost most, so that the centre of charge, on which the arm builds, comes nearer."""
    x = found[0].task("vertex")["observable"]
    nominal, shorter, longer = (
        x.sel(universe=name).values[0, 0] for name in ("nominal", "lifetime_tau-1", "lifetime_tau+1")
    )
    assert (shorter < nominal).mean() > 0.7
    assert (longer > nominal).mean() > 0.7
    assert (shorter - nominal).mean() < 0 < (longer - nominal).mean()
    bias = found[1].table.set_index(["task", "universe"])["bias"]
    assert bias["vertex", "lifetime_tau-1"] != 0


def test_boosted_trees_answer_three_numbers_and_refuse_sets(pixel, tmp_path):
    tasks = named_tasks(["vertex", "direction"])
    data = training_set(crossing.crossings(90, seed=1), pixel, tasks, lambda events: None)
    assert data.targets["vertex"].shape == (90, 3)
    recipe = Recipe(event_trees=20)
    arm = Classic.train(data, tasks, 0, recipe, Workshop(tmp_path / "state", "identity"))
    assert sorted(arm.models) == [f"{task}.{i}" for task in ("direction", "vertex") for i in range(3)]
    assert arm.tasks == ("vertex", "direction")
    arm.save(tmp_path)
    image = pixel.image(crossing.crossings(30, seed=2))
    first = arm.predict(image, None, tasks)
    again = Classic.load(tmp_path, 0).predict(image, None, tasks)
    for task in tasks:
        assert first[task.name].shape == (30, 3)
        assert np.array_equal(first[task.name], again[task.name])
    truth = tasks[0].truth(image.events)
    reached = tasks[0].score(first["vertex"].astype(float), truth, np.ones((1, 30)))[0]
    assert reached < 0.5 * tasks[0].references(first["vertex"], truth, np.ones(30))["68% distance"][1]
    with pytest.raises(ConfigError, match="has no model of sets, which task 'particles' asks for"):
        Classic.train(data, named_tasks(["particles"]), 0, recipe, Workshop(tmp_path / "state", "identity"))
