"""A study with a manifest trains on one part and is judged on another; its identity says which."""

from dataclasses import replace

import pytest

from shiftlab.arms import load_arms
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events import read
from shiftlab.events.splits import Manifest, make_manifest
from shiftlab.run import run_study, train_study
from shiftlab.run.ingredients import identity, read_events, read_training


@pytest.fixture
def parted(plan, tmp_path):
    """The small study, its one file divided in half; nothing is trained yet."""
    path = tmp_path / "manifest.json"
    make_manifest([plan.data.evaluation], {"train": 0.5, "test": 0.5}, seed=1).save(path)
    data = replace(plan.data, train=plan.data.evaluation, manifest=path, part="test")
    return replace(plan, data=data, arms=replace(plan.arms, checkpoints=tmp_path / "checkpoints"))


def test_the_parts_are_those_of_the_manifest_and_make_up_the_file(parted):
    manifest = Manifest.load(parted.data.manifest)
    judged, muons = read_events(parted)
    training = read_training(parted)
    manifest.require(judged, "test")
    manifest.require(muons, "test")
    manifest.require(training, "train")
    assert len(judged) + len(muons) + len(training) == len(read(parted.data.evaluation))


def test_a_study_trained_on_one_part_is_judged_on_the_other(parted, tmp_path, monkeypatch):
    monkeypatch.setattr("shiftlab.run.steps.report", lambda *values, **named: values[3].write_text("no figures\n"))
    folder = train_study(parted)
    for arm in load_arms(folder, ("sums",), (0, 1)):
        assert arm.training_vertices.tolist() == Manifest.load(parted.data.manifest).part("train").tolist()
    assert run_study(parted, root=tmp_path / "outputs").is_file()
    whole = replace(parted, data=replace(parted.data, manifest=None, part=None))
    with pytest.raises(DataError, match="was trained on the vertices"):
        run_study(whole, root=tmp_path / "outputs")


def test_the_part_that_is_trained_on_is_not_judged(parted):
    with pytest.raises(ConfigError, match=r"data\.part=train: the arms are trained on this part"):
        read_events(replace(parted, data=replace(parted.data, part="train")))
    told = replace(parted, data=replace(parted.data, part="train", train_part="test"))
    Manifest.load(parted.data.manifest).require(read_events(told)[0], "train")


def test_a_part_must_be_named_and_exist(parted):
    with pytest.raises(ConfigError, match=r"data\.part: missing; the manifest has test, train"):
        read_events(replace(parted, data=replace(parted.data, part=None)))
    with pytest.raises(UnknownNameError, match="Did you mean 'test'"):
        read_events(replace(parted, data=replace(parted.data, part="tset")))


def test_a_file_that_the_manifest_does_not_know_is_refused(parted, tracks, tmp_path):
    from shiftlab.detector import Geometry
    from shiftlab.events.sample import write_sample

    other = tracks(6, first=5_000)
    write_sample(tmp_path / "other.h5", other.keep(Geometry().inside(other.position)), {})
    with pytest.raises(DataError, match="6 of these 6 events are of vertices that the manifest does not have"):
        read_training(replace(parted, data=replace(parted.data, train=tmp_path / "other.h5")))


def test_manifest_part_and_mixed_revisions_are_in_the_identity(parted, tmp_path):
    plain = identity(parted, "cpu")
    assert identity(replace(parted, data=replace(parted.data, part="train")), "cpu") != plain
    assert identity(replace(parted, data=replace(parted.data, mix_revisions=True)), "cpu") != plain
    copy = tmp_path / "copy.json"
    copy.write_bytes(parted.data.manifest.read_bytes())
    assert identity(replace(parted, data=replace(parted.data, manifest=copy)), "cpu") == plain
    make_manifest([parted.data.evaluation], {"train": 0.5, "test": 0.5}, seed=2).save(tmp_path / "other.json")
    assert identity(replace(parted, data=replace(parted.data, manifest=tmp_path / "other.json")), "cpu") != plain
