"""What starts each event: generator vertices, the composed photon topology, particle guns; recipes and batches."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.simulation.composition import GUNS, KINDS, Composition, compose, compose_batch
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.truth import TRUTH_COLUMNS
from shiftlab.events.simulation.vertices import (
    Vertices,
    join_vertices,
    load_vertices,
    read_nuhepmc,
    save_vertices,
)


@pytest.fixture(scope="module")
def vertices(samples: Path) -> Vertices:
    return load_vertices(samples / "vertices_evaluation.h5")


@pytest.fixture(scope="module")
def nue(vertices: Vertices) -> Vertices:
    return vertices.take(np.flatnonzero(vertices.neutrino_pdg == 12))


def test_generator_output_gives_final_states_and_the_interacting_neutrino(data: Path) -> None:
    pytest.importorskip("pyhepmc", reason="reading NuHepMC needs pyhepmc (extra 'sim')")
    read = read_nuhepmc(data / "achilles_nue.hepmc", "test/seed-1")
    assert len(read) == 4
    assert (read.neutrino_pdg == 12).all()
    assert read.neutrino_energy[0] == pytest.approx(949.8, abs=0.1)
    assert read.pdg[: read.offsets[1]].tolist() == [11, 2212, 2112, 2212, 2112]
    assert read.kinetic[0] == pytest.approx(642.1, abs=0.1)  # the generator's electrons have no mass
    assert len(np.unique(read.uid)) == 4
    assert not set(read.uid) & set(read_nuhepmc(data / "achilles_nue.hepmc", "test/seed-2").uid)


def test_charged_current_vertices_have_one_lepton_and_less_energy_than_the_neutrino(vertices: Vertices) -> None:
    for i in range(0, len(vertices), 50):
        one = vertices.take(np.array([i]))
        lepton = {12: 11, 14: 13}[int(one.neutrino_pdg[0])]
        assert (one.pdg == lepton).sum() == 1
        assert one.kinetic[one.pdg == lepton][0] < one.neutrino_energy[0]


def test_the_beam_runs_along_z(vertices: Vertices) -> None:
    leptons = np.isin(vertices.pdg, (11, 13))
    unit = vertices.momentum[leptons] / np.linalg.norm(vertices.momentum[leptons], axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    assert mean[2] > 0.5
    assert abs(mean[:2]).max() < 0.06


def test_vertices_survive_storage(vertices: Vertices, tmp_path: Path) -> None:
    save_vertices(tmp_path / "v.h5", vertices)
    again = load_vertices(tmp_path / "v.h5")
    for name in ("uid", "offsets", "pdg", "momentum", "kinetic", "weight"):
        np.testing.assert_array_equal(getattr(again, name), getattr(vertices, name))
    two = join_vertices([vertices.take(np.arange(3)), vertices.take(np.arange(3, 8))])
    np.testing.assert_array_equal(two.momentum, vertices.take(np.arange(8)).momentum)


def test_a_vertex_file_that_is_not_one_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'kinetic'"):
        load_vertices(data / "edepsim_mixed.h5")
    (tmp_path / "text.h5").write_text("no", encoding="utf-8")
    with pytest.raises(DataError, match="not an HDF5 file"):
        load_vertices(tmp_path / "text.h5")


def test_the_composed_photon_has_the_electrons_energy_and_direction_and_all_else_is_kept(nue: Vertices) -> None:
    electron, photon = compose("nue_cc", 50, "test", nue), compose("photon_protons", 50, "test", nue)
    swapped = electron.pdg == 11
    assert (photon.pdg[swapped] == 22).all()
    np.testing.assert_array_equal(photon.pdg[~swapped], electron.pdg[~swapped])
    np.testing.assert_allclose(photon.kinetic[swapped], electron.kinetic[swapped] + 0.51099895)
    np.testing.assert_array_equal(photon.direction, electron.direction)
    assert np.isnan(photon.neutrino_energy).all()
    assert (photon.em_class == 0.0).all()
    assert (electron.em_class == 1.0).all()


@pytest.mark.parametrize("kind", GUNS)
def test_guns_are_isotropic_and_within_their_energies(kind: str) -> None:
    gun = compose(kind, 400, "test")
    menu = {code: (low, high) for code, low, high in GUNS[kind]}
    assert set(gun.pdg.tolist()) == set(menu)
    assert all(menu[code][0] <= energy <= menu[code][1] for code, energy in zip(gun.pdg, gun.kinetic, strict=True))
    np.testing.assert_allclose(np.linalg.norm(gun.direction, axis=1), 1.0)
    assert abs(gun.direction.mean(axis=0)).max() < 5 / np.sqrt(3 * len(gun.pdg))
    number = np.bincount(gun.event)
    assert set(number) == ({2, 3, 4, 5} if kind == "multi_particle" else {1})


def test_electron_and_photon_guns_have_one_spectrum_but_different_throws() -> None:
    electron, photon = compose("single_electron", 300, "test"), compose("single_gamma", 300, "test")
    assert GUNS["single_electron"][0][1:] == GUNS["single_gamma"][0][1:]
    assert not set(electron.kinetic) & set(photon.kinetic)
    assert not set(electron.vertex) & set(photon.vertex)


def test_a_gun_depends_on_the_sample_name_alone() -> None:
    one, two, other = (compose("single_muon", 20, name) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(one.kinetic, two.kinetic)
    assert not set(one.kinetic) & set(other.kinetic)
    assert not set(one.vertex) & set(other.vertex)


def test_a_batch_holds_the_primaries_of_its_events(nue: Vertices) -> None:
    whole = compose("nue_cc", 30, "test", nue)
    batch = whole.batch(10, 20)
    assert len(batch) == 10
    rows = (whole.event >= 10) & (whole.event < 20)
    np.testing.assert_array_equal(batch.kinetic, whole.kinetic[rows])
    np.testing.assert_array_equal(batch.event, whole.event[rows] - 10)


def test_wrong_requests_are_refused(nue: Vertices) -> None:
    with pytest.raises(UnknownNameError, match=r"single_elektron.*single_electron"):
        compose("single_elektron", 1, "test")
    with pytest.raises(ConfigError, match="10 events wanted, but only 5"):
        compose("nue_cc", 10, "test", nue.take(np.arange(5)))
    with pytest.raises(ConfigError, match="needs vertices of PDG 14"):
        compose("numu_cc", 5, "test", nue)
    assert "calibration_muon" in KINDS


CONFIGS = Path(__file__).parents[2] / "configs" / "simulation"
RECIPES = ("lar_neutrino", "lar_particles", "lar_vertices", "ch_neutrino", "ch_vertices")


def config(name: str) -> dict[str, Any]:
    loaded = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    assert isinstance(loaded, dict)
    return copy.deepcopy(loaded["events"])


def recipe(name: str) -> Recipe:
    return Recipe.from_config(config(name), lambda text: CONFIGS.parents[1] / text)


def same(one: Composition, two: Composition) -> bool:
    names = ("vertex", "weight", "neutrino_pdg", "neutrino_energy", "event", "pdg", "kinetic", "direction")
    return (
        one.kind == two.kind
        and all(np.array_equal(getattr(one, n), getattr(two, n), equal_nan=True) for n in names)
        and all(np.array_equal(one.truth[n], two.truth[n], equal_nan=True) for n in TRUTH_COLUMNS)
    )


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_give_events_with_all_truth_columns(name: str) -> None:
    made = compose_batch(recipe(name), 1, 0, 300)
    assert len(made) == 300
    assert len(made.kind) == 300
    assert set(made.kind) <= set(recipe(name).kinds)
    assert list(made.truth) == list(TRUTH_COLUMNS)
    assert set(made.event) == set(range(300))
    assert len(np.unique(made.vertex)) == 300
    assert (made.kinetic >= 0.0).all()
    np.testing.assert_allclose(np.linalg.norm(made.direction, axis=1), 1.0)
    np.testing.assert_array_equal(made.truth["neutrino_energy"], made.neutrino_energy)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(RECIPES),
    seed=st.integers(0, 3),
    edges=st.lists(st.integers(0, 450), min_size=2, max_size=6).map(sorted),
)
def test_an_event_does_not_depend_on_its_batch(name: str, seed: int, edges: list[int]) -> None:
    """Any cut of a range gives the events of the range, bit for bit."""
    used = recipe(name)
    whole = compose_batch(used, seed, edges[0], edges[-1])
    for start, stop in itertools.pairwise(edges):
        assert same(compose_batch(used, seed, start, stop), whole.batch(start - edges[0], stop - edges[0]))


@pytest.mark.parametrize("name", ["lar_neutrino", "lar_particles", "ch_neutrino"])
def test_seed_name_and_revision_change_every_event(name: str) -> None:
    used = recipe(name)
    one = compose_batch(used, 1, 0, 200)
    for other in (
        compose_batch(used, 2, 0, 200),
        compose_batch(replace(used, revision="2"), 1, 0, 200),
        compose_batch(replace(used, name="other"), 1, 0, 200),
    ):
        assert not set(one.kinetic) & set(other.kinetic)
        assert not set(one.vertex) & set(other.vertex)


def test_fractions_are_met_and_numbers_are_met_exactly_at_any_length() -> None:
    used = recipe("ch_neutrino")
    kinds = np.array(compose_batch(used, 1, 0, 20_000).kind)
    for kind, fraction in used.kinds.items():
        error = np.sqrt(fraction * (1 - fraction) / len(kinds))
        assert (kinds == kind).mean() == pytest.approx(fraction, abs=5 * error)
    counted = replace(used, kinds={"numu_cc_0pi": 300, "nc_1pi0": 150})
    made = compose_batch(counted, 1, 0, 450).kind
    assert (made.count("numu_cc_0pi"), made.count("nc_1pi0")) == (300, 150)
    for stop in (3, 50, 301):
        assert compose_batch(counted, 1, 0, stop).kind.count("nc_1pi0") == pytest.approx(stop / 3, abs=1)
    with pytest.raises(ConfigError, match=r"451 events wanted; events\.kinds gives 450"):
        compose_batch(counted, 1, 0, 451)


def test_each_generator_vertex_is_used_once_and_throws_again_only_if_asked(vertices: Vertices) -> None:
    used = recipe("lar_vertices")
    made = compose_batch(used, 1, 0, len(vertices))
    assert sorted(made.vertex) == sorted(vertices.uid)
    place = {uid: i for i, uid in enumerate(vertices.uid.tolist())}
    for i in range(0, len(made), 97):
        row = place[int(made.vertex[i])]
        mine = vertices.kinetic[vertices.offsets[row] : vertices.offsets[row + 1]]
        shift = 0.51099895 * (made.kind[i] == "photon_protons")
        np.testing.assert_allclose(np.sort(made.kinetic[made.event == i])[-1], np.sort(mine)[-1], atol=shift)
    with pytest.raises(ConfigError, match=r"1681 events wanted.*gives 1680, each thrown 1 time.*rethrows=N"):
        compose_batch(used, 1, 0, 1681)
    again = compose_batch(replace(used, rethrows=2), 1, 1680, 3360)
    np.testing.assert_array_equal(again.vertex, made.vertex)
    with pytest.raises(ConfigError, match="3361 events wanted"):
        compose_batch(replace(used, rethrows=2), 1, 0, 3361)
    with pytest.raises(ConfigError, match=r"1001 vertices wanted.*has 1000"):
        compose_batch(replace(used, kinds={"numu_cc": 1001}), 1, 0, 10)


def test_recipe_vertices_make_the_events_of_the_plain_composition(nue: Vertices) -> None:
    made = compose_batch(replace(recipe("lar_vertices"), kinds={"photon_protons": -1}), 1, 0, 50)
    plain = compose("photon_protons", 50, "any", nue)
    for name in ("vertex", "pdg", "kinetic", "direction", "event", "neutrino_pdg"):
        np.testing.assert_array_equal(getattr(made, name), getattr(plain, name))
    assert (made.truth["composed"] == 1).all()
    assert np.isnan(made.truth["current"]).all()


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("kinds",), {"numu_cc_0pi": 0.5, "nc_0pi": 0.4}, r"events\.kinds: the fractions add up to 0\.9"),
        (("kinds",), {}, r"events\.kinds"),
        (("kinds",), {"numu_cc_0pi": -1}, r"events\.kinds\.numu_cc_0pi: -1"),
        (("kinds",), {"numu_cc_0pi": "all"}, "'all' are for the composer 'vertices'"),
        (("medium",), "G4_LAR", "G4_lAr"),
        (("composer",), "topology", "topologies"),
        (("rethrows",), 0, r"events\.rethrows: 0"),
        (("vertices",), "some.h5", r"events\.vertices: the composer 'topologies' takes no"),
        (("lepton",), None, r"events\.lepton: the composer 'topologies' wants"),
        (("lepton", "mean"), "fast", r"events\.lepton\.mean: 'fast'"),
        (("lepton", "low"), 100.0, r"events\.lepton\.low: 100\.0 MeV"),
        (("lepton", "men"), 1.0, r"'men'.*mean"),
        (("nucleons", "proton", "mean"), 9.0, r"events\.nucleons\.proton: low < mean < high"),
        (("nucleons", "protons"), [0.5, float("nan")], r"events\.nucleons\.protons: nan"),
        (("nucleons", "protons"), [0.1] * 6, r"events\.nucleons\.protons: 6"),
        (("pions", "negative"), 1.5, r"events\.pions\.negative: 1\.5"),
        (("pions", "most"), 2.5, r"events\.pions\.most: 2\.5.*whole"),
        (("sources", "pions.ratio"), None, r"no source for pions\.ratio"),
        (("sources", "kinds"), None, r"no source for kinds"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_key(keys: tuple[str, ...], value: Any, message: str) -> None:
    wrong = config("lar_neutrino")
    inner = wrong
    for key in keys[:-1]:
        inner = inner[key]
    if keys[0] == "sources":
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    with pytest.raises(ConfigError, match=message):
        Recipe.from_config(wrong)


def test_kinds_of_another_composer_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'topologies'.*numu_cc_1p.*numu_cc_1pi"):
        compose_batch(replace(recipe("lar_neutrino"), kinds={"numu_cc_1p": 1.0}), 1, 0, 1)
    missing = config("lar_neutrino")
    del missing["medium"]
    with pytest.raises(ConfigError, match=r"events\.medium is missing"):
        Recipe.from_config(missing)
    with pytest.raises(ConfigError, match="whole numbers or 'all'"):
        Recipe.from_config({**config("lar_vertices"), "kinds": {"numu_cc": 0.5, "nue_cc": 0.5}})
    with pytest.raises(DataError, match="no such file"):
        compose_batch(replace(recipe("lar_vertices"), vertices=Path("nowhere.h5")), 1, 0, 1)


@pytest.mark.slow
def test_composing_keeps_up_with_transport() -> None:
    """At least 20000 events a second in one process, in batches of 100; the fastest of three, on a shared machine."""
    for name in ("lar_neutrino", "ch_neutrino", "lar_particles"):
        used, rates = recipe(name), []
        for _ in range(3):
            begin = time.perf_counter()
            for start in range(0, 3000, 100):
                compose_batch(used, 1, start, start + 100)
            rates.append(3000 / (time.perf_counter() - begin))
        assert max(rates) > 20_000, name
