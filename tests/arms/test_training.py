"""Training is a pure function of sample, recipe and seed, wherever it was stopped, and it learns."""

from dataclasses import replace

import pytest
import torch

from shiftlab.arms.foundation import Foundation
from shiftlab.arms.network import Network
from shiftlab.arms.objectives.masked_modelling import MaskedModelling, hide
from shiftlab.arms.scratch import Scratch
from shiftlab.arms.training import Deadline, Run, Workshop, keyed, presentations, train
from shiftlab.arms.training.networks import fit_heads, seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.tasks import named_tasks

TASKS = named_tasks()
KEYS = torch.arange(100) + 500


class KilledError(Exception):
    """Stands for the end of the process."""


def line_fit(state, steps=12, die_at=None, identity="x", **options):
    """Fit y = 3 x with noise drawn per step; returns weights and curve."""
    with seeded(1):
        module = torch.nn.Linear(1, 1)
    done = []

    def loss(rows, generator):
        if die_at is not None and len(done) == die_at:
            raise KilledError
        done.append(rows)
        x = torch.randn(len(rows), 1, generator=generator)
        return (module(x) - 3 * x).square().mean()

    batches = presentations(torch.arange(40), torch.arange(40), 4 * steps, 4, 0)
    run = Run("line", 0, state, identity, every=0.0, **options)
    curve = train(run, module, batches, loss, Recipe(batch=4), peak=0.1, keys=KEYS)
    return [value.detach().clone() for value in module.parameters()], curve


@pytest.mark.parametrize("die_at", [1, 5, 11])
def test_a_training_that_was_killed_ends_with_the_same_bits(tmp_path, die_at):
    whole, curve = line_fit(tmp_path / "whole")
    with pytest.raises(KilledError):
        line_fit(tmp_path / "torn", die_at=die_at)
    resumed, resumed_curve = line_fit(tmp_path / "torn")
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert curve == resumed_curve


def test_a_finished_run_is_not_repeated(tmp_path):
    whole, _ = line_fit(tmp_path / "state")
    again, _ = line_fit(tmp_path / "state", die_at=0)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


def test_an_unfinished_run_of_another_recipe_is_refused(tmp_path):
    line_fit(tmp_path / "state")
    with pytest.raises(RunError, match="another recipe or sample"):
        line_fit(tmp_path / "state", identity="y")


def test_the_time_limit_stops_cleanly_and_the_next_call_goes_on(tmp_path):
    with pytest.raises(RunError, match="time limit"):
        line_fit(tmp_path / "state", deadline=Deadline(0.0))
    resumed, _ = line_fit(tmp_path / "state")
    whole, _ = line_fit(tmp_path / "other")
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_loss_that_is_not_finite_names_the_events(tmp_path):
    module = torch.nn.Linear(1, 1)
    batches = [torch.tensor([3, 8])]
    with pytest.raises(DataError, match=r"nan at step 0, events \[503, 508\]"):
        train(
            Run("line", 0, tmp_path / "state", "x"),
            module,
            batches,
            lambda rows, generator: module.weight.sum() * torch.nan,
            Recipe(),
            peak=0.1,
            keys=KEYS,
        )
    assert not (tmp_path / "state").exists()


def test_every_event_is_presented_equally_often_and_the_order_is_keyed():
    rows, size = torch.arange(10, 60), torch.arange(100) % 7
    batches = presentations(rows, size, 150, 8, 3)
    shown = torch.cat(batches)
    assert len(shown) == 150
    assert torch.equal(torch.bincount(shown)[10:], torch.full((50,), 3))
    again, other = presentations(rows, size, 150, 8, 3), presentations(rows, size, 150, 8, 4)
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not torch.equal(shown, torch.cat(other))
    with pytest.raises(DataError, match="no event"):
        presentations(rows[:0], size, 10, 8, 3)
    with pytest.raises(ConfigError, match="0 presentations"):
        presentations(rows, size, 0, 8, 3)


def test_dropout_does_not_repeat_the_numbers_that_the_loss_draws(tmp_path):
    module, drawn = torch.nn.Linear(1, 1), []

    def loss(rows, generator):
        drawn.append((torch.rand(64), torch.rand(64, generator=generator)))
        return module.weight.square().mean()

    batches = [torch.arange(4)] * 100
    train(Run("line", 0, tmp_path / "state", "x"), module, batches, loss, Recipe(), peak=0.1, keys=KEYS)
    of_dropout, of_loss = (torch.cat(side) for side in zip(*drawn, strict=True))
    correlation = float(torch.corrcoef(torch.stack([of_dropout, of_loss]))[0, 1])
    assert abs(correlation) < 5 / len(of_loss) ** 0.5


