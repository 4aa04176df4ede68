"""A study trains its arms on its own sample, and is not judged on the vertices that it was trained on."""

from dataclasses import replace

import pytest

from shiftlab.arms import load_arms
from shiftlab.detector import Geometry
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.sample import write_sample
from shiftlab.run import run_study, train_study


@pytest.fixture
def training(plan, tracks, tmp_path):
    """The small study with a training sample of other vertices, and its own checkpoint folder."""
    other = tracks(40, first=5_000)
    write_sample(tmp_path / "train.h5", other.keep(Geometry().inside(other.position)), {"made_by": "tests"})
    data = replace(plan.data, train=tmp_path / "train.h5")
    return replace(plan, data=data, arms=replace(plan.arms, checkpoints=tmp_path / "checkpoints"))


def test_training_gives_every_arm_and_seed_with_the_vertices_that_it_saw(training):
    folder = train_study(training)
    trained = load_arms(folder, ("sums",), (0, 1))
    assert [arm.seed for arm in trained] == [0, 1]
    assert {len(arm.training_vertices) for arm in trained} == {20}


def test_training_again_leaves_what_is_trained_alone(training):
    folder = train_study(training)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    train_study(training)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_study_that_retrains_uses_the_arms_in_its_own_folder(training, tmp_path, monkeypatch):
    monkeypatch.setattr("shiftlab.run.steps.report", lambda *values, **named: values[3].write_text("no figures\n"))
    report = run_study(replace(training, retrain=True), root=tmp_path / "outputs")
    assert len(list((report.parent / "checkpoints").rglob("record.json"))) == 2


def test_arms_are_not_judged_on_their_training_vertices(training, tmp_path):
    own = replace(training, data=replace(training.data, train=training.data.evaluation))
    train_study(own)
    with pytest.raises(DataError, match="was trained on the vertices"):
        run_study(own, root=tmp_path / "outputs")


def test_training_without_a_sample_is_refused(plan):
    with pytest.raises(ConfigError, match=r"data\.train: missing"):
        train_study(plan)
