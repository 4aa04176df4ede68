"""What an arm answers depends on each event's own voxels and on nothing else."""

import numpy as np
import pytest
import torch

from shiftlab.arms import predict_all
from shiftlab.arms.parts import PADDED_TOKENS, batches
from shiftlab.errors import ConfigError
from shiftlab.events import EventTable, Image
from shiftlab.tasks import VoxelTruth, named_tasks

TASKS = named_tasks()


def rows_of(task, image, events):
    """Rows of ``events`` among the scored ones of ``image``."""
    scored = np.flatnonzero(task.scored(image.events))
    return np.flatnonzero(np.isin(scored, events))


@pytest.mark.parametrize("kind", ["arm", "alone"])
def test_outputs_have_one_row_per_scored_event_and_repeat_bit_for_bit(kind, view, request):
    arm = request.getfixturevalue(kind)
    image, truth = view
    first, second = arm.predict(image, truth, TASKS), arm.predict(image, truth, TASKS)
    for task in TASKS:
        assert first[task.name].shape == (int(task.scored(image.events).sum()), task.outputs)
        assert np.isfinite(first[task.name]).all()
        np.testing.assert_array_equal(first[task.name], second[task.name])


@pytest.mark.parametrize("kind", ["arm", "alone"])
def test_events_do_not_see_each_other(kind, view, request):
    arm = request.getfixturevalue(kind)
    image, truth = view
    together = arm.predict(image, truth, TASKS)
    order = torch.randperm(len(image), generator=torch.Generator().manual_seed(0))
    for part in (order[:1], order[1:8], order[8:]):
        index = part.sort().values
        apart = arm.predict(image.take(index), truth.take(index), TASKS)
        for task in TASKS:
            expected = together[task.name][rows_of(task, image, index.numpy())]
            np.testing.assert_allclose(apart[task.name], expected, rtol=1e-5, atol=1e-5)


def test_permuted_events_give_permuted_outputs(arm, view):
    image, truth = view
    order = torch.randperm(len(image), generator=torch.Generator().manual_seed(1))
    plain, permuted = arm.predict(image, truth, TASKS), arm.predict(image.take(order), truth.take(order), TASKS)
    for task in TASKS:
        scored = task.scored(image.events)
        place = np.cumsum(scored) - 1
        rows = [place[i] for i in order.tolist() if scored[i]]
        np.testing.assert_allclose(permuted[task.name], plain[task.name][rows], rtol=1e-5, atol=1e-5)


def test_an_empty_image_gets_the_declared_answer_and_its_truth_is_lost(arm, view):
    image, truth = view
    found = arm.predict(image, truth, TASKS)
    for task in TASKS:
        for event in (3, 11):
            row = found[task.name][rows_of(task, image, [event])]
            if task.level == "event":
                np.testing.assert_array_equal(row, np.tile(task.empty, (len(row), 1)))
            else:
                counts = row[0, :36].reshape(6, 6)
                asked = truth.energy[truth.offsets[event] : truth.offsets[event + 1]] >= 0.13
                assert counts[:, 5].sum() == counts.sum() == int(asked.sum()) > 0


def test_a_chunk_of_empty_images_is_answered(arm, view):
    image, truth = view
    index = torch.tensor([3, 11])
    assert all(np.isfinite(rows).all() for rows in arm.predict(image.take(index), truth.take(index), TASKS).values())


def test_no_truth_enters_the_inputs(arm, view):
    image, truth = view
    other = VoxelTruth(truth.offsets, truth.cell, (truth.semantic + 1) % 5, truth.energy)
    one, two = arm.predict(image, truth, TASKS), arm.predict(image, other, TASKS)
    for name in ("flavour", "energy", "electron_gamma"):
        np.testing.assert_array_equal(one[name], two[name])
    called = [found["segmentation"][:, :36].reshape(-1, 6, 6)[:, :, :5].sum(1) for found in (one, two)]
    np.testing.assert_array_equal(*called)  # voxels called each class, whatever their truth


def test_a_very_long_event_is_answered_whole(arm):
    side = 16
    line = torch.arange(side) * 16 + 3
    index = torch.cartesian_prod(line, line, line)[: PADDED_TOKENS + 200]
    cell = ((index[:, 0] * 768 + index[:, 1]) * 768 + index[:, 2]).sort().values
    offsets = torch.tensor([0, len(cell)])
    nothing = torch.zeros(0, dtype=torch.int64)
    truth = VoxelTruth(torch.tensor([0, 0]), nothing, nothing.to(torch.int8), nothing.float())
    table = EventTable(
        offsets[:1], offsets[:1], torch.ones(1, dtype=torch.float64), ("numu_cc",), {}, torch.ones(1, dtype=torch.bool)
    )
    ones = torch.ones(len(cell))
    found = arm.predict(Image(offsets, cell, ones, ones, (768, 768, 768), table), truth, TASKS)
    assert found["segmentation"][0, :36].sum() == len(cell) > PADDED_TOKENS


def test_batches_cover_all_events_once_within_the_budget():
    lengths = sorted(np.random.default_rng(0).integers(1, 900, 300).tolist())
    runs = list(batches(lengths, 1000))
    assert [i for first, last in runs for i in range(first, last)] == list(range(300))
    assert all((last - first) * lengths[last - 1] <= 1000 or last - first == 1 for first, last in runs)
    assert list(batches([])) == []


def test_all_arms_at_once_answer_as_each_alone(arm, alone, view):
    image, truth = view
    both = predict_all([arm, alone], image, truth, TASKS)
    for found, one in zip(both, (arm, alone), strict=True):
        expected = one.predict(image, truth, TASKS)
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_subset_of_tasks_may_be_asked_and_an_untrained_one_is_named(arm, view):
    image, truth = view
    (flavour,) = named_tasks(["flavour"])
    alone = arm.predict(image, truth, [flavour])
    assert set(alone) == {"flavour"}
    arm._network().heads.pop("flavour")
    with pytest.raises(ConfigError, match="no head for task 'flavour'"):
        arm.predict(image, truth, [flavour])
