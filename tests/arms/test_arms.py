"""Every arm is trained, stored, loaded and run; what it shares with others is the same, and costs one pass."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shiftlab.arms import arms, body_groups, body_passes, load_arms, predict_all
from shiftlab.arms.admitted import under_contract
from shiftlab.arms.finetuned import Finetuned
from shiftlab.arms.foundation_model import load_foundation, save_foundation
from shiftlab.arms.public.point_contract import PointContract
from shiftlab.arms.random import Random
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import Balance, seeded
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.spending import accounts
from shiftlab.arms.training.study import train_study
from shiftlab.detector import Universe
from shiftlab.errors import DataError, RunError
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks

TASKS = named_tasks(["segmentation", "flavour"])
NAMES = ("foundation", "finetuned", "scratch", "multitask", "classic", "random")
LETTERS = {"foundation": "A", "finetuned": "B", "scratch": "C", "multitask": "D", "classic": "E", "random": "R"}


@pytest.fixture(scope="module")
def brief(recipe):
    """A training of a few steps for every arm."""
    return replace(recipe, finetune=48, multitask=24, frozen=0.5, labels=12)


@pytest.fixture(scope="module")
def model(lesson, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_foundation(
        folder / "model", pretrain(lesson, 0, recipe, Workshop(folder / "state", "x", curves=folder / "curves"))
    )
    return folder / "model"


@pytest.fixture(scope="module")
def trained(draw, pixel, brief, model, tmp_path_factory):
    """All arms on one foundation model, arm A with two seeds."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for names, seeds in ((NAMES, (0,)), (("foundation",), (0, 1))):
        train_study(
            draw(40, 2),
            pixel,
            folder,
            arms(),
            TASKS,
            names=names,
            seeds=seeds,
            recipe=brief,
            foundation=model,
            progress=False,
        )
    return folder


def test_letters_and_passes_of_each_arm(trained):
    found = load_arms(trained, NAMES, (0,))
    assert {arm.name: arm.letter for arm in found} == LETTERS
    assert [arm.bodies for arm in found] == [1, len(TASKS), len(TASKS), 1, 0, 1]


def test_every_arm_answers_alike_after_saving_and_loading(trained, view, tmp_path):
    found = load_arms(trained, NAMES, (0,))
    for arm in found:
        arm.save(tmp_path)
    again = load_arms(tmp_path, NAMES, (0,))
    for one, two in zip(predict_all(found, *view, TASKS), predict_all(again, *view, TASKS), strict=True):
        for task in TASKS:
            assert np.isfinite(one[task.name]).all()
            np.testing.assert_array_equal(one[task.name], two[task.name])


def test_every_arm_responds_to_a_shifted_detector_from_its_own_copy(trained, draw, pixel, tmp_path):
    found = load_arms(trained, NAMES, (0,))
    responses = respond(draw(10, 7), pixel, [Universe("gain", (("gain_scale", 1.0),))], found, tasks=TASKS, chunk=10)
    for task in TASKS:
        shown = responses.task(task.name)
        assert set(shown["arm"].values.tolist()) == set(NAMES)
        assert np.isfinite(shown["output"].values).all()


