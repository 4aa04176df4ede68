"""``shiftlab pretrain`` makes a foundation model that can be stopped, gone on from, shared by processes, and used."""

import subprocess
import sys

import pytest

from shiftlab import cli
from shiftlab.arms import arms, load_arms
from shiftlab.arms.foundation_model import load_foundation
from shiftlab.arms.training.study import train_study
from shiftlab.events.sample import write_sample
from shiftlab.tasks import named_tasks

BRIEF = ("arms.train.body=64", "arms.train.batch=8", "workers=1", "device=cpu")


@pytest.fixture(scope="module")
def sample(draw, tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "train.h5"
    write_sample(path, draw(24), {"made_by": "tests"})
    return path


@pytest.fixture(scope="module")
def whole(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    assert cli.main(["pretrain", f"data.train={sample}", f"out={folder}", *BRIEF]) == 0
    return folder


def test_the_folder_holds_weights_card_vertices_and_curve_and_nothing_of_the_work(whole):
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert {"foundation.safetensors", "foundation.json", "pretraining_vertices.safetensors"} < names
    assert names - {"foundation.safetensors", "foundation.json", "pretraining_vertices.safetensors"} == {
        "curves/pretraining.csv",
        "curves/pretraining.json",
    }
    card = load_foundation(whole).card
    assert (card["events"], card["spent"]["total"]["presentations"]) == (24, 64)
    assert [file["name"] for file in card["files"]] == ["train.h5"]
    assert card["samples"]["numu_cc"] == 5


def test_one_that_was_stopped_goes_on_and_ends_with_the_same_weights(sample, whole, tmp_path, capsys):
    words = ["pretrain", f"data.train={sample}", f"out={tmp_path / 'model'}", *BRIEF]
    assert cli.main([*words, "arms.train.minutes=0.0001"]) == 2
    assert "the same command goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "model" / "foundation.json").exists()
    assert cli.main(words) == 0
    assert load_foundation(tmp_path / "model").digest == load_foundation(whole).digest


def test_a_finished_one_is_left_alone_and_another_recipe_is_refused(sample, whole, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    words = ["pretrain", f"data.train={sample}", f"out={whole}", *BRIEF]
    assert cli.main(words) == 0
    assert cli.main([*words, "arms.train.body_rate=0.01"]) == 2
    assert "another recipe or sample" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path in before} | {} == before


def test_heads_of_a_study_rest_on_it(whole, draw, pixel, recipe, tmp_path):
    tasks = named_tasks(["flavour"])
    given = {"names": ("foundation",), "seeds": (0,), "recipe": recipe, "foundation": whole, "progress": False}
    train_study(draw(24, 3), pixel, tmp_path, arms(), tasks, **given)
    (arm,) = load_arms(tmp_path)
    assert arm.frozen_body == load_foundation(whole).digest
    assert arm.network.body.plain()["width"] == 64  # the model's own size, not the recipe's


@pytest.mark.slow
def test_two_processes_give_the_model_that_one_gives(sample, tmp_path):
    words = [f"data.train={sample}", *BRIEF, "arms.train.pieces=2"]
    alone = [sys.executable, "-m", "shiftlab.cli", "pretrain", *words, f"out={tmp_path / 'one'}"]
    shared = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "shiftlab.cli"]
    for command in (alone, [*shared, "pretrain", *words, f"out={tmp_path / 'two'}"]):
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    one, two = (load_foundation(tmp_path / name).body.state_dict() for name in ("one", "two"))
    assert all((one[name] - two[name]).abs().max() < 2e-3 * one[name].abs().max() for name in one)
