"""Validation on vertices of its own keeps the best weights and ends a training; averages are what they claim to be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shiftlab.arms.training import Measured, Run, held_out, presentations, train
from shiftlab.arms.training.curves import Curve
from shiftlab.arms.training.networks import VALIDATED, judge
from shiftlab.arms.training.recipe import Recipe
from shiftlab.errors import ConfigError, DataError

KEYS = torch.arange(20)


def weight_of(module):
    return float(module.weight.detach())


def descend(folder, validation=None, steps=20, hook=None, **options):
    """Fit a line without draws; ``validation`` is called with the module."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    batches = presentations(torch.arange(20), torch.arange(20), 4 * steps, 4, 0)
    run = Run("line", 0, folder / "state", "x", every=0.0, curve=folder / "curve.csv")
    judge = None if validation is None else lambda: validation(module)
    train(
        run,
        module,
        batches,
        lambda rows, generator: (module.weight - 1).square().mean(),
        Recipe(),
        peak=0.2,
        keys=KEYS,
        validation=judge,
        after_step=None if hook is None else lambda step, steps: hook(step, module),
        **options,
    )
    return weight_of(module), Curve.load(folder / "curve.csv").points


def test_the_weights_of_the_lowest_validation_loss_are_restored(tmp_path):
    weights = []

    def validation(module):
        weights.append(weight_of(module))
        return abs(weights[-1] - 0.4)  # over-training begins at 0.4

    final, points = descend(tmp_path, validation, every=1)
    assert len(weights) == 20
    best = int(np.argmin(np.abs(np.array(weights) - 0.4)))
    assert 0 < best < 19
    assert final == weights[best]
    assert points["validation_loss"].min() == points["validation_loss"][best]


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_the_training_so_many_validations_after_the_best(tmp_path, patience):
    losses = iter([5.0, 4.0, 4.5, 3.0, *[3.5] * 30])
    final, points = descend(tmp_path, lambda module: next(losses), every=2, steps=40, patience=patience)
    best = 2 if patience == 1 else 4
    assert len(points) == best + patience
    assert points["step"].iloc[-1] == 2 * (best + patience)
    again, repeated = descend(tmp_path, lambda module: math.nan, every=2, steps=40, patience=patience)
    assert again == final  # what ended early has ended,
    assert repeated.equals(points)  # with nothing done anew


def test_the_average_is_judged_and_returned(tmp_path):
    """The average of a known path of weights, with the decay that grows from 0.1 (TensorFlow's formula)."""
    path, judged = [0.0], []
    final, _ = descend(
        tmp_path,
        lambda module: judged.append(weight_of(module)) or -weight_of(module),
        hook=lambda step, module: path.append(weight_of(module)),
        every=1,
        ema=0.8,
    )
    mean, expected = path[0], []
    for step, weight in enumerate(path[1:]):
        decay = min(0.8, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
        expected.append(mean)
    assert judged == pytest.approx(expected, rel=1e-5)
    assert final == pytest.approx(max(expected), rel=1e-5)
    assert path[-1] != pytest.approx(final, rel=1e-3)


def test_without_validation_the_average_is_returned(tmp_path):
    path = []
    averaged, points = descend(tmp_path / "average", hook=lambda step, module: path.append(weight_of(module)), ema=0.2)
    last, _ = descend(tmp_path / "last")
    mean = 0.0
    for step, weight in enumerate(path):
        decay = min(0.2, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    assert averaged == pytest.approx(mean, rel=1e-5)
    assert last == path[-1]
    assert points["validation_loss"].isna().all()


def test_judging_leaves_the_training_as_it_was(tmp_path):
    """Looking often, in evaluation mode, moves no weight and no mode."""
    modes, paths = [], {}
    for every in (1, 7):
        path = paths[every] = []
        descend(
            tmp_path / str(every),
            lambda module: modes.append(module.training) or 1.0,
            hook=lambda step, module, path=path: path.append((module.training, weight_of(module))),
            every=every,
            ema=0.5,
        )
    assert modes == [False] * 23
    assert paths[1] == paths[7]
    assert all(training for training, _ in paths[1])


def test_a_validation_that_is_not_finite_stops(tmp_path):
    with pytest.raises(DataError, match="validation loss is nan after 3 steps"):
        descend(tmp_path, lambda module: math.nan, every=3)


def test_all_events_of_a_piece_are_named_where_its_loss_is_not_finite(tmp_path):
    module = nn.Linear(1, 1)
    run = Run("line", 0, tmp_path / "state", "x")

    def loss(rows, generator):
        return module.weight.sum() * (torch.nan if 3 in rows else 1.0)

    with pytest.raises(DataError, match=r"nan at step 0, events \[103, 105\]"):
        train(run, module, [torch.tensor([2, 3, 4, 5])], loss, Recipe(pieces=2), peak=0.1, keys=KEYS + 100)


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 5),
)
@settings(deadline=None)
def test_a_vertex_stays_on_its_side_whatever_else_is_there(vertices, fraction, seed):
    held = held_out(vertices, fraction, seed)
    assert held.shape == (len(vertices),)
    for vertex, own in zip(vertices, held, strict=True):
        assert held_out([vertex], fraction, seed)[0] == own
    assert not held_out(vertices, fraction / 2, seed)[~held].any()


