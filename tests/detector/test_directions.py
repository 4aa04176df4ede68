"""Directions of steps: from the file, estimated where asked, and refused where neither is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import NOMINAL, ConfigError, Detector, Geometry, Universe
from shiftlab.detector.directions import UNKNOWN_COSINE, cosines, local_directions
from shiftlab.errors import UnknownNameError
from shiftlab.events import concatenate, read
from shifts.charge.recombination import Recombination

DATA = Path(__file__).parents[1] / "data"
SMALL = Geometry(size=(48.0, 48.0, 48.0))
EMB = Universe("emb", (("recombination_model", 2.0),))


def detector(directions="file", model=0.0):
    law = Recombination({"model": replace(Recombination().parameter("model"), nominal=model)})
    return Detector("angles", SMALL, (law,), directions=directions)


@pytest.fixture
def straight(tracks):
    """Tracks that know the directions of their steps: all of an event the same; one event has a single step."""
    made = tracks((80, 0, 1, 60), margin=16.0)
    direction = torch.zeros_like(made.position)
    for first, last in zip(made.offsets.tolist(), made.offsets.tolist()[1:], strict=False):
        if last - first > 1:
            way = made.position[last - 1] - made.position[first]
            direction[first:last] = way / way.norm()
    return replace(made, direction=direction)


def test_the_file_gives_the_angle_to_the_drift_axis(straight):
    """|cos| is that of x, at 0 for a step across the field; points take the mean over directions."""
    found = cosines(straight, "file")
    torch.testing.assert_close(found[:80], straight.direction[:80, 0].abs().double(), rtol=0, atol=0)
    assert float(found[80]) == UNKNOWN_COSINE
    assert torch.equal(detector().prepare(straight).charge.cosine, found[SMALL.inside(straight.position)])
    assert cosines(replace(straight, direction=None), "file") is None


def test_the_estimate_finds_straight_tracks(straight):
    """On a straight track it is the direction, to a part in a million; alone, a deposit has none."""
    guessed = local_directions(replace(straight, direction=None))
    along = (guessed * straight.direction).sum(dim=1).abs()
    assert float(along[:80].min()) > 1 - 1e-6
    assert not bool(guessed[80].any())
    assert float(cosines(straight, "local")[80]) == UNKNOWN_COSINE


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), event=st.integers(0, 3))
def test_the_estimate_is_of_the_event_alone(tracks, seed, event):
    """No other event of the batch changes a bit."""
    made = tracks((40, 3, 7, 25), seed=seed)
    whole = local_directions(made)
    alone = local_directions(made.take([event]))
    assert torch.equal(alone, whole[made.offsets[event] : made.offsets[event + 1]])


def test_the_estimate_keeps_particles_apart(tracks):
    """Two tracks that cross at right angles: numbered, each has its own direction; unnumbered, they mix."""
    step = torch.arange(40) * 0.2 - 4.0
    nothing = torch.zeros(40)
    position = torch.cat([torch.stack([step, nothing, nothing], 1), torch.stack([nothing, step, nothing], 1)]) + 20.0
    number = torch.arange(80, dtype=torch.int32) // 40
    crossing = replace(tracks((80,)), position=position, instance=number)
    found = cosines(crossing, "local")
    assert float(found[:40].min()) == pytest.approx(1.0, abs=1e-6)
    assert float(found[40:].max()) == pytest.approx(0.0, abs=1e-6)
    mixed = cosines(replace(crossing, instance=None), "local")
    assert float((mixed - found).abs().max()) > 0.5


def test_readers_of_steps_give_directions():
    """Geant4 tables and edep-sim: unit vectors, or 0 where a step begins and ends at one point."""
    for name in ("geant4_singles.h5", "edepsim_muons.h5", "edepsim_mixed.h5"):
        deposits = read(DATA / name)
        assert deposits.direction is not None
        size = deposits.direction.double().norm(dim=1)
        assert bool((((size - 1).abs() < 1e-6) | (size == 0)).all())
        assert float((size > 0).double().mean()) > 0.5
        assert bool((size[deposits.length == 0] == 0).all())


def test_parts_of_a_cut_step_point_from_one_to_the_next():
    """A muon of edep-sim, whose long steps are cut: neighbours lie along the direction of the step."""
    deposits = read(DATA / "edepsim_muons.h5")
    way = deposits.position[1:] - deposits.position[:-1]
    same = (deposits.direction[1:] == deposits.direction[:-1]).all(dim=1) & (deposits.direction[1:] != 0).any(dim=1)
    same &= (deposits.event_index[1:] == deposits.event_index[:-1]) & (way.norm(dim=1) > 0.05)
    cosine = (way * deposits.direction[1:]).sum(dim=1)[same] / way.norm(dim=1)[same]
    assert int(same.sum()) > 100
    assert float(cosine.min()) > 0.999


def test_the_estimate_agrees_with_the_file_on_muons():
    """On edep-sim's muons the estimate of |cos| is off by less than 0.05 for most of the energy."""
    deposits = read(DATA / "edepsim_muons.h5")
    muon = (deposits.particle == 2) & (deposits.direction != 0).any(dim=1)
    difference = (cosines(deposits, "local") - cosines(deposits, "file"))[muon].abs()
    assert float(difference.median()) < 0.03


