"""Composed topologies: kinematics, energy balance, classes, and one recipe of lepton and nucleons for all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from shiftlab.events.simulation.composition import Composition, compose_batch
from shiftlab.events.simulation.control import (
    FEATURES,
    kinematic_features,
    kinematics_control,
    separation,
)
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.spectra import MASS, Lepton, choose, cosine, leptonic, truncated_gamma
from shiftlab.events.simulation.topologies import TOPOLOGIES
from shiftlab.events.simulation.truth import TRUTH_COLUMNS

CONFIGS = Path(__file__).parents[2] / "configs" / "simulation"


def recipe(name: str) -> Recipe:
    given = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    assert isinstance(given, dict)
    return Recipe.from_config(given["events"], lambda text: CONFIGS.parents[1] / text)


@pytest.fixture(scope="module", params=["lar_neutrino", "ch_neutrino"])
def mixed(request: pytest.FixtureRequest) -> tuple[Recipe, Composition]:
    """A recipe with all of its medium's numbers and every topology that there is, in equal parts."""
    even = replace(recipe(request.param), kinds=dict.fromkeys(TOPOLOGIES, 1.0 / len(TOPOLOGIES)))
    return even, compose_batch(even, 3, 0, 8000)


def sums(made: Composition, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(made.event[rows], values[rows], len(made))


def test_energies_are_positive_directions_are_unit_vectors_and_events_ascend(
    mixed: tuple[Recipe, Composition],
) -> None:
    _, made = mixed
    assert (made.kinetic > 0.0).all()
    assert np.isfinite(made.kinetic).all()
    np.testing.assert_allclose(np.linalg.norm(made.direction, axis=1), 1.0, rtol=1e-12)
    assert (np.diff(made.event) >= 0).all()
    assert set(np.abs(made.pdg)) == {11, 13, 22, 111, 211, 2112, 2212}


def test_the_neutrinos_energy_is_what_leaves_the_nucleus_and_the_removal_energies(
    mixed: tuple[Recipe, Composition],
) -> None:
    """Charged currents: every term is seen. Neutral ones: what is missing is the outgoing neutrino."""
    used, made = mixed
    assert used.nucleons is not None
    assert used.lepton is not None
    mass = np.vectorize(MASS.__getitem__)(np.abs(made.pdg))
    nucleon = np.isin(made.pdg, (2112, 2212))
    seen = sums(made, ~nucleon, made.kinetic + mass) + sums(made, nucleon, made.kinetic + used.nucleons.removal)
    charged = made.truth["current"] == 1
    np.testing.assert_allclose(made.neutrino_energy[charged], seen[charged], rtol=1e-12)
    hidden = (made.neutrino_energy - seen)[made.truth["current"] == 2]
    assert (hidden > MASS[13]).all()
    assert (hidden < used.lepton.high).all()
    photon = np.array(made.kind) == "photon_0pi"
    assert np.isnan(made.neutrino_energy[photon]).all()
    assert (made.neutrino_pdg[photon] == 0).all()


def test_each_kind_has_the_particles_of_its_name(mixed: tuple[Recipe, Composition]) -> None:
    used, made = mixed
    assert used.pions is not None
    truth, kind = made.truth, np.array(made.kind)
    charged, neutral = truth["n_pi_plus"] + truth["n_pi_minus"], truth["n_pi_zero"]
    for name, topology in TOPOLOGIES.items():
        rows = kind == name
        least = {0: {0}, 1: {1}, 2: set(range(2, used.pions.most + 1))}
        assert set(charged[rows]) <= least[topology.charged], name
        assert set(neutral[rows]) <= ({0, 1} if topology.charged else least[topology.neutral]), name
        leptons = sums(made, np.isin(np.abs(made.pdg), (11, 13, 22)), np.ones(len(made.pdg)))
        assert set(leptons[rows]) == {0.0 if topology.lepton == 0 else 1.0}, name
    wanted = {"numu_cc_1pi": 0, "nue_cc_npi": 1, "numu_cc_1pi0": 2, "numu_cc_0pi": 3, "numu_cc_npi0": 3, "nc_1pi": 4}
    for name, number in wanted.items():
        assert (truth["topology_class"][kind == name] == number).all(), name
    assert np.isnan(truth["topology_class"][kind == "photon_0pi"]).all()
    assert (made.em_class[kind == "photon_0pi"] == 0).all()
    assert (made.em_class[kind == "nue_cc_0pi"] == 1).all()
    assert np.isnan(made.em_class[kind == "nc_1pi0"]).all()


def test_truth_columns_are_those_of_the_primaries(mixed: tuple[Recipe, Composition]) -> None:
    _, made = mixed
    truth = made.truth
    assert list(truth) == list(TRUTH_COLUMNS)
    assert all(column.dtype == np.float64 and column.shape == (len(made),) for column in truth.values())
    for i in range(0, 400, 7):
        rows = made.event == i
        available = muon = 0.0
        for code, energy in zip(made.pdg[rows], made.kinetic[rows], strict=True):
            available += energy if code == 2212 else 0.0
            available += energy + MASS[abs(code)] if abs(code) in (11, 22, 111, 211) else 0.0
            muon += energy + MASS[13] if code == 13 else 0.0
        assert truth["available_energy"][i] == pytest.approx(available, rel=1e-12)
        assert truth["available_energy_with_muon"][i] == pytest.approx(available + muon, rel=1e-12)
        momentum = np.array([truth[f"muon_momentum_{axis}"][i] for axis in "xyz"])
        if made.kind[i].startswith("numu_cc"):
            assert np.sqrt((momentum**2).sum() + MASS[13] ** 2) == pytest.approx(muon, rel=1e-9)
            assert truth["lepton_angle"][i] == pytest.approx(
                np.arccos(momentum[2] / np.linalg.norm(momentum)), abs=1e-6
            )
        else:
            assert np.isnan(momentum).all()
    assert (truth["composed"] == 1).all()


def test_multiplicities_follow_the_recipe(mixed: tuple[Recipe, Composition]) -> None:
    used, made = mixed
    assert used.nucleons is not None
    assert used.pions is not None
    for number, wanted in enumerate(used.nucleons.protons):
        error = np.sqrt(wanted * (1 - wanted) / len(made))
        assert (made.truth["n_proton"] == number).mean() == pytest.approx(wanted, abs=5 * error)
    positive, negative = made.truth["n_pi_plus"], made.truth["n_pi_minus"]
    charged = made.truth["current"] == 1
    total = (positive + negative)[charged].sum()
    error = np.sqrt(used.pions.negative / total)
    assert negative[charged].sum() / total == pytest.approx(used.pions.negative, abs=5 * error)


def test_leptonic_side_is_elastic_scattering_on_a_nucleon_at_rest() -> None:
    """Energy and momentum are conserved, and the struck nucleon stays on its mass shell: q^2 = 2 M nu."""
    uniform = np.random.default_rng(1).random((2000, 3))
    out, direction, transfer = leptonic(uniform, Lepton(1000.0, 4.0, 150.0, 3000.0, 1200.0))
    beam = transfer[:, 2] + np.sqrt(out**2 - MASS[13] ** 2) * direction[:, 2]
    given = beam - out
    nucleon = 0.5 * (MASS[2112] + MASS[2212])
    np.testing.assert_allclose((transfer**2).sum(axis=1) - given**2, 2.0 * nucleon * given, rtol=1e-6, atol=1e-3)
    assert (given > 0.0).all()
    assert (np.abs(direction[:, 2]) <= 1.0).all()


def test_inverse_distributions_have_the_moments_that_they_are_named_after() -> None:
    uniform = (np.arange(100_000) + 0.5) / 100_000
    assert truncated_gamma(uniform, 200.0, 2.27, 0.0, 1e5).mean() == pytest.approx(200.0, rel=1e-3)
    cut = truncated_gamma(uniform, 200.0, 2.27, 50.0, 400.0)
    assert cut.min() >= 50.0
    assert cut.max() <= 400.0
    for slope in (0.0, 0.5, 1.3):
        langevin = 0.0 if slope == 0 else 1.0 / np.tanh(slope) - 1.0 / slope
        assert cosine(uniform, slope).mean() == pytest.approx(langevin, abs=1e-4)
    assert np.bincount(choose(uniform, (1.0, 3.0, 0.0, 4.0))).tolist() == [12500, 37500, 0, 50000]


def tables(made: Composition, kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    features, kind = kinematic_features(made), np.array(made.kind)
    return {name: features[kind == name] for name in kinds}


@pytest.mark.parametrize("name", ["lar_neutrino", "ch_neutrino"])
def test_lepton_and_nucleons_do_not_tell_the_classes_apart(name: str) -> None:
    """AUC 0.5 within five standard errors, bootstrap and the scatter of trainings (0.006 at 10000 events) included."""
    kinds = ("numu_cc_0pi", "numu_cc_npi", "nue_cc_0pi", "photon_0pi")
    even = replace(recipe(name), kinds=dict.fromkeys(kinds, 0.25))
    made = tables(compose_batch(even, 5, 0, 6000), kinds)
    for pair in (kinds[:2], kinds[2:]):
        for one in kinematics_control({kind: made[kind] for kind in pair}):
            assert abs(one.auc - 0.5) < 5 * 1.5 * one.error, one
            assert one.error < 0.02


def test_the_control_sees_what_is_there_to_see() -> None:
    """Protons that are 20% more energetic in one class are found; so is a lepton's other spectrum."""
    kinds = ("numu_cc_0pi", "numu_cc_1pi")
    even = replace(recipe("lar_neutrino"), kinds=dict.fromkeys(kinds, 0.5))
    made = tables(compose_batch(even, 6, 0, 5000), kinds)
    wrong = made["numu_cc_1pi"].copy()
    wrong[:, [FEATURES.index(n) for n in ("proton_sum", "proton1_kinetic", "proton2_kinetic")]] *= 1.2
    auc, error = separation(made["numu_cc_0pi"], wrong)
    assert auc > 0.5 + 5 * 1.5 * error
    hard = made["numu_cc_1pi"].copy()
    hard[:, 0] *= 1.3
    auc, error = separation(made["numu_cc_0pi"][:, :2], hard[:, :2])
    assert auc > 0.5 + 5 * 1.5 * error


def test_the_generator_is_a_domain_shift_to_the_composer() -> None:
    vertices = compose_batch(recipe("ch_vertices"), 1, 0, 500)
    own = replace(recipe("ch_neutrino"), kinds={"numu_cc_0pi": 1.0})
    auc, error = separation(kinematic_features(vertices), kinematic_features(compose_batch(own, 1, 0, 2000)))
    assert auc > 0.6 + 3 * error
    assert (vertices.truth["composed"] == 0).all()
    assert (vertices.truth["topology_class"] == 3).all()
