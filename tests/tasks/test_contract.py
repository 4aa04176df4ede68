"""What every registered task keeps: shapes, perfect scores, references, weights, and no order of events."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.detector.geometry import Geometry
from shiftlab.events import Deposits, EventTable, concatenate, read
from shiftlab.events.image import Image
from shiftlab.tasks import EventSummary, Task, VoxelTask, match, named_tasks, tasks, voxel_truth
from shiftlab.tasks.particle_task import KINDS, Found, ParticleTask

DATA = Path(__file__).parents[1] / "data"
GEOMETRY = Geometry()
EVERY = tuple(kind() for kind in tasks())
OF_EVENTS = tuple(task for task in EVERY if task.level == "event")
SAMPLES = ("numu_cc", "nue_cc", "photon_protons", "single_electron", "single_gamma", "single_muon", "numu_cc_1pi")

by_name = pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
of_events = pytest.mark.parametrize("task", OF_EVENTS, ids=lambda task: task.name)


def table(count: int = 210, seed: int = 0) -> EventTable:
    """Events of every sample, with every truth that an event-level task asks for."""
    rng = np.random.default_rng(seed)
    sample = [SAMPLES[i % len(SAMPLES)] for i in range(count)]
    neutrino = np.array([name.startswith("nu") for name in sample])
    direction = rng.normal(size=(count, 3)) + np.array([0.0, 0, 1])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    pions = rng.choice([0.0, 1.0, 2.0], size=(3, count), p=(0.5, 0.3, 0.2))
    truth = {
        "visible_energy": rng.uniform(100, 1500, count),
        "neutrino_energy": np.where(neutrino, rng.uniform(300, 3000, count), np.nan),
        "neutrino_pdg": np.select([np.char.startswith(sample, "nue"), neutrino], [12.0, 14.0], default=0.0),
        "em_class": np.array([{"nue_cc": 1.0, "single_electron": 1.0}.get(name, 0.0) for name in sample]),
        "current": np.where(neutrino, rng.integers(1, 3, count), np.nan),
        **dict(zip(("n_pi_plus", "n_pi_minus", "n_pi_zero"), pions, strict=True)),
        "available_energy": np.where(neutrino, rng.uniform(60, 2000, count), np.nan),
        **{f"vertex_{axis}": rng.uniform(20, 200, count) for axis in "xyz"},
        **{f"direction_{axis}": direction[:, i] for i, axis in enumerate("xyz")},
    }
    key = torch.arange(count)
    columns = {name: torch.tensor(np.asarray(column, dtype=np.float64)) for name, column in truth.items()}
    ones = torch.ones(count, dtype=torch.float64)
    return EventTable(key, key, ones, tuple(sample), columns, ones.bool())


def summary(count: int) -> EventSummary:
    rng = np.random.default_rng(9)
    return EventSummary(torch.tensor(rng.uniform(50, 900, count)), torch.tensor(rng.uniform(20, 200, (count, 3))))


def sure(task: Task, events: EventTable) -> tuple[np.ndarray, np.ndarray, EventSummary]:
    """Raw numbers of a head that knows the truth, the truth and the images' summary, of the evaluated events."""
    rows = torch.from_numpy(np.flatnonzero(task.evaluated(events)))
    truth, seen = task.truth(events)[rows], summary(len(events)).take(rows)
    target = task.target(truth, seen)
    if task.kind == "regression":
        return target.reshape(len(truth), -1), truth, seen
    classes = target.astype(int)
    raw = 20.0 * np.eye(task.raw)[classes] if task.kind == "classes" else 40.0 * (classes[:, None] - 0.5)
    return raw, truth, seen


def outputs_of(task: Task, raw: np.ndarray, seen: EventSummary) -> np.ndarray:
    return task.decode(torch.from_numpy(raw), seen).numpy()


