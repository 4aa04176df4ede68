"""An arm is not judged on what it has seen: its vertices in any throw or model, or its data set in another revision."""

from dataclasses import replace

import numpy as np
import pytest

from shiftlab.arms import arms, load_arms
from shiftlab.arms.foundation_model import save_foundation
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.training.study import train_study
from shiftlab.arms.training_set import training_set
from shiftlab.errors import DataError
from shiftlab.tasks import named_tasks


def of(deposits, dataset):
    return replace(deposits, events=replace(deposits.events, dataset=dataset))


def train(deposits, folder, pixel, recipe, names=("classic",)):
    train_study(deposits, pixel, folder, arms(), named_tasks(), names=names, seeds=(0,), recipe=recipe, progress=False)
    return load_arms(folder, names, (0,))


@pytest.fixture(scope="module")
def trained(draw, pixel, recipe, tmp_path_factory):
    """An arm that was trained on revision v1 of the data set argon."""
    (found,) = train(of(draw(40), "argon/v1"), tmp_path_factory.mktemp("trained"), pixel, recipe)
    return found


def test_a_checkpoint_records_the_revision_that_it_was_trained_on(trained):
    assert trained.dataset == "argon/v1"
    assert trained.record["dataset"] == "argon/v1"


def test_another_revision_of_the_training_data_is_refused_and_another_data_set_is_not(trained, draw):
    fresh = draw(10, seed=5)
    for dataset in ("", "argon/v1", "carbon/v2", "argonium/v2"):
        trained.refuse_other_revisions(of(fresh, dataset).events)
    for dataset in ("argon/v2", "argon/", "argon/v1 + argon/v2", "argon/v2 + carbon/v2"):
        with pytest.raises(DataError, match=r"trained on data set 'argon' in revision 'v1'.*under another uid"):
            trained.refuse_other_revisions(of(fresh, dataset).events)


def test_an_arm_trained_on_two_revisions_is_judged_on_neither_unseen(trained, draw):
    trained = type(trained)(0, trained.contract, {}, {"dataset": "argon/v1 + argon/v2"}, np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="in revision 'v1', and these events are of revision 'v2'"):
        trained.refuse_other_revisions(of(draw(10), "argon/v2").events)


@pytest.mark.parametrize("name", ["foundation", "finetuned"])
def test_the_data_set_of_its_foundation_model_counts_as_seen_whatever_the_heads_learned_on(
    name, draw, pixel, recipe, tmp_path
):
    """The body comes from argon/v1, the heads from carbon/v1: no other revision of either may judge the arm."""
    seen, taught = of(draw(24, seed=8), "argon/v1"), of(draw(40), "carbon/v1")
    model = pretrain(training_set(seen, pixel, (), lambda events: None), 0, recipe, Workshop(tmp_path / "work", "x"))
    save_foundation(tmp_path / "model", model)
    given = {"names": (name,), "seeds": (0,), "recipe": recipe, "foundation": tmp_path / "model", "progress": False}
    train_study(taught, pixel, tmp_path / "arms", arms(), named_tasks(["flavour"]), **given)
    (arm,) = load_arms(tmp_path / "arms")
    assert (arm.dataset, arm.pretraining_dataset) == ("carbon/v1", "argon/v1")
    fresh = draw(10, seed=5)
    for dataset in ("", "argon/v1", "carbon/v1", "argon/v1 + carbon/v1"):
        arm.refuse_other_revisions(of(fresh, dataset).events)
    with pytest.raises(DataError, match="foundation model that was pre-trained on data set 'argon' in revision 'v1'"):
        arm.refuse_other_revisions(of(fresh, "argon/v2").events)
    with pytest.raises(DataError, match="was trained on data set 'carbon' in revision 'v1'"):
        arm.refuse_other_revisions(of(fresh, "carbon/v2").events)
    with pytest.raises(DataError, match="rests on a foundation model that was pre-trained on the vertices of 24 of"):
        arm.refuse_training_vertices(seen.events)
    with pytest.raises(DataError, match="was trained on the vertices of 40 of"):
        arm.refuse_training_vertices(taught.events)
    arm.refuse_training_vertices(fresh.events)


def test_a_checkpoint_that_does_not_say_its_data_set_is_of_an_unknown_one(draw):
    for arm in load_arms("studies/checkpoints/demo", ("classic",)):
        assert arm.dataset == ""
        arm.refuse_other_revisions(of(draw(10), "lar_neutrino/9").events)


def test_rethrows_and_two_model_twins_of_a_training_vertex_are_refused(trained, draw):
    seen = draw(40).events
    twins = replace(seen, key=seen.key + 10**6, sample=("other_model",) * 40)
    with pytest.raises(DataError, match="trained on the vertices of 40 of these 40 events"):
        trained.refuse_training_vertices(twins)
    unseen = draw(40, seed=3).events
    mixed = replace(unseen, vertex=unseen.vertex.clone())
    mixed.vertex[7] = seen.vertex[12]
    with pytest.raises(DataError, match="of 1 of these 40 events, the first being event 7"):
        trained.refuse_training_vertices(mixed)
    trained.refuse_training_vertices(unseen)


def test_vertices_that_an_arm_held_back_from_its_own_training_count_as_seen(draw, pixel, recipe, tmp_path, monkeypatch):
    kind = arms().get("classic")
    whole = kind.train

    def held_back(data, *rest):
        arm = whole(data, *rest)
        arm.training_vertices = arm.training_vertices[:30]
        return arm

    monkeypatch.setattr(kind, "train", held_back)
    deposits = draw(40)
    (arm,) = train(deposits, tmp_path, pixel, recipe)
    assert arm.training_vertices.tolist() == sorted(deposits.events.vertex.tolist())
