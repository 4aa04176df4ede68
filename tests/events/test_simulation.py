"""Geant4 makes events on the spot, from the reduced tables: repeatable, complete, and physically sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shiftlab.errors import ConfigError
from shiftlab.events import Deposits, read, validate
from shiftlab.events.sample import write_sample
from shiftlab.events.simulation.composition import Composition, compose
from shiftlab.events.simulation.placement import FIDUCIAL, SIDE, first_visible, inside, move
from shiftlab.events.steps import Steps

Simulate = Callable[[str, int, str], Deposits]


def same(one: Deposits, two: Deposits) -> bool:
    names = ("offsets", "position", "energy", "length", "semantic", "particle")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


def test_ten_events_come_out_the_same_again_and_differ_under_another_seed(simulate: Simulate) -> None:
    one, two, other = simulate("nue_cc", 10, "a"), simulate("nue_cc", 10, "a"), simulate("nue_cc", 10, "b")
    assert same(one, two)
    assert torch.equal(one.events.key, two.events.key)
    assert not same(one, other)
    assert torch.equal(one.events.vertex, other.events.vertex)
    assert not set(one.events.key.tolist()) & set(other.events.key.tolist())


def test_simulated_events_are_valid_and_survive_packing(simulate: Simulate, tmp_path: Path) -> None:
    events = simulate("numu_cc", 10, "packing")
    validate(events, "simulated")
    write_sample(tmp_path / "a.h5", events, {})
    again = read(tmp_path / "a.h5")
    sums = [
        torch.zeros(10, dtype=torch.float64).index_add(0, d.event_index, d.energy.double()) for d in (events, again)
    ]
    np.testing.assert_allclose(sums[0], events.events.truth["visible_energy"], rtol=1e-6)
    np.testing.assert_allclose(sums[1], sums[0], rtol=1.01e-3)


def test_all_energy_of_an_electron_is_accounted_for(simulate: Simulate) -> None:
    """Visible, outside and late energy add up to the kinetic energy; a photonuclear reaction may take a little."""
    events = simulate("single_electron", 20, "energy").events.truth
    kinetic = compose("single_electron", 20, "energy").kinetic
    total = sum(events[f"{part}_energy"].numpy() for part in ("visible", "outside", "late"))
    np.testing.assert_allclose(np.median(total / kinetic), 1.0, rtol=1e-3)
    assert (total <= kinetic * 1.001).all()


def test_the_first_visible_deposit_is_where_it_was_thrown(simulate: Simulate) -> None:
    for kind in ("single_gamma", "photon_protons"):
        events = simulate(kind, 20, "placement")
        first = torch.stack([events.events.truth[f"first_{axis}"] for axis in "xyz"], dim=1)
        low, high = torch.tensor(FIDUCIAL.low), torch.tensor(FIDUCIAL.high)
        assert ((first >= low) & (first <= high)).all()
        for i in range(len(events)):
            assert (events.take([i]).position - first[i]).norm(dim=1).min() < 0.52


def test_stopping_antimuons_leave_one_michel_positron_each(transport: Any) -> None:
    from shiftlab.events.simulation.production import produce

    count = 30
    muons = replace(compose("single_muon", count, "michel"), pdg=np.full(count, -13), kinetic=np.full(count, 60.0))
    (events,) = produce(muons, transport, "michel")
    michel = torch.zeros(count).index_add(0, events.event_index, events.energy * (events.semantic == 2))
    whole = events.events.truth["outside_energy"] < 1.0
    assert whole.sum() > count / 2
    assert ((michel[whole] > 1.0) & (michel[whole] < 53.5)).all()


def test_muons_lose_the_minimum_ionising_energy(transport: Any) -> None:
    """Mean dE/dx of 300-1500 MeV muons: 2.1 MeV/cm at the minimum (PDG), without knock-on electrons 1.9."""
    muons = compose("calibration_muon", 40, "dedx")
    carried = transport.run(transport.open(), muons, "dedx")
    tracks, steps = carried.tracks, carried.steps
    own = steps.take((tracks.parent[steps.track] == 0) & (steps.length > 0))
    restricted = own.energy.sum() / own.length.sum()
    assert 1.75 < restricted < 2.0
    near = steps.energy[np.abs(steps.midpoint).max(axis=1) < 400.0].sum()
    assert 2.0 < near / own.length.sum() < 2.5


def test_proton_range_is_that_of_the_tables(transport: Any) -> None:
    """CSDA range at 100 MeV in argon: 10.9 g/cm2 (PSTAR), 7.8 cm at 1.396 g/cm3."""
    count = 20
    protons = replace(compose("single_proton", count, "range"), kinetic=np.full(count, 100.0))
    carried = transport.run(transport.open(), protons, "range")
    tracks, steps = carried.tracks, carried.steps
    own = steps.take(tracks.parent[steps.track] == 0)
    path = np.bincount(own.event, own.length, count)
    assert np.median(path) == pytest.approx(10.9 / 1.396, rel=0.03)


def test_several_primaries_of_one_event_stay_one_event(transport: Any) -> None:
    one = compose("single_proton", 2, "join")
    both = Composition(
        one.kind[:1], one.vertex[:1], one.weight[:1], one.neutrino_pdg[:1], one.neutrino_energy[:1],
        np.zeros(2, dtype=np.int64), one.pdg, np.array([80.0, 120.0]), one.direction,
    )  # fmt: skip
    carried = transport.run(transport.open(), both, "join")
    tracks, steps = carried.tracks, carried.steps
    assert set(steps.event) == {0}
    assert len(set(tracks.number)) == len(tracks.number)
    assert (tracks.parent == 0).sum() == 2
    assert sorted(tracks.kinetic[tracks.parent == 0]) == pytest.approx([80.0, 120.0])


def test_wrong_tables_are_refused(transport: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder 'G4EMLOW8\.8'"):
        replace(transport, tables=tmp_path).open()
    transport.open()
    (tmp_path / "G4EMLOW8.8").mkdir()
    with pytest.raises(ConfigError, match="already uses the tables"):
        replace(transport, tables=tmp_path).open()


def test_first_visible_is_the_earliest_step_above_threshold() -> None:
    where = np.array([[1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0], [4.0, 0, 0]])
    steps = Steps(
        event=np.array([0, 0, 0, 2]),
        track=np.zeros(4, dtype=np.int64),
        start=where,
        end=where,
        energy=np.array([0.05, 0.5, 0.5, 0.01]),
        time=np.array([0.0, 2.0, 1.0, 0.0]),
    )
    assert first_visible(steps, 3).tolist() == [[3.0, 0, 0], [0, 0, 0], [0, 0, 0]]
    moved = move(steps, np.array([[0.0, 0, 0], [0, 0, 0], [SIDE - 4.0, 0, 0]]))
    assert inside(moved.midpoint).tolist() == [True, True, True, False]