def everything(task: Task, outputs: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {task.statistic: task.score(outputs, truth, weights), **task.further(outputs, truth, weights)}


def perfect_value(name: str) -> float:
    """0 for what measures a distance, 1 for what measures a share."""
    distances = ("mean(", "resolution", "IQR", "68%", "median", "mean of", "share beyond", "ECE")
    return 0.0 if name.startswith(distances) else 1.0


@pytest.fixture(scope="module")
def deposits() -> Deposits:
    found = concatenate([read(DATA / "geant4_singles.h5"), read(DATA / "geant4_numu_ftfpbert.h5")])
    shift = 115.2 - found.position.mean(dim=0)
    return Deposits(**{**found.__dict__, "position": found.position + shift})


@pytest.fixture(scope="module")
def matched(deposits):
    truth = voxel_truth(deposits, GEOMETRY, particles=True)
    ones = torch.ones(len(truth.cell))
    image = Image(truth.offsets, truth.cell, ones, truth.energy, GEOMETRY.shape, deposits.events)
    return image, match(image, truth)


def known(task: Task, image: Image, matched) -> np.ndarray:
    """Stored outputs of a voxel- or particle-level head that knows the truth."""
    if isinstance(task, VoxelTask):
        called = matched.label.clamp(max=task.raw - 1)
        return task.count(called, torch.ones(len(called)), image.energy, image.event_index, matched).double().numpy()
    assert isinstance(task, ParticleTask)
    owner, particles = matched.particle_truth()
    kind = torch.full((len(image), task.queries), len(KINDS))
    kind[particles.event_index, particles.place] = particles.kind
    found = Found(owner.clamp(min=-1), torch.nn.functional.one_hot(kind, task.raw).float())
    return task.count(found, image.event_index, matched).double().numpy()


@of_events
def test_the_loss_of_an_event_is_zero_for_the_truth_and_more_for_shuffled_answers(task):
    """What arms are matched on: answers dealt to other events lose in the mean, and none below zero."""
    raw, truth, seen = sure(task, table())
    assert np.allclose(task.event_loss(outputs_of(task, raw, seen), truth), 0.0, atol=1e-3)
    wrong = outputs_of(task, np.random.default_rng(1).permutation(raw), seen)
    loss = task.event_loss(np.stack([wrong, outputs_of(task, raw, seen)]), truth)
    assert loss.shape == (2, len(truth))
    assert (loss >= 0.0).all()
    assert loss[0].mean() > 10.0 * max(1e-3, loss[1].max())


@pytest.mark.parametrize("task", [one for one in EVERY if one.level != "event"], ids=lambda task: task.name)
def test_the_loss_of_an_event_of_parts_is_zero_where_all_are_found(task, matched):
    outputs = known(task, *matched)
    assert np.allclose(task.event_loss(outputs, np.zeros((len(outputs), 1))), 0.0, atol=1e-6)


@by_name
def test_better_says_which_way_the_statistic_falls(task):
    """A share is better where it is larger, a resolution where it is smaller; a mean offset is neither."""
    expected = {"mean(reco/true - 1)": 0}.get(task.statistic, 1 if perfect_value(task.statistic) else -1)
    assert task.better == expected


@by_name
def test_what_a_task_declares_fits_together(task):
    assert task.outputs == len(set(task.output_names)) == len(task.output_names)
    assert len(task.empty) == (task.outputs if task.level == "event" else 0)
    assert np.isfinite(task.empty).all()
    assert 2 <= len(task.edges) <= 6
    assert np.all(np.diff(task.edges) > 0)
    assert all(0 <= column < task.raw for column in task.odd)
    assert task.unit
    assert task.truth_columns


def test_the_tasks_of_the_demo_are_those_that_need_not_be_named():
    assert [task.name for task in named_tasks()] == ["electron_gamma", "energy", "flavour", "segmentation"]
    assert {task.name for task in EVERY if task.input == "tokens"} == {"available_energy", "pion_topology"}
    opt_in = {task.name for task in EVERY if task.opt_in}
    assert opt_in == {"direction", "neutrino_energy", "particle_id", "particles", "vertex"}


@of_events
def test_the_evaluation_set_is_fixed_by_truth_and_has_no_unknown(task):
    events = table()
    scored, evaluated = task.scored(events), task.evaluated(events)
    assert scored.dtype == evaluated.dtype == np.bool_
    assert evaluated.any()
    assert not (evaluated & ~scored).any()
    truth = task.truth(events)
    assert truth.shape == (len(events), len(task.truth_columns))
    assert np.isfinite(truth[evaluated]).all()


@of_events
def test_the_truth_as_an_answer_has_the_perfect_score(task):
    raw, truth, seen = sure(task, table())
    outputs = outputs_of(task, raw, seen)
    assert outputs.shape == (len(truth), task.outputs)
    for name, value in everything(task, outputs, truth, np.ones((1, len(truth)))).items():
        assert value[0] == pytest.approx(perfect_value(name), abs=1e-5), name


@pytest.mark.parametrize("task", [t for t in EVERY if t.level != "event"], ids=lambda task: task.name)
def test_labels_as_an_answer_have_the_perfect_score(task, matched):
    outputs = known(task, *matched)
    assert outputs.shape == (len(matched[0]), task.outputs)
    truth = task.truth(matched[0].events)
    for name, value in everything(task, outputs, truth, np.ones((1, len(truth)))).items():
        assert value[0] == pytest.approx(perfect_value(name), abs=1e-6), name


@by_name
def test_a_predictor_without_information_is_worse_than_the_truth(task, matched):
    if task.level == "event":
        raw, truth, seen = sure(task, table())
        outputs = outputs_of(task, raw, seen)
    else:
        outputs, truth = known(task, *matched), task.truth(matched[0].events)
    best = everything(task, outputs, truth, np.ones((1, len(truth))))
    references = task.references(outputs, truth, np.ones(len(truth)))
    assert set(references) <= {name.partition(" [")[0] for name in best}
    label, reference = references[task.statistic]
    assert label
    gap = abs(reference - perfect_value(task.statistic))
    assert gap > abs(float(best[task.statistic][0]) - perfect_value(task.statistic)) + 1e-3


@of_events
def test_weights_count_events_and_their_order_does_not_matter(task):
    events = table()
    raw, truth, seen = sure(task, events)
    rng = np.random.default_rng(1)
    outputs = outputs_of(task, raw + rng.normal(size=raw.shape) * (0.1 if task.kind == "regression" else 20), seen)
    weights = rng.poisson(1.0, (3, len(truth))).astype(float) + np.eye(3, len(truth))
    found = everything(task, outputs, truth, weights)
    turn = rng.permutation(len(truth))
    again = everything(task, outputs[turn], truth[turn], weights[:, turn])
    twice = everything(task, outputs, truth, 2 * weights)
    for name, value in found.items():
        assert value.shape == (3,)
        np.testing.assert_allclose(again[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(twice[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    repeated = np.repeat(np.arange(len(truth)), weights[1].astype(int))
    plain = task.score(outputs[repeated], truth[repeated], np.ones((1, len(repeated))))
    assert plain[0] == pytest.approx(found[task.statistic][1], rel=0.05, abs=0.01)


@of_events
def test_statistics_and_observables_of_many_universes_are_those_of_each(task):
    raw, truth, seen = sure(task, table())
    rng = np.random.default_rng(2)
    several = np.stack([outputs_of(task, raw + 0.3 * rng.normal(size=raw.shape), seen) for _ in range(3)])
    weights = rng.poisson(1.0, (4, len(truth))) + 0.5
    together = task.score(several, truth, weights)
    assert together.shape == (3, 4)
    for one, outputs in zip(together, several, strict=True):
        np.testing.assert_allclose(one, task.score(outputs, truth, weights))
    assert task.observable(several).shape == several.shape[:2]
    np.testing.assert_allclose(task.observable(several)[1], task.observable(several[1]))


@of_events
def test_an_empty_event_has_the_declared_answer_and_no_events_no_outputs(task):
    assert np.isfinite(task.observable(np.array([task.empty])))
    none = task.decode(torch.zeros(0, task.raw), EventSummary.of_energy(torch.zeros(0)))
    assert none.shape == (0, task.outputs)


@of_events
def test_unknown_truth_is_an_unknown_target_and_never_judged(task):
    events = table()
    lost = {name: torch.full_like(column, float("nan")) for name, column in events.truth.items()}
    unknown = EventTable(events.key, events.vertex, events.weight, events.sample, lost, events.selected)
    assert not task.evaluated(unknown).any()
    target = task.target(task.truth(unknown), summary(len(events)))
    assert not np.isfinite(target).reshape(len(events), -1).all(axis=1).any()


@of_events
def test_a_loss_is_least_at_the_target(task):
    raw, truth, seen = sure(task, table())
    target = torch.from_numpy(task.target(truth, seen)).float()
    best = task.loss(torch.from_numpy(raw).float(), target)
    assert best.ndim == 0
    rng = np.random.default_rng(3)
    worse = raw * (-1 if task.kind != "regression" else 1) + rng.normal(size=raw.shape)
    assert float(task.loss(torch.from_numpy(worse).float(), target)) > float(best) + 1e-3


@of_events
def test_what_is_odd_changes_sign_under_a_mirror(task):
    """Mirrored along y, vertices, directions and centres of charge are mirrored; the target's odd columns flip."""
    truth, seen = task.truth(table()), summary(210)
    size = 230.4
    mirrored = truth.copy()
    for place, name in enumerate(task.truth_columns):
        mirrored[:, place] = {"vertex_y": size - truth[:, place], "direction_y": -truth[:, place]}.get(
            name, truth[:, place]
        )
    centre = seen.centroid.clone()
    centre[:, 1] = size - centre[:, 1]
    before = task.target(truth, seen).reshape(len(truth), -1)
    after = task.target(mirrored, EventSummary(seen.summed_energy, centre)).reshape(len(truth), -1)
    sign = np.array([-1.0 if column in task.odd else 1.0 for column in range(before.shape[1])])
    np.testing.assert_allclose(after, sign * before, atol=1e-9)