def test_two_seeds_of_heads_lie_beside_one_copy_of_the_body(trained):
    (copy,) = (trained / "pretrained").iterdir()
    digest = load_foundation(copy).digest
    for seed in (0, 1):
        own = trained / "foundation" / f"seed{seed}"
        assert json.loads((own / "record.json").read_text(encoding="utf-8"))["foundation"] == digest
        assert not any(".body." in name for name in load_file(own / "weights.safetensors"))
    one, two = load_arms(trained, ("foundation",), (0, 1))
    heads = [dict(arm.network.heads.named_parameters()) for arm in (one, two)]
    assert any(not torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert one.frozen_body == two.frozen_body == digest


def test_seeds_on_one_foundation_model_share_one_body_pass_bit_for_bit(trained, view):
    found = load_arms(trained, ("foundation", "random"), (0,)) + load_arms(trained, ("foundation",), (1,))
    apart = [arm.predict(*view, TASKS) for arm in found]
    passes = []
    for number, arm in enumerate(found):
        arm.network.body.register_forward_hook(lambda *_, number=number: passes.append(number))
    together = predict_all(found, *view, TASKS)
    assert body_groups(found) == [[0, 2], [1]]
    assert body_passes(found) == 2
    assert passes.count(0) == passes.count(1) > 0
    assert passes.count(2) == 0
    for one, two in zip(apart, together, strict=True):
        for task in TASKS:
            np.testing.assert_array_equal(one[task.name], two[task.name])


def test_copies_that_went_on_learning_share_no_pass(trained):
    found = load_arms(trained, ("finetuned", "multitask"), (0,))
    assert body_groups(found) == [[0], [1]]
    assert body_passes(found) == len(TASKS) + 1


def test_pre_training_vertices_are_refused_as_training_vertices_are(trained, draw):
    own, before, unseen = draw(10, 2).events, draw(10).events, draw(10, 5).events
    for arm in load_arms(trained, NAMES, (0,)):
        arm.refuse_training_vertices(unseen)
        with pytest.raises(DataError, match="was trained on the vertices of 10"):
            arm.refuse_training_vertices(own)
        if arm.name in ("foundation", "finetuned"):
            with pytest.raises(DataError, match="foundation model that was pre-trained on the vertices of 10"):
                arm.refuse_training_vertices(before)
        else:
            arm.refuse_training_vertices(before)


def test_all_arms_of_a_seed_are_taught_by_the_same_few_labels(trained, brief):
    records = [arm.record for arm in load_arms(trained, NAMES, (0,))]
    assert all(record["labelled_keys"] == records[0]["labelled_keys"] for record in records)
    other = load_arms(trained, ("foundation",), (1,))[0].record
    assert other["labelled_keys"] != records[0]["labelled_keys"]
    assert {record["recipe"]["labels"] for record in records} == {12}


def test_more_labels_than_a_task_has_events_are_refused(draw, pixel, brief, tmp_path):
    many = replace(brief, labels=30)
    with pytest.raises(DataError, match=r"arms\.train\.labels=30: .* only \d+ events with the truth of task 'flavour'"):
        train_study(
            draw(40, 2), pixel, tmp_path, arms(), TASKS, names=("scratch",), seeds=(0,), recipe=many, progress=False
        )


def test_another_foundation_model_in_the_same_folder_is_refused(trained, draw, pixel, brief, lesson, tmp_path):
    other = pretrain(lesson, 5, brief, Workshop(tmp_path / "state", "x"))
    save_foundation(tmp_path / "other", other)
    given = {"recipe": brief, "foundation": tmp_path / "other", "progress": False}
    with pytest.raises(RunError, match="foundation model"):
        train_study(draw(40, 2), pixel, trained, arms(), TASKS, names=("foundation",), seeds=(0,), **given)
    train_study(draw(40, 2), pixel, trained, arms(), TASKS, names=("scratch",), seeds=(0,), **given)  # rests on none


def test_without_a_foundation_model_each_seed_gets_its_own_which_arms_a_and_b_share(draw, pixel, brief, tmp_path):
    given = {"recipe": replace(brief, labels=0), "progress": False}
    train_study(
        draw(40, 2), pixel, tmp_path, arms(), TASKS[1:], names=("foundation", "finetuned"), seeds=(0, 1), **given
    )
    found = load_arms(tmp_path, ("foundation", "finetuned"), (0, 1))
    digests = [arm.foundation.digest for arm in found]
    assert digests[0] == digests[2] != digests[1] == digests[3]
    assert len(list((tmp_path / "pretrained").iterdir())) == 2


def test_costs_count_the_pre_training_whole_and_amortised(trained, model):
    found = {(one.arm, one.seed): one for one in accounts(trained, LETTERS)}
    first = found["foundation", 0]
    card = json.loads((model / "foundation.json").read_text(encoding="utf-8"))
    before = card["spent"]["total"]
    assert before["presentations"] == 48
    assert before["flops"] > 0
    assert first.spent["presentations"] == 48 * len(TASKS)
    assert first.shared == 3  # two seeds of arm A and one of B
    assert first.whole("flops") == first.spent["flops"] + before["flops"]
    assert first.amortised("presentations") == first.spent["presentations"] + 48 / 3
    assert found["scratch", 0].whole("flops") == found["scratch", 0].spent["flops"]
    assert found["multitask", 0].spent["presentations"] == 24 * len(TASKS)
    assert found["finetuned", 0].spent["presentations"] == 48 * len(TASKS)
    assert found["classic", 0].spent["wall_s"] > 0


def test_operations_of_frozen_bodies_are_not_counted_backward(trained):
    found = {one.arm: one for one in accounts(trained, LETTERS)}
    per_event = {
        name: found[name].spent["flops"] / found[name].spent["presentations"] for name in ("random", "scratch")
    }
    assert per_event["random"] < 0.8 * per_event["scratch"]  # heads are half of this small network
    assert found["random"].trained < found["random"].total == found["foundation"].total
    assert found["multitask"].trained == found["multitask"].total


def test_a_random_body_stays_as_it_was_drawn(lesson, recipe, tmp_path):
    arm = Random.train(lesson, TASKS[1:], 4, recipe, Workshop(tmp_path, "x"))
    with seeded(4, "random"):
        drawn = recipe.fresh_body(lesson.contract)
    for name, value in drawn.state_dict().items():
        assert torch.equal(arm.network.body.state_dict()[name], value.half().float())


def test_fine_tuning_starts_from_the_foundation_model_and_leaves_it_as_it_is(lesson, brief, model, tmp_path):
    given = load_foundation(model)
    before = {name: value.clone() for name, value in given.body.state_dict().items()}
    slow = replace(brief, finetune_rate=1e-9, labels=0)
    for rates, moved in ((slow, False), (replace(slow, finetune_rate=1e-3), True)):
        arm = Finetuned.train(lesson, TASKS[1:], 0, rates, Workshop(tmp_path / str(moved), "x", foundation=given))
        after = arm.networks["flavour"].body.state_dict()
        assert all(torch.equal(given.body.state_dict()[name], value) for name, value in before.items())
        assert any(not torch.equal(after[name], value) for name, value in before.items()) == moved
        assert set(arm.record["curves"]) == {"flavour head", "flavour"}


def test_a_contract_with_a_threshold_hides_faint_voxels_and_keeps_the_labels_of_the_others(lesson):
    middle = float(lesson.image.energy.median())
    contract = PointContract(above=middle)
    seen = under_contract(lesson, contract, TASKS)
    bright = lesson.image.energy > middle
    assert 0 < int(bright.sum()) < len(bright)
    assert torch.equal(seen.label, lesson.label[bright])
    assert torch.equal(seen.image.cell, lesson.image.cell[bright])
    assert seen.contract == contract
    assert all(bool((seen.size[rows] > 0).all()) for rows in seen.rows.values())
    assert under_contract(lesson, lesson.contract, TASKS) is lesson


def test_balance_is_least_where_each_task_counts_in_units_of_its_own_loss():
    losses = {task.name: torch.tensor(value) for task, value in zip(TASKS, (0.02, 5.0), strict=True)}
    balance = Balance(TASKS)
    with torch.no_grad():
        for name, loss in losses.items():
            balance.log_scale[name].copy_(loss.log())
    balance(losses).backward()
    assert all(abs(float(value.grad)) < 1e-6 for value in balance.parameters())
    weighted = {name: float(torch.exp(-balance.log_scale[name].detach()) * loss) for name, loss in losses.items()}
    assert all(value == pytest.approx(1.0) for value in weighted.values())
