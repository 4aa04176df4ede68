"""What starts each event: generator vertices, the composed photon topology, particle guns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.simulation.composition import GUNS, KINDS, compose
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
