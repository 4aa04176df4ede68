"""Macro-F1 with lost voxels as misses, and the counts that any bootstrap can be made of."""

import numpy as np
import pytest
import torch

from shiftlab.tasks.classification import best_constant
from shiftlab.tasks.segmentation import Segmentation, macro_f1
from shiftlab.tasks.voxel_truth import NONE, MatchedTruth

TASK = Segmentation()


def outputs_of(predicted, label, lost, energy=None, event=None):
    predicted, label = torch.tensor(predicted), torch.tensor(label)
    event = torch.zeros(len(predicted), dtype=torch.int64) if event is None else torch.tensor(event)
    energy = torch.ones(len(predicted)) if energy is None else torch.tensor(energy)
    stated = torch.full((len(predicted),), 0.7)
    return TASK.count(predicted, stated, energy, event, MatchedTruth(label, torch.tensor(lost))).double().numpy()


def test_macro_f1_by_hand():
    counts = np.zeros((6, 6))
    counts[0, 0], counts[0, 1], counts[0, NONE] = 6, 2, 2  # shower: 6 found, 2 called track, 2 lost
    counts[1, 1], counts[1, 0] = 8, 1
    counts[2, 2] = 3
    counts[3, 1] = 4  # every delta is called track
    counts[4, NONE] = 5  # every low-energy cell is lost
    shower = 2 * 6 / (10 + 7)
    track = 2 * 8 / (9 + 14)
    assert macro_f1(counts) == pytest.approx((shower + track + 1 + 0 + 0) / 5)


def test_the_loss_of_an_event_is_the_share_of_its_true_cells_that_is_wrong_or_lost():
    """Two of four right, one called wrongly, one lost; the second event has no cell with a truth."""
    outputs = outputs_of([0, 1, 1, 0], [0, 1, 0, NONE], [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], event=[0, 0, 0, 1])
    assert TASK.event_loss(outputs, np.zeros((2, 1))).tolist() == [0.5, 0.0]


def test_voxels_without_truth_enter_no_f1():
    counts = np.diag([4.0, 3, 2, 1, 1, 0])
    noisy = counts.copy()
    noisy[NONE, :NONE] = 100
    assert macro_f1(noisy) == macro_f1(counts) == 1.0


def test_lost_cells_lower_the_f1_as_misses():
    perfect = outputs_of([0, 1], [0, 1], [[0, 0, 0, 0, 0]])
    halved = outputs_of([0, 1], [0, 1], [[1, 1, 0, 0, 0]])
    one = np.ones((1, 1))
    assert TASK.score(perfect, np.zeros((1, 1)), one)[0] == 1.0
    assert TASK.score(halved, np.zeros((1, 1)), one)[0] == pytest.approx(2 / 3)


def test_every_observed_voxel_and_every_lost_cell_is_counted_once():
    rng = np.random.default_rng(0)
    predicted, label, event = rng.integers(0, 5, 200), rng.integers(0, 6, 200), np.sort(rng.integers(0, 3, 200))
    lost = rng.integers(0, 9, (3, 5))
    outputs = outputs_of(predicted, label, lost, event=event)
    counts = outputs[:, :36].reshape(3, 6, 6)
    assert counts.sum() == 200 + lost.sum()
    np.testing.assert_array_equal(counts[:, :NONE, NONE], lost)
    assert counts[:, NONE, NONE].sum() == 0
    for i in range(3):
        for true in range(6):
            for seen in range(5):
                assert counts[i, true, seen] == ((event == i) & (label == true) & (predicted == seen)).sum()


def test_the_observable_is_the_energy_share_called_shower_and_zero_for_an_empty_image():
    outputs = outputs_of([0, 1, 0], [5, 5, 5], [[0] * 5, [3, 0, 0, 0, 0]], energy=[1.0, 2.0, 1.0])
    np.testing.assert_allclose(TASK.observable(outputs), [0.5, 0.0])
    assert TASK.outputs == outputs.shape[1] == 53


def test_bootstrap_weights_sum_the_counts_of_events():
    rng = np.random.default_rng(4)
    outputs = rng.integers(0, 20, (2, 7, 53)).astype(float)
    weights = rng.poisson(1.0, (3, 7)).astype(float)
    found = TASK.score(outputs, np.zeros((7, 1)), weights)
    assert found.shape == (2, 3)
    by_hand = macro_f1((outputs[1, :, :36] * weights[2][:, None]).sum(0).reshape(6, 6))
    assert found[1, 2] == pytest.approx(by_hand)


def test_the_reference_is_the_best_single_class():
    counts = np.zeros((6, 6))
    counts[0, :NONE] = 2.0  # 10 shower, 5 track
    counts[1, :NONE] = 1.0
    outputs = np.concatenate([counts.ravel(), np.zeros(17)])[None]
    label, value = TASK.references(outputs, np.zeros((1, 1)), np.ones(1))[TASK.statistic]
    assert label == "best constant"
    assert value == pytest.approx((2 * 10 / 25) / 2)  # two classes are there


def test_a_class_that_has_no_value_is_never_the_best_constant():
    counts = np.array([[4.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    found = best_constant(counts, lambda one: {"first": one[0, 0] if one[0, 0] else np.nan, "none": np.float64(np.nan)})
    assert found == {"first": ("best constant", 6.0), "none": ("best constant", 0.0)}


def test_voxels_without_truth_teach_nothing():
    raw = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 2, NONE, NONE, 4])
    with_none = TASK.loss(raw, label)
    raw[3:5] += 7.0 * torch.arange(5)
    assert torch.equal(TASK.loss(raw, label), with_none)


def test_a_miss_of_a_rare_class_costs_its_weight():
    """Of two misses by the same odds, that of a Michel electron costs 8 / 9 of the mean, that of a track 1 / 9."""
    raw = torch.tensor([[0.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], requires_grad=True)
    TASK.loss(raw, torch.tensor([1, 2])).backward()
    track, michel = raw.grad.abs().sum(dim=1).tolist()
    assert michel == pytest.approx(8 * track)


def test_the_called_class_has_its_softmax_probability():
    raw = 4 * torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    called, probability = TASK.call(raw)
    assert torch.equal(called, raw.argmax(dim=1))
    torch.testing.assert_close(probability, raw.softmax(dim=1).amax(dim=1))


def test_voxels_without_truth_enter_no_calibration():
    outputs = outputs_of([0, 1, 2], [0, NONE, 1], [[0] * 5])
    assert outputs[0, 36:51].sum() == pytest.approx(0.7 * 2 - 1)
    further = TASK.further(outputs, np.zeros((1, 1)), np.ones((1, 1)))
    assert further["ECE"][0] == pytest.approx(abs(0.7 - 0.5), abs=1e-6)
    assert further["accuracy"][0] == 0.5