def test_the_rate_climbs_and_falls_to_zero():
    recipe = Recipe()
    rates = [recipe.rate_at(step, 1000, 1.0) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] < 0.05
    assert rates[-1] < 1e-4
    assert keyed("a", 1) == keyed("a", 1) != keyed("a", 2)


def test_the_given_share_of_each_events_patches_is_hidden(lesson):
    patches = lesson.batch(torch.arange(12), torch.Generator().manual_seed(0)).patches
    hidden = hide(patches, 0.6, torch.Generator().manual_seed(1))
    count = torch.zeros(12, dtype=torch.int64).index_add_(0, patches.patch_event, hidden.long())
    assert torch.equal(count, (patches.lengths * 0.6).floor().long())


def test_hidden_patches_do_not_reach_the_encoder(lesson, recipe):
    patches = lesson.batch(torch.arange(4), torch.Generator().manual_seed(0)).patches
    hidden = hide(patches, 0.6, torch.Generator().manual_seed(1))
    kept = patches.keep(~hidden)
    assert not torch.isin(patches.order[hidden[patches.voxel_patch]], kept.order).any()
    with seeded(0):
        model = MaskedModelling(recipe.fresh_body(lesson.contract))
    brighter = replace(patches, value=patches.value + 3.0 * hidden[patches.voxel_patch])
    nothing = torch.zeros(len(patches.value), dtype=torch.bool)
    one, two = (model.loss(one, hidden, nothing) for one in (patches, brighter))
    assert not torch.equal(one, two)  # the target moved,
    difference = torch.autograd.grad(two - one, model.body.parameters(), allow_unused=True)
    assert any(value is not None for value in difference)
    seen = [model.body.layers(one.keep(~hidden))[1][-1] for one in (patches, brighter)]
    assert torch.equal(*seen)


def test_pre_training_lowers_its_loss(lesson, recipe, tmp_path):
    with seeded(0):
        model = MaskedModelling(recipe.fresh_body(lesson.contract))

    def loss(rows, generator):
        return model(lesson.batch(rows, generator).patches, generator)

    batches = presentations(lesson.seen, lesson.size, 320, 8, 0)
    run = Run("body", 0, tmp_path / "state", "x")
    curve = train(run, model, batches, loss, recipe, peak=3e-3, keys=lesson.image.events.key)
    assert curve[-1] < 0.5 * curve[0]


def test_a_network_learns_tracks_from_clouds(lesson, recipe, tmp_path):
    (flavour,) = named_tasks(["flavour"])
    with seeded(0):
        network = Network(recipe.fresh_body(lesson.contract), [flavour])
    curve = fit_heads(Run("flavour", 0, tmp_path / "state", "x"), network, flavour, lesson, recipe, 320, 3e-3)
    assert curve[-1] < 0.7 * curve[0]


def test_heads_leave_the_frozen_body_as_it_was(lesson, recipe, tmp_path):
    with seeded(0):
        network = Network(recipe.fresh_body(lesson.contract), TASKS)
    network.body.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    (energy,) = named_tasks(["energy"])
    fit_heads(Run("energy", 0, tmp_path / "state", "x"), network, energy, lesson, recipe, 32, 3e-3)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("heads.energy.") for name in changed)


@pytest.mark.parametrize("kind", [Foundation, Scratch])
def test_one_seed_gives_one_arm_and_another_seed_another(kind, lesson, recipe, tmp_path):
    made = [
        kind.train(lesson, TASKS, seed, recipe, Workshop(tmp_path / str(i), "x")) for i, seed in enumerate((0, 0, 1))
    ]
    states = [arm.networks.state_dict() for arm in made]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert all(len(curve) > 0 for curve in made[0].record["curves"].values())


def test_a_task_trains_on_its_own_events_only(lesson):
    samples = lesson.image.events.sample
    own = {name: {samples[i] for i in rows.tolist()} for name, rows in lesson.rows.items()}
    assert own["flavour"] == own["energy"] == {"numu_cc", "nue_cc"}
    assert own["electron_gamma"] == {"nue_cc", "photon_protons", "single_electron", "single_gamma"}
    assert own["segmentation"] == set(samples)
