"""A study's arms are trained once into one folder, and never mixed with another training."""

from dataclasses import replace

import pytest

from shiftlab.arms import arms, load_arms
from shiftlab.arms.multitask import Multitask
from shiftlab.arms.training.study import deposits_digest, train_study
from shiftlab.errors import ConfigError, DataError, RunError
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
        with pytest.raises(RunError, match="another recipe, sample or foundation model"):
            train_study(
                sample, pixel, folder, arms(), named_tasks(), names=NAMES, seeds=(0,), recipe=other, progress=False
            )
