"""Grouping and kinds of particles on real events: perfect answers are perfect, and whatever is lost counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.detector.geometry import Geometry
from shiftlab.events import Deposits, concatenate, read
from shiftlab.events.image import Image
from shiftlab.tasks import match, named_tasks, voxel_truth
from shiftlab.tasks.particle_task import KINDS, Found
from shiftlab.tasks.particle_truth import LEAST_CELLS, VOID
from shiftlab.tasks.set_loss import SetAnswer

DATA = Path(__file__).parents[1] / "data"
GEOMETRY = Geometry()
GROUPS, IDS = named_tasks(["particles", "particle_id"])
ONE = np.ones((1, 9))


@pytest.fixture(scope="module")
def deposits() -> Deposits:
    """Seven single particles and two muon-neutrino events of Geant4, about the middle of the detector."""
    parts = [read(DATA / "geant4_singles.h5"), read(DATA / "geant4_numu_ftfpbert.h5")]
    joined = concatenate(parts)
    middle = torch.zeros(len(joined), 3).index_add_(0, joined.event_index, joined.position)
    middle /= joined.offsets.diff()[:, None]
    return replace(joined, position=joined.position - middle[joined.event_index] + 115.2)


@pytest.fixture(scope="module")
def seen(deposits):
    """Image with every true cell, and the truth laid beside it."""
    truth = voxel_truth(deposits, GEOMETRY, particles=True)
    ones = torch.ones(len(truth.cell))
    image = Image(truth.offsets, truth.cell, ones, truth.energy, GEOMETRY.shape, deposits.events)
    return image, truth


def perfect(matched) -> Found:
    owner, particles = matched.particle_truth()
    kind = torch.full((len(particles), GROUPS.queries), len(KINDS))
    kind[particles.event_index, particles.place] = particles.kind
    probability = torch.nn.functional.one_hot(kind, len(KINDS) + 1).float()
    return Found(owner.clamp(min=-1), probability)


def statistics(task, found, image, matched):
    outputs = task.count(found, image.event_index, matched).double().numpy()
    assert outputs.shape == (len(image), task.outputs)
    assert np.isfinite(outputs).all()
    truth = task.truth(image.events)
    own = {task.statistic: task.score(outputs, truth, ONE), **task.further(outputs, truth, ONE)}
    return {name: float(value[0]) for name, value in own.items()}, task.references(outputs, truth, ONE[0])


def test_lost_voxels_lower_the_groups_and_a_lost_particle_is_missed(seen):
    image, truth = seen
    whole = match(image, truth)
    # Event 0, a muon, loses nine voxels in ten; all other events stay whole.
    keep = (image.event_index != 0) | (torch.arange(len(image.cell)) % 10 == 0)
    faded = image.keep(keep)
    matched = match(faded, truth)
    groups, _ = statistics(GROUPS, perfect(matched), faded, matched)
    assert groups["detection recall"] < 1.0
    assert groups["efficiency"] < 1.0
    assert groups["purity"] == 1.0
    kinds, _ = statistics(IDS, perfect(matched), faded, matched)
    assert kinds["recall of muon"] < 1.0
    assert kinds["macro-F1 of matches"] == 1.0  # what is left is named rightly: matches alone hide the loss
    assert kinds["macro-F1"] < 1.0
    assert int(matched.particles.cells.sum()) == int(whole.particles.cells.sum())


def test_an_image_without_voxels_has_lost_every_particle(seen):
    image, truth = seen
    dark = image.keep(torch.zeros(len(image.cell), dtype=torch.bool))
    matched = match(dark, truth)
    groups, _ = statistics(GROUPS, perfect(matched), dark, matched)
    assert groups["detection recall"] == 0.0
    assert np.isnan(groups["detection precision"])
    kinds, _ = statistics(IDS, perfect(matched), dark, matched)
    assert kinds["macro-F1"] == 0.0
    assert np.isnan(kinds["accuracy of matches"])


def test_a_particle_that_is_not_there_is_a_false_positive(seen):
    matched = match(*seen)
    found = perfect(matched)
    split = found.query.clone()
    big = torch.nonzero((seen[0].event_index == 0) & (found.query == 0)).squeeze(1)
    split[big[: len(big) // 3]] = 20
    probability = found.probability.clone()
    probability[0, 20] = torch.nn.functional.one_hot(torch.tensor(KINDS.index("pion")), len(KINDS) + 1)
    groups, _ = statistics(GROUPS, Found(split, probability), seen[0], matched)
    assert groups["detection precision"] < 1.0
    assert groups["detection recall"] == 1.0
    kinds, _ = statistics(IDS, Found(split, probability), seen[0], matched)
    assert kinds["precision of pion"] < 1.0
    assert kinds["macro-F1 of matches"] == 1.0


def test_the_rand_index_is_asked_of_events_with_two_particles(seen):
    """Of an event with one particle it is 0 for every answer but the perfect one, however close."""
    matched = match(*seen)
    several = matched.particles.offsets.diff() > 1
    assert 0 < int(several.sum()) < len(several)
    index, known = (GROUPS.output_names.index(name) for name in ("ari", "ari_known"))
    outputs = GROUPS.count(perfect(matched), seen[0].event_index, matched)
    assert torch.equal(outputs[:, known] == 1, several)
    assert torch.equal(outputs[:, index], outputs[:, known])
    query = perfect(matched).query.clone()
    query[torch.isin(seen[0].event_index, torch.nonzero(several).squeeze(1))] = 3
    merged = GROUPS.count(Found(query, perfect(matched).probability), seen[0].event_index, matched)
    assert float(merged[several, index].abs().max()) < 1e-6


def test_how_found_particles_are_numbered_does_not_matter(seen):
    matched = match(*seen)
    found = perfect(matched)
    order = torch.randperm(GROUPS.queries, generator=torch.Generator().manual_seed(0))
    place = torch.argsort(order)
    turned = Found(torch.where(found.query >= 0, place[found.query.clamp(min=0)], -1), found.probability[:, order])
    for task in (GROUPS, IDS):
        event = seen[0].event_index
        torch.testing.assert_close(task.count(turned, event, matched), task.count(found, event, matched))


def test_found_particles_are_the_likeliest_masks(seen):
    image, _ = seen
    matched = match(*seen)
    owner, _ = matched.particle_truth()
    wanted = perfect(matched)
    mask = torch.full((len(owner), GROUPS.queries), -6.0)
    held = torch.nonzero(owner >= 0).squeeze(1)
    mask[held, owner[held]] = 6.0
    found = GROUPS.find(SetAnswer(mask, 20.0 * wanted.probability, image.offsets))
    assert torch.equal(found.query, wanted.query)
    few = torch.zeros_like(mask, dtype=torch.bool)
    few[held[owner[held] == 0][: LEAST_CELLS - 1], 0] = True
    speck = SetAnswer(torch.where(few, 6.0, -6.0), 20.0 * wanted.probability, image.offsets)
    assert (GROUPS.find(speck).query == -1).all()
    nobody = torch.zeros_like(wanted.probability)
    nobody[..., -1] = 9.0
    assert (GROUPS.find(SetAnswer(mask, nobody, image.offsets)).query == -1).all()


def test_void_voxels_are_asked_of_nobody(seen):
    matched = match(*seen)
    owner, _ = matched.particle_truth()
    assert bool((owner == VOID).any())
    found = perfect(matched)
    filled = Found(torch.where(owner == VOID, 3, found.query), found.probability)
    event = seen[0].event_index
    assert torch.equal(GROUPS.count(filled, event, matched), GROUPS.count(found, event, matched))


def test_bootstrap_weights_are_those_of_events(seen):
    matched = match(*seen)
    found = Found((torch.arange(len(seen[0].cell)) // 40) % 5, perfect(matched).probability)
    weights = np.array([[2.0, 0, 1, 3, 0, 1, 1, 2, 1]])
    repeated = np.repeat(np.arange(9), weights[0].astype(int))
    for task in (GROUPS, IDS):
        outputs = task.count(found, seen[0].event_index, matched).double().numpy()
        truth = task.truth(seen[0].events)
        again = np.ones((1, len(repeated)))
        weighted = {task.statistic: task.score(outputs, truth, weights), **task.further(outputs, truth, weights)}
        for name, value in task.further(outputs[repeated], truth[repeated], again).items():
            np.testing.assert_allclose(value, weighted[name])
        np.testing.assert_allclose(task.score(outputs[repeated], truth[repeated], again), weighted[task.statistic])
        stacked = task.score(np.stack([outputs, outputs[::-1]]), truth, weights)
        np.testing.assert_allclose(stacked[0], weighted[task.statistic])
        assert stacked.shape == (2, 1)
