"""Vertex, direction and neutrino energy: targets that come back, statistics by hand, and truth from real particles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events import EventTable, read
from shiftlab.tasks import EventSummary, named_tasks
from shiftlab.tasks.quantiles import weighted_quantile
from shiftlab.tasks.task import family

DATA = Path(__file__).parents[1] / "data"
VERTEX, DIRECTION, ENERGY = named_tasks(["vertex", "direction", "neutrino_energy"])


def events(samples, **truth) -> EventTable:
    count = len(samples)
    key = torch.arange(count)
    return EventTable(
        key=key,
        vertex=key,
        weight=torch.ones(count, dtype=torch.float64),
        sample=tuple(samples),
        truth={name: torch.tensor(values, dtype=torch.float64) for name, values in truth.items()},
        selected=torch.ones(count, dtype=torch.bool),
    )


def summary(count: int, seed: int = 0) -> EventSummary:
    rng = np.random.default_rng(seed)
    return EventSummary(torch.tensor(rng.uniform(50, 900, count)), torch.tensor(rng.uniform(20, 200, (count, 3))))


def test_a_vertex_is_given_about_the_centre_of_charge_and_comes_back():
    truth, seen = np.random.default_rng(1).uniform(0, 230, (6, 3)), summary(6)
    target = VERTEX.target(truth, seen)
    assert target.shape == (6, 3)
    found = VERTEX.decode(torch.from_numpy(target), seen)
    np.testing.assert_allclose(found, truth)
    assert float(VERTEX.loss(torch.from_numpy(target), torch.from_numpy(target))) == 0.0
    # The answer of a head that says nothing is the centre of charge.
    np.testing.assert_allclose(VERTEX.decode(torch.zeros(6, 3), seen), seen.centroid)


def test_the_vertex_statistics_by_hand():
    truth = np.zeros((4, 3))
    found = np.array([[3.0, 0, 4.0], [1, 0, 0], [-9, 0, 0], [2, 0, 0]])
    weights = np.array([[1.0, 1, 1, 1], [1, 0, 0, 1]])
    further = VERTEX.further(found, truth, weights)
    np.testing.assert_allclose(further["share within 5 cm"], [0.5, 0.5])
    np.testing.assert_allclose(further["mean of x (drift), reco - true [cm]"], [-0.75, 2.5])
    np.testing.assert_allclose(further["median distance [cm]"], [3.5, 3.5])
    both = VERTEX.score(np.stack([found, 2 * found]), truth, weights)
    np.testing.assert_allclose(both[1], 2 * both[0])


def test_a_shift_along_the_drift_moves_the_mean_of_x_alone():
    rng = np.random.default_rng(2)
    truth, weights = rng.uniform(0, 200, (50, 3)), np.ones((1, 50))
    found = truth + rng.normal(size=(50, 3))
    before, after = (VERTEX.further(one, truth, weights) for one in (found, found + np.array([1.5, 0, 0])))
    moved = {name: float(after[name][0] - before[name][0]) for name in before if name.startswith("mean of")}
    assert list(moved.values()) == pytest.approx([1.5, 0, 0])


def test_directions_are_unit_vectors_and_turn_with_their_numbers():
    raw = torch.tensor([[0.0, 0, 3.0], [4.0, 3.0, 0], [0, 0, 0]])
    found = DIRECTION.decode(raw, EventSummary.of_energy(torch.ones(3)))
    np.testing.assert_allclose(found, [[0, 0, 1], [0.8, 0.6, 0], [0, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("degrees", [0.01, 1.0, 60.0, 179.0])
def test_the_angular_resolution_of_equal_errors_is_that_error(degrees):
    rng = np.random.default_rng(3)
    true = rng.normal(size=(30, 3))
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    across = np.cross(true, rng.normal(size=(30, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    angle = np.radians(degrees)
    found = (np.cos(angle) * true + np.sin(angle) * across).astype(np.float32).astype(np.float64)
    weights = np.ones((2, 30))
    np.testing.assert_allclose(DIRECTION.score(found, true, weights), degrees, rtol=1e-3)
    further = DIRECTION.further(found, true, weights)
    np.testing.assert_allclose(further["mean cosine"], np.cos(angle), atol=1e-6)
    np.testing.assert_allclose(further["share beyond 90 degrees"], degrees > 90)


def test_the_direction_of_real_events_is_that_of_the_leading_particle():
    singles = DIRECTION.with_truth(read(DATA / "geant4_singles.h5"))
    truth = DIRECTION.truth(singles.events)
    np.testing.assert_allclose(np.linalg.norm(truth, axis=1), 1.0)
    assert DIRECTION.evaluated(singles.events).all()
    particles = singles.particles.columns
    first = singles.particles.offsets[:-1]
    momentum = torch.stack([particles[f"momentum_{axis}"][first] for axis in "xyz"], dim=1).numpy()
    np.testing.assert_allclose(truth, momentum / np.linalg.norm(momentum, axis=1, keepdims=True))
    # In the second of two muon-neutrino events the proton comes first in the table: the muon leads all the same.
    numu = DIRECTION.with_truth(read(DATA / "geant4_numu_ftfpbert.h5"))
    row = numu.particles.offsets[1] + 1
    assert float(numu.particles.columns["pdg"][row]) == 13
    muon = np.array([float(numu.particles.columns[f"momentum_{axis}"][row]) for axis in "xyz"])
    np.testing.assert_allclose(DIRECTION.truth(numu.events)[1], muon / np.linalg.norm(muon))
    assert DIRECTION.with_truth(numu) is numu


@pytest.mark.parametrize(("name", "leading"), [("geant4_singles.h5", range(6)), ("geant4_numu_ftfpbert.h5", (2,))])
def test_the_middle_of_a_track_lies_ahead_of_its_start(name, leading):
    """The sign of the frame: deposits of the leading particle lie along its direction, seen from the vertex."""
    deposits = DIRECTION.with_truth(read(DATA / name))
    deposits = deposits.keep(torch.isin(deposits.particle, torch.tensor(leading)))
    truth = DIRECTION.truth(deposits.events)
    start = torch.stack([deposits.events.truth[f"vertex_{axis}"] for axis in "xyz"], dim=1)
    offset = deposits.position.double() - start[deposits.event_index]
    middle = torch.zeros(len(deposits), 3, dtype=torch.float64)
    middle.index_add_(0, deposits.event_index, offset * deposits.energy.double()[:, None])
    assert ((middle.numpy() * truth).sum(axis=1) > 0).all()


def test_events_without_particles_have_no_direction():
    with pytest.raises(DataError, match="task 'direction' needs the momenta of the primary particles"):
        DIRECTION.with_truth(read(DATA / "shiftlab_sample_1.h5"))
    with pytest.raises(DataError, match="task 'direction' needs the truth 'direction_x'"):
        DIRECTION.truth(events(["numu_cc"]))


def test_only_charged_currents_with_a_vertex_are_judged():
    names = ["numu_cc", "numu_cc_1pi", "nue_cc_npi0", "nc_1pi", "photon_0pi", "photon_protons", "calibration_muon"]
    nan = float("nan")
    column = [1.0, 1, 1, 1, 1, 1, 1]
    table = events(
        names,
        vertex_x=column,
        vertex_y=column,
        vertex_z=[1.0, 1, nan, 1, 1, 1, 1],
        neutrino_energy=[900.0, 800, 700, 600, nan, nan, nan],
        visible_energy=[500.0, 0, 300, 100, 100, 100, 100],
    )
    assert VERTEX.evaluated(table).tolist() == [True, True, False, False, False, False, False]
    assert VERTEX.scored(table).tolist() == [True, True, True, False, True, True, False]
    assert ENERGY.evaluated(table).tolist() == [True, False, True, False, False, False, False]
    assert [family(name) for name in names] == [
        *("numu_cc", "numu_cc", "nue_cc", "nc", "photon_protons", "photon_protons", "calibration_muon")
    ]


def test_the_tails_of_the_neutrino_energy_move_the_root_mean_square_more_than_the_quartiles():
    rng = np.random.default_rng(4)
    truth = np.stack([rng.uniform(300, 2000, 3000), np.ones(3000)], axis=1)
    core = truth[:, :1] * rng.normal(1.0, 0.1, (3000, 1))
    tailed = core.copy()
    tailed[:60] *= 4
    one = np.ones((1, 3000))
    before, after = ENERGY.further(core, truth, one), ENERGY.further(tailed, truth, one)
    assert before["IQR of reco/true"][0] == pytest.approx(1.349 * 0.1, rel=0.05)
    assert after["resolution"][0] > 3 * before["resolution"][0]
    assert after["IQR of reco/true"][0] == pytest.approx(before["IQR of reco/true"][0], rel=0.1)
    assert after["MPV of reco/true"][0] == pytest.approx(1.0, abs=0.03)


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 3)), min_size=2, max_size=25), st.floats(0.05, 0.95))
def test_quantiles_lie_among_the_events_that_have_weight(pairs, level):
    values, counts = np.array([v for v, _ in pairs]), np.array([w for _, w in pairs], dtype=float)
    found = weighted_quantile(values, counts[None], level)
    if counts.sum() == 0:
        assert np.isnan(found).all()
        return
    kept = values[counts > 0]
    assert kept.min() <= found[0] <= kept.max()
    np.testing.assert_allclose(weighted_quantile(kept, counts[None, counts > 0], level), found)
    np.testing.assert_allclose(weighted_quantile(values, 3 * counts[None], level), found)


def test_the_quantile_of_many_events_is_that_of_their_law():
    values = np.random.default_rng(5).normal(size=40_000)
    assert weighted_quantile(values, np.ones((1, 40_000)), 0.68)[0] == pytest.approx(0.4677, abs=0.02)
