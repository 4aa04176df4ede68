"""Readers give the energy, places and truth that the files hold, whatever the order of their columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from shiftlab.events import Deposits, read, readers

GEANT4 = "geant4_singles.h5"
EDEPSIM = "edepsim_mixed.h5"


def equal(one: Deposits, two: Deposits) -> bool:
    names = ("offsets", "position", "energy", "length", "semantic", "particle")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


def test_readers_are_found_by_entry_point() -> None:
    assert {"edepsim", "geant4", "sample"} <= set(readers().names())
    assert readers() is readers()


@pytest.mark.parametrize(("name", "column"), [(GEANT4, "event_id"), (EDEPSIM, "eventID")])
def test_energy_of_every_event_is_that_of_its_segments(data: Path, name: str, column: str) -> None:
    deposits = read(data / name)
    with h5py.File(data / name) as file:
        segments = file["segments"][...]
    wanted = [segments["dE"][segments[column] == i].astype(float).sum() for i in np.unique(segments[column])]
    np.testing.assert_allclose(deposits.events.truth["visible_energy"], wanted, rtol=1e-12)
    sums = torch.zeros(len(deposits), dtype=torch.float64).index_add(0, deposits.event_index, deposits.energy.double())
    np.testing.assert_allclose(sums, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", [GEANT4, EDEPSIM])
def test_origin_moves_positions_and_nothing_else(data: Path, name: str) -> None:
    plain, moved = read(data / name), read(data / name, origin=(-100.0, -100.0, -50.0))
    shift = (moved.position - plain.position).mean(dim=0)
    np.testing.assert_allclose(shift, [100.0, 100.0, 50.0], atol=1e-3)
    assert torch.equal(plain.energy, moved.energy)
    assert torch.equal(plain.events.key, moved.events.key)


@pytest.mark.parametrize(("name", "table"), [(GEANT4, "segments"), (GEANT4, "vertices"), (EDEPSIM, "segments")])
def test_columns_are_found_by_name_in_any_order(
    data: Path, tmp_path: Path, rewrite: Callable[..., Path], name: str, table: str
) -> None:
    def reverse(rows: Any) -> Any:
        names = list(rows.dtype.names)[::-1]
        other = np.empty(len(rows), dtype=[(n, rows.dtype[n]) for n in names])
        for n in names:
            other[n] = rows[n]
        return other

    assert equal(read(data / name), read(rewrite(data / name, tmp_path / "any-name.dat", table, reverse)))


@pytest.mark.parametrize("name", [GEANT4, EDEPSIM])
def test_a_slice_reads_the_same_events_as_the_whole(data: Path, name: str) -> None:
    whole, part = read(data / name), read(data / name, events=slice(1, 3))
    assert equal(part, whole.take([1, 2]))
    assert torch.equal(part.events.key, whole.events.key[1:3])


def test_no_step_is_longer_than_a_cell(data: Path) -> None:
    deposits = read(data / EDEPSIM)
    assert deposits.length.max() <= 0.3 + 1e-4
    with h5py.File(data / EDEPSIM) as file:
        assert file["segments"]["dx"].max() > 1.0
        assert deposits.length.sum() == pytest.approx(file["segments"]["dx"].sum(), rel=1e-5)


def test_geant4_labels_come_from_trajectories(data: Path) -> None:
    deposits = read(data / GEANT4)
    by_sample = {name: deposits.take([i]) for i, name in enumerate(deposits.events.sample)}
    assert set(by_sample) == {"single_muon", "single_electron", "single_gamma", "single_pion", "single_proton"}
    for name, semantic, particle in [
        ("electron", 0, 1),
        ("gamma", 0, 0),
        ("muon", 1, 2),
        ("pion", 1, 3),
        ("proton", 1, 4),
    ]:
        one = by_sample[f"single_{name}"]
        main = (one.semantic == semantic) & (one.particle == particle)
        assert one.energy[main].sum() > 0.3 * one.energy.sum(), name
    muons = deposits.take([i for i, name in enumerate(deposits.events.sample) if name == "single_muon"])
    michel = muons.energy[muons.semantic == 2].sum()
    assert 5.0 < michel < 60.0
    assert deposits.events.truth["em_class"].nan_to_num(-1).tolist().count(1.0) == 1


def test_edepsim_without_parentage_has_unknown_semantics(data: Path) -> None:
    deposits = read(data / EDEPSIM)
    assert (deposits.semantic == -1).all()
    assert {0, 1, 2, 3, 4} >= set(deposits.particle.unique().tolist()) - {5}


def test_two_models_of_one_vertex_share_its_uid_but_not_the_event_key(data: Path) -> None:
    one, two = read(data / "geant4_numu_ftfpbert.h5").events, read(data / "geant4_numu_qgspbic.h5").events
    assert torch.equal(one.vertex, two.vertex)
    assert not set(one.key.tolist()) & set(two.key.tolist())
    assert one.sample == ("numu_cc", "numu_cc")
    assert (one.truth["neutrino_pdg"] == 14).all()
    assert (one.truth["neutrino_energy"] > 100.0).all()


def test_keys_do_not_depend_on_where_the_file_lies(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other-name.h5"
    copy.write_bytes((data / GEANT4).read_bytes())
    assert torch.equal(read(copy).events.key, read(data / GEANT4).events.key)
