"""Small drawn events for the arms: straight tracks and compact clouds, as images, truth and deposits."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.contract import InputContract
from shiftlab.arms.foundation import Foundation
from shiftlab.arms.scratch import Scratch
from shiftlab.arms.training.networks import seeded
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import TrainingSet, training_set
from shiftlab.detector import Detector, detector
from shiftlab.events import Deposits, EventTable, Image
from shiftlab.tasks import VoxelTruth, named_tasks, voxel_truth

SAMPLES = ("numu_cc", "nue_cc", "photon_protons", "single_electron", "single_gamma")
PDG = {"numu_cc": 14.0, "nue_cc": 12.0}
EM = {"nue_cc": 1.0, "single_electron": 1.0, "photon_protons": 0.0, "single_gamma": 0.0}
SMALL = {"width": 32, "depth": 1, "heads": 2, "stem": 8, "rounds": 1, "expansion": 2}


def drawn_deposits(count: int, seed: int = 0) -> Deposits:
    """Tracks for numu CC, clouds for the others, at random places; 60 to 150 deposits an event."""
    rng = np.random.default_rng(seed)
    position, energy, semantic, sizes, samples = [], [], [], [], []
    for i in range(count):
        sample = SAMPLES[i % len(SAMPLES)]
        size = int(rng.integers(60, 150))
        start, direction = rng.uniform(60, 170, 3), rng.normal(size=3)
        along = np.arange(size)[:, None] * 0.3 * direction / np.linalg.norm(direction)
        track = sample == "numu_cc"
        position.append(start + (along if track else rng.normal(scale=3.0, size=(size, 3))))
        energy.append(rng.uniform(0.5, 0.9, size))
        semantic.append(np.full(size, 1 if track else 0))
        sizes.append(size)
        samples.append(sample)
    total = torch.tensor([part.sum() for part in energy], dtype=torch.float64)
    table = EventTable(
        key=torch.arange(count) + 1000 * seed,
        vertex=torch.arange(count) + 1000 * seed,
        weight=torch.ones(count, dtype=torch.float64),
        sample=tuple(samples),
        truth={
            "visible_energy": total,
            "neutrino_pdg": torch.tensor([PDG.get(name, 0.0) for name in samples], dtype=torch.float64),
            "em_class": torch.tensor([EM.get(name, float("nan")) for name in samples], dtype=torch.float64),
        },
        selected=torch.ones(count, dtype=torch.bool),
    )
    kinds = torch.tensor(np.concatenate(semantic), dtype=torch.int8)
    return Deposits(
        offsets=torch.tensor(np.concatenate([[0], np.cumsum(sizes)])),
        position=torch.tensor(np.concatenate(position), dtype=torch.float32),
        energy=torch.tensor(np.concatenate(energy), dtype=torch.float32),
        length=torch.full((len(kinds),), 0.3),
        semantic=kinds,
        particle=kinds,
        events=table,
    )


@pytest.fixture(scope="session")
def pixel() -> Detector:
    """The default detector."""
    return detector("pixel_lar")


@pytest.fixture(scope="session")
def draw() -> Callable[..., Deposits]:
    """Draws deposits: ``draw(count, seed)``."""
    return drawn_deposits


@pytest.fixture(scope="session")
def lesson(pixel: Detector) -> TrainingSet:
    """Training set of 40 events."""
    return training_set(drawn_deposits(40), pixel, named_tasks(), lambda events: None)


@pytest.fixture(scope="session")
def view(pixel: Detector) -> tuple[Image, VoxelTruth]:
    """Image and truth of 20 events; events 3 and 11 have lost every voxel."""
    deposits = drawn_deposits(20, seed=1)
    image = pixel.image(deposits)
    kept = ~torch.isin(image.event_index, torch.tensor([3, 11]))
    offsets = torch.zeros(21, dtype=torch.int64)
    offsets[1:] = torch.bincount(image.event_index[kept], minlength=20).cumsum(0)
    emptied = Image(offsets, image.cell[kept], image.charge[kept], image.energy[kept], image.shape, image.events)
    return emptied, voxel_truth(deposits, pixel.geometry)


@pytest.fixture
def arm() -> Foundation:
    """A foundation arm with random weights."""
    with seeded(5):
        networks = Foundation.fresh(named_tasks(), lambda: VoxelTransformer.fresh(SMALL, InputContract()))
    return Foundation(0, networks, {}, np.array([7, 5], dtype=np.int64))


@pytest.fixture
def alone() -> Scratch:
    """A scratch arm with random weights."""
    with seeded(6):
        networks = Scratch.fresh(named_tasks(), lambda: VoxelTransformer.fresh(SMALL, InputContract()))
    return Scratch(0, networks, {}, np.array([7, 5], dtype=np.int64))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A training of a few steps."""
    return Recipe(body=48, head=48, scratch=48, batch=8, event_trees=3, voxel_trees=2, voxel_events=20, size=SMALL)