def test_events_keep_their_directions(straight):
    """Taken, cut and joined; what one part lacks, the whole lacks."""
    assert torch.equal(straight.take([3]).direction, straight.direction[81:])
    mask = straight.energy > 0.4
    assert torch.equal(straight.keep(mask).direction, straight.direction[mask])
    assert torch.equal(concatenate([straight, straight]).direction, straight.direction.repeat(2, 1))
    assert concatenate([straight, replace(straight, direction=None)]).direction is None
    assert torch.equal(straight.to("cpu").direction, straight.direction)


def test_without_directions_the_ellipsoid_is_refused(straight):
    """In a universe that changes to it, and where it is nominal; the message says what would help."""
    blind = replace(straight, direction=None)
    with pytest.raises(ConfigError, match=r"'emb' displaces recombination_model, .* needs cosine.*directions=local"):
        detector().image(blind, EMB)
    with pytest.raises(ConfigError, match=r"'nominal' cannot be recorded: .* needs cosine.*directions=local"):
        detector(model=2.0).image(blind)
    with pytest.raises(ConfigError, match=r"'nominal' cannot be recorded: .* needs cosine.*directions=local"):
        detector(model=2.0).summary(blind)
    assert detector(model=2.0).refused(blind) == tuple(f"recombination_emb_{p}" for p in ("alpha", "beta90", "r"))
    assert detector().refused(blind) == ()
    assert len(detector().image(blind)) == len(blind)
    assert len(detector().image(straight, EMB)) == len(detector("local").image(blind, EMB)) == len(blind)


def test_steps_along_the_field_lose_more_charge(straight):
    """The ellipsoid box against itself, turned: the charge of steps along x is 1.5% less for muons."""
    along = replace(straight, direction=torch.tensor([[1.0, 0, 0]]).expand_as(straight.direction).contiguous())
    across = replace(straight, direction=torch.tensor([[0.0, 0, 1]]).expand_as(straight.direction).contiguous())
    one, two = (float(detector(model=2.0).image(turned).charge.double().sum()) for turned in (along, across))
    assert one / two == pytest.approx(0.669 / 0.680, abs=0.003)


def test_the_way_is_part_of_the_detector(straight):
    """It is in the record, events prepared the other way are refused, and other words are."""
    assert detector("local").to_dict()["directions"] == "local"
    assert Detector.from_config({"directions": "local"}).directions == "local"
    with pytest.raises(ConfigError, match="other directions of steps"):
        detector("local").image(detector().prepare(straight), NOMINAL)
    with pytest.raises(UnknownNameError, match="directions of detector"):
        Detector.from_config({"directions": "guess"})
