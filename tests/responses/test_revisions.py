"""Responses to another revision of the training data need a word that says so, and the word is recorded."""

from dataclasses import replace

import pytest

from shiftlab.errors import DataError
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks


@pytest.fixture
def trained_on_v1(arm):
    one = arm("sums")(0)
    one.record["dataset"] = "argon/v1"
    return one


def answer(events, dataset, pixel_lar, arms, **named):
    few = events.take([0, 1, 2])
    few = replace(few, events=replace(few.events, dataset=dataset))
    return respond(few, pixel_lar, [], arms, tasks=named_tasks(["energy"]), **named)


def test_another_revision_is_refused_unless_the_caller_says_otherwise(events, pixel_lar, trained_on_v1):
    with pytest.raises(DataError, match="mix_revisions=True"):
        answer(events, "argon/v2", pixel_lar, [trained_on_v1])
    told = answer(events, "argon/v2", pixel_lar, [trained_on_v1], mix_revisions=True)
    same = answer(events, "argon/v1", pixel_lar, [trained_on_v1])
    assert (told.attrs["mix_revisions"], told.attrs["dataset"]) == (True, "argon/v2")
    assert (same.attrs["mix_revisions"], same.attrs["dataset"]) == (False, "argon/v1")
    assert (told.task("energy")["output"].values == same.task("energy")["output"].values).all()


def test_training_vertices_stay_refused_whatever_is_said_of_revisions(events, pixel_lar, arm):
    seen = arm("sums")(0, events.events.vertex.numpy())
    with pytest.raises(DataError, match="was trained on the vertices"):
        answer(events, "", pixel_lar, [seen], mix_revisions=True)
