"""A campaign gives the same bytes however it is cut, spread over processes or stopped; twins share vertices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import ConfigError, RunError
from shiftlab.events import Deposits, concatenate, read, validate
from shiftlab.events.sample import read_attributes
from shiftlab.events.simulation.campaign import Campaign, simulate
from shiftlab.events.simulation.draws import stream_starts, uniforms
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.shards import Shards
from shiftlab.events.simulation.transport import Transport

COLUMNS = ("offsets", "position", "energy", "length", "semantic", "particle", "instance")


def recipe(medium: str = "G4_lAr", **kinds: float) -> Recipe:
    """A recipe of particle guns."""
    return Recipe.from_config(
        {
            "name": "test_particles",
            "revision": "1",
            "medium": medium,
            "composer": "particles",
            "kinds": kinds or {"single_electron": 0.2, "single_proton": 0.4, "single_pion": 0.4},
            "sources": {"kinds": "chosen"},
        }
    )


@pytest.fixture(scope="module")
def campaign(transport: Transport) -> Campaign:
    return Campaign(recipe(), transport, seed=3, count=30, batch=10)


def same(one: Deposits, two: Deposits) -> bool:
    tables = [dict(part.events.truth) | dict(part.particles.columns) for part in (one, two) if part.particles]
    columns = all(torch.equal(getattr(one, name), getattr(two, name)) for name in COLUMNS)
    truth = all(torch.equal(tables[0][name].nan_to_num(-1), tables[1][name].nan_to_num(-1)) for name in tables[0])
    return columns and truth and torch.equal(one.events.key, two.events.key)


def test_the_bytes_are_the_same_for_one_and_two_workers_and_after_a_stop(campaign: Campaign, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole.h5", tmp_path / "stopped.h5"
    done = simulate(campaign, whole, workers=2)
    assert (done.events, done.simulated, done.workers) == (30, 30, 2)
    counted: list[int] = []

    def stop(events: int) -> None:
        counted.append(events)
        if sum(counted) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(campaign, stopped, workers=1, progress=stop)
    parts = tmp_path / "stopped.h5.parts"
    assert len(list(parts.glob("batch*.safetensors"))) >= 1
    assert not stopped.exists()
    with pytest.raises(RunError, match=r"differs in seed\. --fresh"):
        simulate(replace(campaign, seed=4), stopped)
    (parts / "batch000002.safetensors").write_bytes(b"half")  # as a machine that lost power may leave it
    again = simulate(campaign, stopped, workers=1)
    assert 0 < again.simulated < 30
    assert whole.read_bytes() == stopped.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name != "whole.h5"] == ["stopped.h5"]
    _check_sample(campaign, whole)


def _check_sample(campaign: Campaign, path: Path) -> None:
    events = read(path)
    validate(events, path)
    assert events.events.dataset == "test_particles/1"
    attributes = read_attributes(path)
    assert attributes["hadronic_list"] == "FTFP_BERT"
    assert "Geant4 Collaboration" in attributes["acknowledgement"]
    assert attributes["seed"] == 3
    assert events.particles is not None
    assert events.instance is not None
    assert simulate(campaign, path).simulated == 0
    with pytest.raises(RunError, match="made by another recipe"):
        simulate(replace(campaign, count=31), path)


def test_an_event_depends_on_its_number_alone(campaign: Campaign) -> None:
    """Batches of 10 and of 6, made in another order, hold the same events."""
    simulation = campaign.transport.open()
    other = replace(campaign, batch=6)
    one = concatenate([campaign.make(simulation, batch) for batch in range(3)])
    two = concatenate([other.make(simulation, batch) for batch in reversed(range(5))])
    backwards = torch.cat([torch.arange(30)[batch * 6 : (batch + 1) * 6] for batch in reversed(range(5))])
    assert same(one, two.take(torch.argsort(backwards)))
    assert len(replace(campaign, count=25).make(simulation, 2)) == 5


def test_two_models_carry_the_same_vertices_to_different_deposits(campaign: Campaign, tmp_path: Path) -> None:
    twin = replace(campaign, transport=replace(campaign.transport, hadronic="QGSP_BIC"))
    simulate(replace(twin, count=10), tmp_path / "twin.h5")
    simulate(replace(campaign, count=10), tmp_path / "one.h5")
    one, two = read(tmp_path / "one.h5"), read(tmp_path / "twin.h5")
    assert torch.equal(one.events.vertex, two.events.vertex)
    assert one.events.sample == two.events.sample
    assert one.events.dataset == two.events.dataset
    assert not set(one.events.key.tolist()) & set(two.events.key.tolist())
    assert one.particles is not None
    assert two.particles is not None
    for name in ("number", "pdg", "kinetic", "momentum_x", "momentum_y", "momentum_z"):
        assert torch.equal(one.particles.columns[name], two.particles.columns[name])
    for axis in "xyz":
        assert torch.equal(one.events.truth[f"first_{axis}"], two.events.truth[f"first_{axis}"])
    hadrons = [i for i, name in enumerate(one.events.sample) if name != "single_electron"]
    visible = [part.events.truth["visible_energy"] for part in (one, two)]
    assert (visible[0][hadrons] != visible[1][hadrons]).sum() >= 2  # those that met a nucleus


def test_a_process_keeps_the_physics_that_it_began_with(campaign: Campaign) -> None:
    campaign.transport.open()
    for change in ({"hadronic": "QGSP_BIC"}, {"electromagnetic": "option1"}, {"cut": 0.05}, {"material": "G4_Al"}):
        with pytest.raises(
            ConfigError, match=r"this process carries particles with FTFP_BERT, standard, 0\.07, G4_lAr"
        ):
            replace(campaign.transport, **change).open()


def test_another_seed_gives_other_events(campaign: Campaign) -> None:
    simulation = campaign.transport.open()
    one, two = campaign.make(simulation, 0), replace(campaign, seed=4).make(simulation, 0)
    assert not set(one.events.vertex.tolist()) & set(two.events.vertex.tolist())
    assert not torch.equal(one.events.truth["first_x"], two.events.truth["first_x"])


def test_deposits_point_at_particles_and_primaries_obey_their_mass_shell(campaign: Campaign) -> None:
    events = campaign.make(campaign.transport.open(), 0)
    table, instance = events.particles, events.instance
    assert table is not None
    assert instance is not None
    column = table.columns
    momentum = sum(column[f"momentum_{axis}"] ** 2 for axis in "xyz")
    energy = column["kinetic"] + column["mass"]
    np.testing.assert_allclose(energy**2, momentum + column["mass"] ** 2, rtol=1e-9)
    counts = table.offsets.diff()
    assert torch.equal(column["number"], torch.cat([torch.arange(int(n)) for n in counts]).double())
    own = instance < counts[events.event_index]
    row = table.offsets[:-1][events.event_index] + instance
    assert torch.equal(column["particle"][row[own]].to(torch.int8), events.particle[own])
    shares = torch.zeros(len(events), dtype=torch.float64).index_add(
        0, events.event_index[own], events.energy[own].double()
    )
    electrons = [i for i, name in enumerate(events.events.sample) if name == "single_electron"]
    assert electrons
    assert (shares[electrons] > 0.9 * events.events.truth["visible_energy"][electrons]).all()


def test_a_muon_leaves_polystyrene_with_what_it_did_not_lose(transport: Transport, tmp_path: Path) -> None:
    """Kinetic energy at the exit plus what was deposited inside is that at the vertex; 2.0 MeV/cm at least is lost."""
    medium = replace(transport, material="G4_POLYSTYRENE", side=1200.0)
    muons = Campaign(recipe("G4_POLYSTYRENE", calibration_muon=1.0), medium, seed=1, count=60, batch=60)
    simulate(muons, tmp_path / "muons.h5")
    events = read(tmp_path / "muons.h5")
    truth, particles = events.events.truth, events.particles
    assert particles is not None
    kinetic = particles.columns["kinetic"]
    leaves = torch.isfinite(truth["muon_exit_kinetic"])
    assert 10 < leaves.sum() < 60
    left = truth["muon_exit_kinetic"] + truth["visible_energy"]
    np.testing.assert_allclose(left[leaves].median() / kinetic[leaves].median(), 1.0, rtol=0.02)
    exit_at = torch.stack([truth[f"muon_exit_{axis}"] for axis in "xyz"], dim=1)[leaves]
    box = torch.tensor(muons.placement.box, dtype=torch.float64)
    faces = torch.minimum(exit_at.abs(), (exit_at - box).abs()).min(dim=1).values
    assert (faces < 1e-9).all()
    assert ((exit_at >= -1e-9) & (exit_at <= box + 1e-9)).all()
    vertex = torch.stack([truth[f"vertex_{axis}"] for axis in "xyz"], dim=1)
    low, high = (torch.tensor(corner) for corner in (muons.placement.fiducial.low, muons.placement.fiducial.high))
    assert ((vertex >= low) & (vertex <= high)).all()
    path = (exit_at - vertex[leaves]).norm(dim=1)
    lost = kinetic[leaves] - truth["muon_exit_kinetic"][leaves]
    assert 1.9 < float((lost / path).median()) < 2.6


def test_a_shard_comes_back_as_it_was_and_counts_for_its_campaign_only(campaign: Campaign, tmp_path: Path) -> None:
    events = campaign.make(campaign.transport.open(), 0)
    shards = Shards(tmp_path, "mine")
    assert not shards.holds(0)
    shards.write(0, events, {"simulator": "x"})
    assert shards.holds(0)
    assert same(shards.read(0), events)
    assert shards.read(0).events.sample == events.events.sample
    assert shards.notes(0) == {"simulator": "x"}
    assert not Shards(tmp_path, "other").holds(0)


def test_what_a_worker_cannot_do_is_said_by_the_parent(campaign: Campaign, tmp_path: Path) -> None:
    from shiftlab.events.simulation.campaign import _Maker
    from shiftlab.events.simulation.workers import work_through

    lost = replace(campaign, transport=replace(campaign.transport, tables=tmp_path))
    with pytest.raises(RunError, match=r"batch 0: .*no folder 'G4EMLOW8\.8'"):
        list(work_through(_Maker(lost, Shards(tmp_path, "x")), [0], 1))


def test_more_events_than_a_recipe_has_are_refused_before_anything_is_simulated(
    transport: Transport, tmp_path: Path
) -> None:
    counted = Campaign(recipe(single_proton=3, single_pion=2), transport, seed=1, count=6)
    with pytest.raises(ConfigError, match="6 events wanted"):
        simulate(counted, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


@given(st.integers(0, 10**9), st.integers(1, 30))
def test_draws_are_functions_of_their_names(first: int, count: int) -> None:
    alone = np.concatenate([uniforms("p", [first + i], 3) for i in range(count)])
    assert np.array_equal(alone, uniforms("p", range(first, first + count), 3))
    assert ((alone >= 0.0) & (alone < 1.0)).all()
    starts = stream_starts("p", range(first, first + count))
    assert len({tuple(row) for row in starts.tolist()}) == count


def test_draws_are_uniform() -> None:
    """Mean 1/2 and variance 1/12 within four standard errors, and no correlation between the columns."""
    numbers = uniforms("uniform", range(20000), 3)
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 20000)
    assert np.abs(numbers.var(axis=0) * 12 - 1).max() < 4 * np.sqrt(0.8 / 20000)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 4 / np.sqrt(20000)


def test_tables_are_looked_for_where_the_key_says_then_the_variable_then_the_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GEANT4_DATA_DIR", raising=False)
    from shiftlab.events.simulation.tables import find_tables

    places = [tmp_path / name for name in ("key", "variable", "checkout", "calzone")]
    for place in places[:2] + places[3:]:
        (place / "G4EMLOW8.8").mkdir(parents=True)
    assert find_tables(fallbacks=places[2:]) == places[3]
    (places[2] / "G4EMLOW8.8").mkdir(parents=True)
    assert find_tables(fallbacks=places[2:]) == places[2]
    monkeypatch.setenv("GEANT4_DATA_DIR", str(places[1]))
    assert find_tables(fallbacks=places[2:]) == places[1]
    assert find_tables(places[0], fallbacks=places[2:]) == places[0]
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"calzone download.*GEANT4_DATA_DIR=FOLDER"):
        find_tables(fallbacks=places[2:])


def test_steps_are_sorted_as_lexsort_does() -> None:
    from shiftlab.events.simulation.transport import _along_tracks

    rng = np.random.default_rng(1)
    for _ in range(50):
        track: Any = rng.integers(0, 8, 40)
        time: Any = rng.integers(0, 6, 40).astype(np.float64)
        assert np.array_equal(_along_tracks(track, time, 8), np.lexsort((time, track)))
