"""Stored arms: the same bytes, the same answers, and a clear word when a file is not what it should be."""

import json
import shutil

import numpy as np
import pytest
import torch

from shiftlab.arms import arms, load_arms
from shiftlab.arms.checkpoint import round_weights
from shiftlab.arms.classic import Classic
from shiftlab.arms.foundation import Foundation
from shiftlab.arms.scratch import Scratch
from shiftlab.arms.training import Workshop
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.tasks import named_tasks

TASKS = named_tasks()


@pytest.fixture(scope="module")
def classic(lesson, recipe, tmp_path_factory):
    return Classic.train(lesson, TASKS, 0, recipe, Workshop(tmp_path_factory.mktemp("state"), "x"))


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["arm", "alone", "classic"])
def test_a_loaded_arm_answers_and_saves_the_same_bytes(kind, view, tmp_path, request):
    arm = request.getfixturevalue(kind)
    arm.save(tmp_path / "one")
    again = type(arm).load(tmp_path / "one", 0)
    again.save(tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    first, second = arm.predict(*view, TASKS), again.predict(*view, TASKS)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert again.bodies == {"arm": 1, "alone": len(arm.tasks), "classic": 0}[kind]


def test_two_copies_of_one_checkpoint_give_identical_outputs(arm, view, tmp_path):
    arm.save(tmp_path)
    shutil.copytree(tmp_path / "foundation" / "seed0", tmp_path / "foundation" / "seed1")
    one, two = load_arms(tmp_path, ["foundation"], [0, 1])
    assert (one.seed, two.seed) == (0, 1)
    first, second = one.predict(*view, TASKS), two.predict(*view, TASKS)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_nothing_pickled_is_written(arm, classic, tmp_path):
    arm.save(tmp_path / "a")
    classic.save(tmp_path / "b")
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".txt"}


def test_a_folder_is_loaded_whole_or_by_name(arm, alone, tmp_path):
    arm.save(tmp_path)
    alone.save(tmp_path)
    assert {type(one) for one in load_arms(tmp_path)} == {Foundation, Scratch}
    assert [type(one) for one in load_arms(tmp_path, ["scratch"])] == [Scratch]
    with pytest.raises(UnknownNameError, match="Did you mean 'scratch'"):
        load_arms(tmp_path, ["scrach"])
    with pytest.raises(ConfigError, match="record"):
        load_arms(tmp_path, ["foundation"], [3])
    with pytest.raises(ConfigError, match="no checkpoints"):
        load_arms(tmp_path / "elsewhere")
    assert set(arms().names()) >= {"foundation", "scratch", "classic"}


def test_damaged_files_are_named(arm, tmp_path):
    arm.save(tmp_path)
    own = tmp_path / "foundation" / "seed0"
    weights = own / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"weights\.safetensors"):
        load_arms(tmp_path)
    weights.write_bytes(whole)
    (own / "record.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="not JSON"):
        load_arms(tmp_path)


@pytest.mark.parametrize("kind", ["arm", "classic"])
def test_a_record_that_lacks_a_key_is_named(kind, tmp_path, request):
    arm = request.getfixturevalue(kind)
    arm.save(tmp_path)
    path = tmp_path / arm.name / "seed0" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record.pop("contract")
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"record\.json' is of another kind or damaged: it lacks contract"):
        load_arms(tmp_path)


def test_a_folder_that_is_no_seed_is_named(arm, tmp_path):
    arm.save(tmp_path)
    (tmp_path / "foundation" / "seed0_old").mkdir()
    with pytest.raises(ConfigError, match="'0_old'"):
        load_arms(tmp_path)


@pytest.mark.parametrize("value", [1e5, -1e5])
def test_a_weight_that_half_precision_cannot_hold_is_refused(value):
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.bias, value)
    with pytest.raises(DataError, match="'bias' cannot be kept in half precision"):
        round_weights(module)
    torch.nn.init.constant_(module.bias, 65504.0)
    round_weights(module)
    assert float(module.bias.detach()) == 65504.0


def test_weights_of_another_size_are_refused(arm, tmp_path):
    arm.save(tmp_path)
    path = tmp_path / "foundation" / "seed0" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["body"]["width"] = 64
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_arms(tmp_path)


def test_a_damaged_tree_is_refused(classic, tmp_path):
    classic.save(tmp_path)
    (tmp_path / "classic" / "seed0" / "flavour.txt").unlink()
    with pytest.raises(ConfigError, match=r"flavour\.txt"):
        load_arms(tmp_path)


def test_an_arm_is_not_judged_on_its_training_vertices(arm, view, tmp_path):
    events = view[0].events
    arm.refuse_training_vertices(events)  # vertices 1000 to 1019 against 5 and 7
    arm.training_vertices = np.array([1004, 1002, 3], dtype=np.int64)
    with pytest.raises(DataError, match="vertices of 2 of these 20 events, the first being event 2"):
        arm.refuse_training_vertices(events)
    arm.save(tmp_path)
    with pytest.raises(DataError):
        load_arms(tmp_path)[0].refuse_training_vertices(events)


def test_one_folder_holds_arms_of_one_training_sample(arm, alone, tmp_path):
    arm.save(tmp_path)
    alone.training_vertices = np.array([1], dtype=np.int64)
    with pytest.raises(ConfigError, match="other vertices"):
        alone.save(tmp_path)


def test_what_is_stored_is_what_was_evaluated(arm):
    for parameter in arm.networks.parameters():
        assert torch.equal(parameter, parameter.half().float())
