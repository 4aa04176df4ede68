"""edep-sim's process codes, energies and parent links give the labels that Geant4's own names would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events import BadEvent, open_events, read, stream
from shiftlab.events.edepsim.truth import kinetic_energy, process_names
from shiftlab.units import SEMANTIC

MUONS = "edepsim_muons.h5"
MUON_MASS = 105.6583755


def test_what_the_file_is_and_lacks(data: Path) -> None:
    with open_events(data / MUONS) as source:
        one = source.describe()
    assert (one.format, one.dialect, one.events, one.missing) == ("edepsim", "truth", 2, ("electrons",))
    assert one.rows == {"segments": 1584, "trajectories": 710, "vertices": 2}
    with open_events(data / "edepsim_jax.h5") as source:
        assert source.describe().dialect == "larndsim_t0"
    with open_events(data / "edepsim_mixed.h5") as source:
        assert source.describe().dialect == "larndsim"
        assert source.describe().missing == ("electrons", "particles", "semantic")


def test_a_muon_of_each_event_is_a_track_with_deltas_showers_and_a_michel_electron(data: Path) -> None:
    deposits = read(data / MUONS)
    assert (deposits.semantic >= 0).all()
    for event in range(2):
        one = deposits.take([event])
        energy = {name: float(one.energy[one.semantic == i].sum()) for i, name in enumerate(SEMANTIC)}
        total = float(one.energy.sum())
        assert energy["track"] > 0.8 * total
        # Both muons stop; a bound mu- gives at most half its mass to its electron.
        assert 5.0 < energy["michel"] < 0.5 * MUON_MASS
        assert 0.0 < energy["delta"] < 0.2 * total
        assert (one.particle[one.semantic == 1] == 2).all()


def test_muons_lose_energy_as_the_bethe_formula_says(data: Path) -> None:
    deposits = read(data / MUONS)
    muon = (deposits.semantic == 1) & (deposits.length > 0.25)
    mean = deposits.energy[muon].double().sum() / deposits.length[muon].double().sum()
    # Restricted mean between 1.5 MeV/cm and the unrestricted 2.1 MeV/cm at the minimum.
    assert 1.5 < mean < 2.1


def test_the_primary_is_the_muon_of_the_vertices_table(data: Path) -> None:
    deposits = read(data / MUONS, origin=(-10.0, 0.0, 5.0))
    particles = deposits.particles
    assert particles is not None
    columns = particles.columns
    primary = columns["primary"] == 1
    assert columns["pdg"][primary].tolist() == [13.0, 13.0]
    assert columns["number"][primary].tolist() == [0.0, 0.0]
    assert torch.equal(columns["parent"].isnan(), primary)
    with h5py.File(data / MUONS) as file:
        vertices, trajectories = file["vertices"][...], file["trajectories"][...]
    np.testing.assert_allclose(columns["vertex_x"][primary], vertices["x_vert"] + 10.0, rtol=1e-6)
    np.testing.assert_allclose(deposits.events.truth["vertex_z"], vertices["z_vert"] - 5.0, rtol=1e-6)
    energy = trajectories["E_start"][trajectories["parent_id"] == -1]
    np.testing.assert_allclose(columns["kinetic"][primary], energy - MUON_MASS, rtol=1e-4)
    np.testing.assert_allclose(
        columns["momentum"], np.linalg.norm(trajectories["pxyz_start"].astype(float), axis=1), rtol=1e-6
    )


def test_every_deposit_points_at_a_particle_of_its_event(data: Path) -> None:
    deposits = read(data / MUONS)
    assert deposits.instance is not None
    assert deposits.particles is not None
    for event in range(len(deposits)):
        one = deposits.take([event])
        assert one.instance is not None
        assert one.particles is not None
        assert set(one.instance.tolist()) <= {int(number) for number in one.particles.columns["number"].tolist()}
    with h5py.File(data / MUONS) as file:
        segments = file["segments"][...]
    of_muon = deposits.energy[deposits.instance == 0].double().sum()
    assert of_muon == pytest.approx(segments["dE"][segments["traj_id"] == 0].astype(float).sum(), rel=1e-6)


def test_chunks_give_the_same_events_as_the_whole(data: Path) -> None:
    whole = read(data / MUONS)
    for number, one in enumerate(stream(data / MUONS, chunk=1)):
        assert torch.equal(one.energy, whole.take([number]).energy)
        assert torch.equal(one.semantic, whole.take([number]).semantic)
        assert torch.equal(one.events.key, whole.events.key[number : number + 1])
        assert torch.equal(one.events.vertex, whole.events.vertex[number : number + 1])


def test_an_event_without_deposits_keeps_its_place(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    path = rewrite(data / MUONS, tmp_path / "a.h5", "segments", lambda rows: rows[rows["event_id"] != 4])
    deposits = read(path)
    assert deposits.offsets.tolist()[:2] == [0, 0]
    assert deposits.events.truth["visible_energy"][0] == 0.0
    assert len(deposits) == 2
    path = rewrite(data / MUONS, tmp_path / "b.h5", "segments", lambda rows: rows[:0])
    assert len(read(path)) == 2


def test_vertices_with_reused_numbers_in_other_files_stay_apart(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    def elsewhere(rows: Any) -> Any:
        rows["x_vert"] += 1.0
        return rows

    one, two = read(data / MUONS).events, read(rewrite(data / MUONS, tmp_path / "a.h5", "vertices", elsewhere)).events
    assert not set(one.vertex.tolist()) & set(two.vertex.tolist())
    assert not set(one.key.tolist()) & set(two.key.tolist())


def test_two_models_of_one_vertex_share_its_uid(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    def other_model(rows: Any) -> Any:
        rows["dE"] *= 1.01
        return rows

    one, two = read(data / MUONS).events, read(rewrite(data / MUONS, tmp_path / "a.h5", "segments", other_model)).events
    assert torch.equal(one.vertex, two.vertex)
    assert not set(one.key.tolist()) & set(two.key.tolist())


def test_a_spill_of_several_interactions_is_one_event(data: Path, tmp_path: Path, rewrite: Callable[..., Path]) -> None:
    def twice(rows: Any) -> Any:
        more = rows[[0, 0, 1]]
        more["vertex_id"][1] = 7
        return more

    deposits = read(rewrite(data / MUONS, tmp_path / "a.h5", "vertices", twice))
    assert deposits.events.truth["interactions"].tolist() == [2.0, 1.0]
    assert deposits.events.truth["vertex_x"].isnan().tolist() == [True, False]


def test_a_vertex_that_is_there_twice_is_refused_and_can_be_left_out(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path]
) -> None:
    path = rewrite(data / MUONS, tmp_path / "a.h5", "vertices", lambda rows: rows[[0, 0, 1]])
    with pytest.raises(DataError, match=r"row 1: the table 'vertices' has event_id 4 with vertex_id 0 twice"):
        read(path)
    skipped: list[BadEvent] = []
    assert len(read(path, skipped=skipped)) == 1
    assert [one.number for one in skipped] == [0]


def change(column: str, row: int, value: Any) -> Callable[[Any], Any]:
    def spoil(rows: Any) -> Any:
        rows[column][row] = value
        return rows

    return spoil


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "what"),
    [
        ("trajectories", "parent_id", 5, 999_999, r"parent_id 999999 is not in the table 'trajectories'"),
        ("trajectories", "parent_id", 5, -2, r"column 'parent_id' is -2; allowed: at least -1"),
        ("trajectories", "traj_id", 5, -1, r"column 'traj_id' is -1; allowed: at least 0"),
        ("trajectories", "traj_id", 5, 0, r"traj_id 0 is there twice in its event"),
        ("trajectories", "parent_id", 0, 18, r"traj_id \d+ is its own ancestor"),
        ("trajectories", "E_start", 5, np.nan, r"column 'E_start' is nan"),
        ("trajectories", "pxyz_start", 5, (0.0, np.inf, 0.0), r"column 'pxyz_start' is inf"),
        ("trajectories", "event_id", -1, 9, r"event_id 9 is not in the table 'vertices'"),
        ("segments", "traj_id", 5, 999_999, r"traj_id 999999 is not in the table 'trajectories'"),
        ("segments", "traj_id", 5, -1, r"traj_id -1 is not in the table 'trajectories'"),
        ("segments", "dx", 5, -0.1, r"column 'dx' is -0.1.*not negative"),
        ("segments", "event_id", 0, 3, r"event_id 3 is not in the table 'vertices'"),
        ("vertices", "y_vert", 1, np.nan, r"column 'y_vert' is nan"),
    ],
)
def test_bad_rows_are_refused_with_their_place(
    data: Path,
    tmp_path: Path,
    rewrite: Callable[..., Path],
    table: str,
    column: str,
    row: int,
    value: Any,
    what: str,
) -> None:
    path = rewrite(data / MUONS, tmp_path / "bad.h5", table, change(column, row, value))
    with pytest.raises(DataError, match=rf"bad\.h5: table '{table}', event \d+: .*{what}"):
        read(path)


def test_process_codes_are_geant4s() -> None:
    kind = np.array([2, 2, 2, 2, 2, 2, 6, 4, 4, 7])
    sub = np.array([2, 3, 4, 5, 12, 14, 201, 131, 151, 403])
    wanted = [
        b"Ionisation",
        b"Bremsstrahlung",
        b"PairProduction",
        b"Annihilation",
        b"phot",
        b"Conversion",
        b"Decay",
        b"nCapture",
        b"captureAtRest",
        b"other",
    ]
    assert process_names(kind, sub).tolist() == wanted


@given(st.sampled_from([(13, MUON_MASS), (11, 0.51099895), (2212, 938.2720882), (22, 0.0)]), st.floats(1e-3, 1e5))
def test_kinetic_energy_follows_from_momentum(particle: tuple[int, float], kinetic: float) -> None:
    pdg, mass = particle
    momentum = np.sqrt(kinetic * (kinetic + 2 * mass)) * np.array([[0.6, 0.0, -0.8]])
    for energy in (kinetic + mass, np.nan):
        assert kinetic_energy(np.array([pdg]), np.array([energy]), momentum)[0] == pytest.approx(kinetic, rel=1e-9)


def test_a_slow_nucleus_keeps_its_energy_in_single_precision() -> None:
    mass, kinetic = 37215.52, 0.01  # 40Ar knocked on by a neutron: E - m would be one unit in the last place
    momentum = np.array([[np.sqrt(kinetic * (kinetic + 2 * mass)), 0.0, 0.0]]).astype(np.float32).astype(float)
    energy = np.array([np.float32(mass + kinetic)], dtype=float)
    assert kinetic_energy(np.array([1000180400]), energy, momentum)[0] == pytest.approx(kinetic, rel=1e-3)
    assert kinetic_energy(np.array([1000180400]), np.array([np.nan]), momentum)[0] == pytest.approx(kinetic, rel=0.01)