def test_the_held_out_fraction_is_binomial():
    vertices = np.arange(20_000)
    for fraction in (0.05, 0.3):
        count = held_out(vertices, fraction, 1).sum()
        assert abs(count - 20_000 * fraction) < 5 * math.sqrt(20_000 * fraction * (1 - fraction))
    both = held_out(vertices, 0.3, 1) & held_out(vertices, 0.3, 2)
    assert abs(both.sum() - 1800) < 5 * math.sqrt(20_000 * 0.09 * 0.91)  # seeds are independent
    assert held_out(np.zeros(0, dtype=np.int64), 0.5, 0).shape == (0,)
    with pytest.raises(ConfigError, match="cannot be held out"):
        held_out(vertices, 1.0, 0)


def test_a_curve_that_is_behind_its_state_is_written_again(tmp_path):
    _, points = descend(tmp_path, every=5)
    (tmp_path / "curve.csv").write_text("step\n")  # the process ended between the state and the curve
    _, again = descend(tmp_path, every=5)
    assert len(points) == 4
    assert again.equals(points)


def test_many_held_out_events_are_judged_by_a_sample_of_all_classes():
    """A file that holds one class after the other must not be judged by its first class alone."""
    rows = torch.arange(3 * VALIDATED)
    shown = []

    def loss(rows, generator):
        shown.append(rows)
        return torch.zeros(())

    judge(loss, [rows], Recipe(batch=512), 0)()
    chosen = torch.cat(shown)
    assert len(chosen) == len(chosen.unique()) == VALIDATED
    assert torch.equal(chosen, chosen.sort().values)
    classes = torch.bincount(chosen // VALIDATED, minlength=3)
    assert (classes - VALIDATED / 3).abs().max() < 5 * math.sqrt(VALIDATED * 2 / 9)
    shown.clear()
    judge(loss, [rows[:VALIDATED]], Recipe(batch=512), 0)()
    assert torch.equal(torch.cat(shown), rows[:VALIDATED])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "fp8"}, "precision is 'fp8'; it is one of float32, bf16"),
        ({"ema": 1.0}, r"ema is 1.0; it lies in \[0, 1\)"),
        ({"validation": -0.1}, "validation is -0.1"),
        ({"pieces": 0}, "pieces is 0; it is 1 or more"),
        ({"patience": -1}, "patience is -1; it is 0 or more"),
        ({"warm_up": 1.5}, "warm_up is 1.5"),
        ({"decay": -0.1}, "decay -0.1"),
        ({"clip": 0.0}, "clip 0.0"),
        ({"gentle_batch": 0}, "gentle_batch is 0; it is 1 or more"),
    ],
)
def test_a_recipe_out_of_range_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**wrong)


def test_settings_that_are_off_are_not_part_of_a_checkpoints_identity():
    assert "ema" not in Recipe().plain()
    assert Recipe(ema=0.9).plain() == {**Recipe().plain(), "ema": 0.9}


def test_bf16_rounds_products_and_keeps_weights(tmp_path):
    """A product of bfloat16 has 8 bits: the loss is off by about 2**-9, and the weights stay float32."""
    found = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        module = nn.Linear(8, 1)
        run = Run("half", 0, tmp_path / precision, "x")

        def loss(rows, generator, module=module):
            answer = module(torch.randn(64, 8, generator=generator))
            return Measured((answer.float() - 1).square().mean(), 64.0)

        losses = train(run, module, [torch.tensor([0])] * 3, loss, Recipe(), peak=1e-3, keys=KEYS, precision=precision)
        assert module.weight.dtype == torch.float32
        found[precision] = np.array(losses)
    difference = np.abs(found["bf16"] / found["float32"] - 1)
    assert (difference > 0).all()
    assert (difference < 2**-6).all()
