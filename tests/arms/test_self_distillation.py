"""Self-distillation: balanced targets, a teacher that is the running average, views that hold what they declare."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.arms.augmentations import EnergyJitter, _placed
from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.contract import InputContract
from shiftlab.arms.objectives import objectives
from shiftlab.arms.objectives.self_distillation import Draws, Prototypes, SelfDistillation, sinkhorn
from shiftlab.arms.patches import group
from shiftlab.arms.training import train
from shiftlab.arms.training.networks import seeded
from shiftlab.arms.training.presentation import presentations
from shiftlab.arms.training.run import Run
from shiftlab.arms.views import Crops, brightened, crop, hidden_blocks, picked, recentred, turned
from shiftlab.errors import ConfigError, RunError

CONTRACT = InputContract()
SMALL = {"width": 16, "depth": 2, "heads": 2, "stem": 8, "rounds": 1, "expansion": 2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    """A small student with its teacher."""
    with seeded(0):
        return SelfDistillation(VoxelTransformer.fresh(SMALL, CONTRACT))


@pytest.fixture(scope="session")
def batch(lesson):
    """Twelve events on a grid that was moved."""
    return lesson.batch(torch.arange(12), generator()).patches


@settings(max_examples=30, deadline=None)
@given(tokens=st.integers(2, 60), prototypes=st.integers(2, 20), seed=st.integers(0, 99))
def test_sinkhorns_assignments_are_normalised_over_tokens_and_over_prototypes(tokens, prototypes, seed):
    score = 2 * torch.rand(tokens, prototypes, generator=generator(seed)) - 1
    found = sinkhorn(score, 0.5, rounds=200)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(tokens), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(found.sum(dim=0), torch.full((prototypes,), tokens / prototypes), atol=1e-2, rtol=1e-2)
    assert float(found.min()) >= 0


def test_few_rounds_give_exact_rows_and_use_prototypes_that_nobody_likes_best():
    score = torch.rand(200, 8, generator=generator()) * 0.1
    score[:, 0] += 0.2  # all tokens like the first one best
    assert torch.softmax(score / 0.04, dim=1).sum(dim=0)[0] > 150
    found = sinkhorn(score, 0.04)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(200))
    assert 15 < float(found.sum(dim=0).min()) <= float(found.sum(dim=0).max()) < 35


def test_sinkhorn_of_equal_scores_is_even():
    torch.testing.assert_close(sinkhorn(torch.zeros(6, 4), 0.07), torch.full((6, 4), 0.25))


def test_prototype_scores_are_cosines():
    with seeded(1):
        head = Prototypes(16, 9)
    tokens = torch.randn(50, 16, generator=generator())
    assert float(head(tokens).detach().abs().max()) <= 1 + 1e-5
    with torch.no_grad():
        before = head(tokens)
        head.prototype *= 7.0
        torch.testing.assert_close(head(tokens), before)


def test_the_teacher_is_the_running_average_of_the_student(model, batch):
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    names = [name for name, _ in model.body.named_parameters()]
    expected = {name: value.detach().double() for name, value in model.body.named_parameters()}
    for step in range(4):
        optimiser.zero_grad()
        model(batch, generator(step)).backward()
        optimiser.step()
        model.after_step(step, 4)
        keep = 1 - 0.006 * (1 + math.cos(math.pi * step / 4)) / 2
        for name, value in model.body.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * value.detach().double()
    teacher = dict(model.teacher_body.named_parameters())
    for name in names:
        torch.testing.assert_close(teacher[name].double(), expected[name], atol=1e-6, rtol=1e-5)
    assert any(not torch.equal(teacher[name], value) for name, value in model.body.named_parameters())


def test_the_teacher_takes_no_gradient_and_the_student_all(model, batch):
    model(batch, generator()).backward()
    without = {name for name, value in model.named_parameters() if value.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("teacher_")}


def test_the_momentum_climbs_from_the_declared_value_to_one():
    found = [SelfDistillation.momentum(step, 100) for step in range(101)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (pytest.approx(0.994), pytest.approx(1.0))


def test_the_loss_does_not_depend_on_the_order_of_the_events(model, batch):
    model.eval()
    draws = Draws.of(batch, model.crops, generator(3))
    order = torch.randperm(len(batch), generator=generator(4))
    number = torch.arange(len(batch.position))
    rows = torch.cat([number[batch.patch_event == event] for event in order])
    voxels = torch.cat([torch.nonzero(batch.voxel_patch == row).squeeze(1) for row in rows])
    moved = Draws(
        draws.share[:, order], draws.centre[:, rows], draws.turn[:, order], draws.hide[:, rows], draws.factor[voxels]
    )
    with torch.no_grad():
        one, other = model.loss(batch, draws), model.loss(batch.take(order), moved)
    torch.testing.assert_close(one, other, atol=2e-5, rtol=0.0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.01, 1.0))
def test_a_crop_holds_the_declared_share_nearest_to_its_centre(lesson, seed, share):
    batch = lesson.batch(torch.arange(6), generator()).patches
    chance = torch.rand(len(batch.position), generator=generator(seed), dtype=torch.float64)
    centre = picked(batch, chance, chance >= 0)
    mask = crop(batch, centre, torch.full((len(batch),), share))
    count = torch.zeros(len(batch), dtype=torch.int64).index_add_(0, batch.patch_event, mask.long())
    share32 = torch.full((len(batch),), share).double()
    assert torch.equal(count, (batch.lengths * share32).floor().clamp(min=1).long())
    assert mask[centre].all()
    away = (batch.position - batch.position[centre][batch.patch_event]).square().sum(dim=1)
    for event in range(len(batch)):
        own = batch.patch_event == event
        inside, outside = away[own & mask], away[own & ~mask]
        assert not len(outside) or float(inside.max()) <= float(outside.min())


def test_a_pick_is_allowed_and_of_its_own_event(batch):
    chance = torch.rand(len(batch.position), generator=generator(), dtype=torch.float64)
    allowed = torch.zeros(len(chance), dtype=torch.bool)
    allowed[batch.offsets[1:] - 1] = True
    found = picked(batch, chance, allowed)
    assert torch.equal(found, batch.offsets[1:] - 1)


def test_views_have_the_shares_and_overlap_as_declared(model, batch):
    draws = Draws.of(batch, model.crops, generator(5))
    whole, local = model._cut(batch, draws)
    share = whole.patches.lengths.view(2, -1) / batch.lengths
    assert float(share.min()) > 0.4 - 1 / int(batch.lengths.min())
    assert float((local.patches.lengths.view(4, -1) / batch.lengths).max()) <= 0.4
    rows, events = len(batch.position), len(batch)
    first, second = whole.where(0, events, rows), whole.where(events, 2 * events, rows)
    both = torch.zeros(events, dtype=torch.int64).index_add_(
        0, batch.patch_event, ((first >= 0) & (second >= 0)).long()
    )
    assert int(both.min()) > 0
    seen = torch.zeros(len(local.patches), dtype=torch.bool)
    seen[local.view[first[local.row] >= 0]] = True
    assert seen.all()
    assert torch.equal(whole.row[first[first >= 0]], torch.nonzero(first >= 0).squeeze(1))


@pytest.mark.parametrize("shift", [(0, 0, 0), (8, 3, 15)])
@pytest.mark.parametrize("edge", [1, 3])
def test_hidden_cubes_are_whole_and_of_the_declared_ratio(lesson, shift, edge):
    batch = group(lesson.image.take(torch.arange(12)), CONTRACT, shift=shift)
    chance = torch.rand(len(batch.position), generator=generator(), dtype=torch.float64)
    hidden = hidden_blocks(batch, edge, 0.7, chance, CONTRACT)
    for event in range(len(batch)):
        own = batch.patch_event == event
        place = batch.position[own] / (CONTRACT.patch * CONTRACT.pitch)
        cube = torch.round(place - place.amin(dim=0)).long() // edge
        _, member = torch.unique(cube, dim=0, return_inverse=True)
        cubes = int(member.max()) + 1
        per_cube = torch.zeros(cubes).index_add_(0, member, hidden[own].float()) / torch.bincount(member)
        assert set(per_cube.tolist()) <= {0.0, 1.0}
        assert int(per_cube.sum()) == math.floor(0.7 * cubes)


@pytest.mark.parametrize("turn", range(8))
def test_turning_patches_is_grouping_the_turned_image(view, turn):
    image = view[0].take([0, 1, 2])
    index = image.index
    last = image.shape[1] - 1
    if turn & 1:
        index[:, 1] = last - index[:, 1]
    if turn & 2:
        index[:, 2] = last - index[:, 2]
    if turn & 4:
        index = index[:, [0, 2, 1]]
    direct = group(_placed(image, index).image, CONTRACT)
    found = turned(group(image, CONTRACT), CONTRACT, torch.full((3,), turn))
    torch.testing.assert_close(found.centroid, direct.centroid, atol=1e-3, rtol=0.0)

    def table(patches):
        """Voxels as event, patch place, place inside, value, and the values around, in one order."""
        voxel = patches.voxel_patch
        around = patches.near.features(patches.value)
        columns = [
            patches.patch_event[voxel],
            *patches.position[voxel].mul(10).round().T,
            patches.local,
            patches.value,
            *around.T,
        ]
        rows = torch.stack([column.double() for column in columns], dim=1)
        return torch.unique(rows, dim=0)

    torch.testing.assert_close(table(found), table(direct), atol=1e-6, rtol=0.0)


def test_turning_needs_a_square_anode(batch):
    for odd in (replace(CONTRACT, shape=(768, 768, 512)), replace(CONTRACT, views=3)):
        with pytest.raises(ConfigError, match="square pixel anode"):
            turned(batch, odd, torch.zeros(len(batch), dtype=torch.int64))
        with pytest.raises(ConfigError, match="square pixel anode"):
            SelfDistillation(VoxelTransformer.fresh(SMALL, odd))


def test_a_recentred_event_lies_about_its_own_charge_to_the_grain(batch):
    found = recentred(batch, CONTRACT)
    away = (found.centroid - batch.centroid).abs()
    assert float(away.max()) < CONTRACT.grain * CONTRACT.pitch / 2


def test_brightening_is_grouping_the_brighter_image(view):
    image = view[0]
    factor = EnergyJitter().factor(torch.randn(len(image.cell), generator=generator()))
    plain = group(image, CONTRACT)
    found = brightened(plain, factor[plain.order], CONTRACT)
    direct = group(replace(image, energy=image.energy * factor), CONTRACT)
    torch.testing.assert_close(found.value, direct.value, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(found.summary[:, :2], direct.summary[:, :2], atol=1e-5, rtol=0.0)


def test_hidden_patches_do_not_reach_the_student(model, batch):
    model.eval()
    draws = Draws.of(batch, model.crops, generator(6))
    whole, _ = model._cut(batch, draws)
    hidden = model._hidden(whole, draws)
    assert hidden.any()
    brighter = replace(whole.patches, value=whole.patches.value + 3.0 * hidden[whole.patches.voxel_patch])
    with torch.no_grad():
        assert torch.equal(
            model._tokens(model.body, whole.patches, hidden), model._tokens(model.body, brighter, hidden)
        )


def test_products_in_bfloat16_give_nearly_the_same_loss_in_float32(model, batch):
    model.eval()
    whole = model(batch, generator(2))
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch, generator(2))
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, whole, rtol=0.01, atol=0.0)
    half.backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)


def test_a_collapsed_student_is_told_from_one_that_uses_its_prototypes(model):
    assert model.effective_prototypes() == pytest.approx(len(model.usage))
    for step in range(3):
        model._watch(torch.eye(len(model.usage))[torch.zeros(50, dtype=torch.int64)] * 40)
        model.after_step(step, 1000)
    assert model.effective_prototypes() < 1.5
    assert model.information() == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(RunError, match=r"collapsed at step 200 of 1000: of 64 prototypes 1\.00"):
        model.after_step(200, 1000)


def test_what_it_saw_of_a_training_is_in_its_state(model, batch):
    """A training that goes on from a state file finds teacher, schedule and usage as they were."""
    model(batch, generator())
    model.after_step(4, 9)
    with seeded(8):
        other = SelfDistillation(type(model.body).fresh(model.body.plain(), CONTRACT))
    other.load_state_dict(model.state_dict())
    assert float(other.done) == 5 / 9
    assert torch.equal(other(batch, generator(1)), model(batch, generator(1)))


def test_crops_that_cannot_be_compared_are_refused():
    for odd in ({"globals": 1}, {"locals": 0}, {"local_share": (0.0, 0.4)}):
        with pytest.raises(ConfigError, match="crops"):
            Crops(**odd)


def test_a_short_pre_training_lowers_the_loss_and_does_not_collapse(lesson, recipe, tmp_path):
    assert objectives().get("self_distillation") is SelfDistillation
    with seeded(0):
        model = SelfDistillation(recipe.fresh_body(lesson.contract))
    start = {name: value.clone() for name, value in model.teacher_body.state_dict().items()}

    def loss(rows, draws):
        return model(lesson.batch(rows, draws).patches, draws)

    batches = presentations(lesson.seen, lesson.size, 800, 8, 0)
    run = Run("body", 0, tmp_path / "state", "x")
    keys = lesson.image.events.key
    curve = train(run, model, batches, loss, recipe, peak=3e-3, keys=keys, after_step=model.after_step)
    # Even predictions of 128 prototypes cost ln 128 = 4.85 nats; below that the student knows its teacher's choice.
    assert sum(curve[:3]) / 3 > math.log(128)
    assert sum(curve[-5:]) / 5 < math.log(128) - 0.1
    assert model.effective_prototypes() > 60
    assert model.information() > 0.2
    assert any(not torch.equal(value, start[name]) for name, value in model.teacher_body.state_dict().items())
