"""The head for sets of particles on real events: order, memory, what reaches the loss, and the whole way to counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.network import Network
from shiftlab.arms.observation import Observation
from shiftlab.arms.training.networks import seeded, task_loss
from shiftlab.arms.training_set import TrainingSet, training_set
from shiftlab.detector import NOMINAL, Detector
from shiftlab.errors import DataError
from shiftlab.events import Deposits, concatenate, read
from shiftlab.tasks import named_tasks, truth_in

DATA = Path(__file__).parents[1] / "data"
TASKS = named_tasks(["particles", "particle_id"])
SIZE = {"width": 32, "depth": 1, "heads": 2, "stem": 8, "rounds": 1, "expansion": 2}


@pytest.fixture(scope="module")
def deposits() -> Deposits:
    """Seven single particles and two muon-neutrino events of Geant4, moved to the middle of the detector."""
    found = concatenate([read(DATA / "geant4_singles.h5"), read(DATA / "geant4_numu_ftfpbert.h5")])
    middle = torch.zeros(len(found), 3).index_add_(0, found.event_index, found.position)
    middle /= found.offsets.diff()[:, None]
    return replace(found, position=found.position - middle[found.event_index] + 115.2)


@pytest.fixture(scope="module")
def lesson(deposits, pixel: Detector) -> TrainingSet:
    return training_set(deposits, pixel, TASKS, lambda events: None)


def fresh(lesson: TrainingSet) -> Network:
    with seeded(3):
        return Network(VoxelTransformer(lesson.contract, **SIZE), TASKS)


def test_an_event_has_the_same_particles_alone_and_among_others(lesson):
    network = fresh(lesson).eval()
    rows = torch.tensor([7, 2, 8])
    batches = (lesson.batch(chosen, torch.Generator().manual_seed(0)) for chosen in (rows, rows[:1]))
    with torch.no_grad():
        together, alone = (network.heads["particles"](network.body(batch.patches)) for batch in batches)
    assert together.kind.shape == (3, 24, 6)
    assert together.mask.shape == (int(lesson.size[rows].sum()), 24)
    torch.testing.assert_close(together.kind[0], alone.kind[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.mask[: len(alone.mask)], alone.mask, rtol=1e-4, atol=1e-5)
    assert torch.equal(together.event_index.bincount(), lesson.size[rows])


def test_every_weight_of_the_head_learns(lesson):
    network = fresh(lesson)
    batch = lesson.batch(torch.arange(9), torch.Generator().manual_seed(1))
    head = network.heads["particle_id"]
    torch.autograd.backward(task_loss(TASKS[1], head(network.body(batch.patches)), batch))
    without = [name for name, value in head.named_parameters() if value.grad is None or not bool(value.grad.any())]
    assert without == []


def test_mirrored_batches_keep_the_particle_of_each_voxel(lesson):
    """Voxels are shuffled by patch; the particle of each must come along: its energy sums tell."""
    rows = torch.arange(9)
    sums = []
    for seed in range(4):
        batch = lesson.batch(rows, torch.Generator().manual_seed(seed))
        event = batch.patches.patch_event[batch.patches.voxel_patch]
        energy = torch.exp(batch.patches.value.double())
        held = batch.owner >= 0
        place = event[held] * 32 + batch.owner[held]
        sums.append(torch.zeros(9 * 32, dtype=torch.float64).index_add_(0, place, energy[held]))
        assert torch.equal(batch.particles.offsets, lesson.particles.offsets)
    for other in sums[1:]:
        torch.testing.assert_close(other, sums[0])


def test_a_network_answers_with_counts_of_every_event(lesson, deposits, pixel):
    network = fresh(lesson).eval()
    prepared = pixel.prepare(deposits)
    image = pixel.image(prepared)
    truth = truth_in(pixel, prepared, NOMINAL, particles=True)
    answers = network.answer(Observation(image, truth, lesson.contract), TASKS)
    for task in TASKS:
        assert answers[task.name].shape == (len(deposits), task.outputs)
        assert np.isfinite(answers[task.name]).all()
    true = answers["particles"][:, TASKS[0].output_names.index("true")]
    np.testing.assert_array_equal(true, lesson.particles.offsets.diff())
    kinds = answers["particle_id"][:, :36].reshape(-1, 6, 6)
    asked = lesson.particles.kind < 5
    assert kinds[:, :5].sum() == int(asked.sum())  # each true particle is matched or missed, once
    with pytest.raises(DataError, match="came without them"):
        network.answer(Observation(image, truth_in(pixel, prepared, NOMINAL), lesson.contract), TASKS)


@pytest.mark.slow
def test_a_head_can_learn_nine_events_by_heart(lesson, deposits, pixel):
    """What it is trained on is found again: masks of nearly all particles, and their kinds."""
    with seeded(4):
        network = Network(
            VoxelTransformer(lesson.contract, width=64, depth=2, heads=4, stem=16, rounds=1, expansion=2), TASKS
        )
    steps = 250
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = lesson.batch(torch.arange(9), generator)
        encoded = network.body(batch.patches)
        loss = torch.stack([task_loss(task, network.heads[task.name](encoded), batch) for task in TASKS]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    prepared = pixel.prepare(deposits)
    seen = Observation(pixel.image(prepared), truth_in(pixel, prepared, NOMINAL, particles=True), lesson.contract)
    answers = network.eval().answer(seen, TASKS)
    one = np.ones((1, len(deposits)))
    found = {}
    for task in TASKS:
        outputs, truth = answers[task.name].astype(np.float64), task.truth(deposits.events)
        found |= {task.name: float(task.score(outputs, truth, one)[0])}
        found |= {name: float(value[0]) for name, value in task.further(outputs, truth, one).items()}
    assert found["particles"] > 0.65
    assert found["PQ"] > 0.6
    assert found["particle_id"] > 0.6
    assert found["accuracy of matches"] > 0.9
