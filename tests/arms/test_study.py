"""A study's arms are trained once into one folder, and never mixed with another training."""

import json
from dataclasses import replace

import pytest

from shiftlab.arms import arms, load_arms
from shiftlab.arms.multitask import Multitask
from shiftlab.arms.training.study import deposits_digest, train_study
from shiftlab.detector import Detector
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.provenance import digest_json
from shiftlab.tasks import named_tasks

NAMES = ("foundation", "scratch", "classic")


@pytest.fixture(scope="module")
def trained(draw, pixel, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "demo"
    deposits = draw(40)
    train_study(deposits, pixel, folder, arms(), named_tasks(), names=NAMES, seeds=(0,), recipe=recipe, progress=False)
    return folder, deposits


def test_every_arm_is_stored_with_its_recipe_digest_and_curves(trained, recipe):
    folder, deposits = trained
    found = load_arms(folder, NAMES, (0,))
    assert [arm.name for arm in found] == list(NAMES)
    for arm in found:
        assert arm.record["recipe"]["body"] == recipe.body
        assert arm.record["data_digest"] == deposits_digest(deposits)
        assert arm.record["events"] == 40
        with pytest.raises(DataError, match="was trained on"):
            arm.refuse_training_vertices(deposits.events)
    assert set(found[0].record["curves"]) == {task.name for task in named_tasks()}
    assert found[0].foundation.card["curves"]["body"]
    assert not (folder / ".training").exists()


def test_the_same_training_again_does_nothing(trained, pixel, recipe):
    folder, deposits = trained
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train_study(deposits, pixel, folder, arms(), named_tasks(), names=NAMES, seeds=(0,), recipe=recipe, progress=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_arms_of_other_vertices_are_refused_before_anything_is_trained(trained, pixel, recipe, draw, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(Multitask, "train", None)  # to be called would be another error
    with pytest.raises(ConfigError, match="arms trained on other vertices"):
        train_study(
            draw(40, 9),
            pixel,
            folder,
            arms(),
            named_tasks(),
            names=("multitask",),
            seeds=(0,),
            recipe=recipe,
            progress=False,
        )


def test_fresh_does_not_go_on_with_what_it_cannot_remove(pixel, recipe, draw, tmp_path, monkeypatch):
    (tmp_path / "kept").touch()
    monkeypatch.setattr("shutil.rmtree", lambda folder, ignore_errors: None)
    with pytest.raises(RunError, match="cannot be removed for --fresh"):
        train_study(
            draw(2), pixel, tmp_path, arms(), named_tasks(), names=NAMES, recipe=recipe, fresh=True, progress=False
        )


def test_another_recipe_or_sample_is_refused(trained, pixel, recipe, draw):
    folder, deposits = trained
    for sample, other in ((deposits, replace(recipe, body=56)), (draw(40, 9), recipe)):
        with pytest.raises(RunError, match="another recipe, sample, detector or foundation model"):
            train_study(
                sample, pixel, folder, arms(), named_tasks(), names=NAMES, seeds=(0,), recipe=other, progress=False
            )


def test_an_arm_of_another_nominal_detector_is_not_taken_for_trained(trained, pixel, recipe):
    """Another nominal value gives other images; another prior does not."""
    folder, deposits = trained
    quiet = Detector.from_config({"effects": {"noise": {"enc": 400.0}}})
    same = {"names": ("classic",), "seeds": (0,), "recipe": recipe, "progress": False}
    with pytest.raises(RunError, match="another recipe, sample, detector"):
        train_study(deposits, replace(quiet, name=pixel.name), folder, arms(), named_tasks(), **same)


def test_a_record_that_does_not_say_its_detector_s_values_still_counts(trained, pixel, recipe):
    """Arms that shipped before records said them are not trained again."""
    folder, deposits = trained
    record = folder / "classic" / "seed0" / "record.json"
    before = record.read_text()
    said = json.loads(before)
    about = ("data_digest", "events", "samples", "detector", "recipe", "trained_tasks")
    said["identity"] = digest_json([{key: said[key] for key in about}, "classic", 0])
    del said["detector_digest"]
    record.write_text(json.dumps(said))
    same = {"names": ("classic",), "seeds": (0,), "recipe": recipe, "progress": False}
    train_study(deposits, pixel, folder, arms(), named_tasks(), **same)
    assert json.loads(record.read_text()) == said
    record.write_text(before)
