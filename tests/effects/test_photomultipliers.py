"""Photomultipliers with 64 anodes: the map of strips, cross-talk between pixels, chips that are busy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Hits, ScintillatorDetector, Stream, StripGeometry, Universe, effects
from shiftlab.detector.scintillator.photostatistics import Light, collect
from shiftlab.events import read
from shifts.scintillator.front_end_dead_time import FrontEndDeadTime
from shifts.scintillator.photomultipliers import CHIP, PIXELS, neighbours, pixel
from shifts.scintillator.pmt_crosstalk import PmtCrosstalk

STRIPS = 127
STREAM = Stream(1, "test")
ADDITIVE, CONSERVING = 0.0, 1.0


@pytest.fixture(scope="module")
def neutrinos():
    return read(Path(__file__).parents[1] / "data" / "ch_neutrino.h5")


def lit(strip: list[int], light: list[float], planes: list[int] | None = None) -> Hits:
    """Strips of one event with light of one particle."""
    plane = torch.tensor(planes or [0] * len(strip))
    rows = torch.zeros(len(strip), dtype=torch.int64)
    amount = torch.tensor(light, dtype=torch.float64)
    channel = plane * STRIPS + torch.tensor(strip)
    return collect(Light(rows, channel, rows, amount, amount * 0 + 20.0), torch.tensor([99]), StripGeometry())


def crosstalk(hits: Hits, fraction: float, model: float = ADDITIVE) -> Hits:
    return PmtCrosstalk().apply(hits, {"fraction": fraction, "model": model}, STREAM)


def light_of(hits: Hits) -> dict[int, float]:
    return dict(zip(hits.channel.tolist(), hits.expected.tolist(), strict=True))


def test_every_strip_has_a_pixel_of_its_own():
    tube, place = pixel(torch.arange(STRIPS))
    assert len(set(zip(tube.tolist(), place.tolist(), strict=True))) == STRIPS
    assert int(place.max()) < PIXELS
    assert torch.bincount(tube).tolist() == [64, 63]


def test_pixels_side_by_side_hold_strips_far_apart():
    """Neighbourhood is mutual, an inner pixel has four, and no neighbour is nearer than 24 strips."""
    beside = neighbours(STRIPS)
    for strip in range(STRIPS):
        for other in beside[strip].tolist():
            if other >= 0:
                assert strip in beside[other].tolist()
                assert abs(strip - other) >= 24
                assert strip // PIXELS == other // PIXELS
    # 8 x 8 pixels have 112 pairs side by side; the second tube lacks one pixel and its pairs.
    pairs = int((beside >= 0).sum()) // 2
    assert 2 * 112 - 4 <= pairs <= 2 * 112 - 2


def test_light_of_one_strip_appears_on_its_neighbours_in_equal_parts():
    inner = torch.nonzero((neighbours(STRIPS) >= 0).all(dim=1)).squeeze(1)
    assert len(inner) >= 36 + 30
    source = int(inner[7])
    beside = neighbours(STRIPS)[source].tolist()
    found = light_of(crosstalk(lit([source], [100.0]), 0.08))
    assert found == pytest.approx({source: 100.0, **dict.fromkeys(beside, 2.0)}, abs=1e-6)
    kept = light_of(crosstalk(lit([source], [100.0]), 0.08, CONSERVING))
    assert kept == pytest.approx({source: 92.0, **dict.fromkeys(beside, 2.0)}, abs=1e-6)


@given(
    light=st.dictionaries(st.integers(0, STRIPS - 1), st.floats(0.01, 500.0), min_size=1, max_size=20),
    fraction=st.floats(0.0, 0.25),
)
def test_conserving_cross_talk_keeps_the_light_and_additive_adds_the_fraction(light, fraction):
    """To whole millionths of a photoelectron; additive: the fraction, less what falls on no neighbour."""
    hits = lit(list(light), list(light.values()))
    before = float(hits.expected.sum())
    assert float(crosstalk(hits, fraction, CONSERVING).expected.sum()) == pytest.approx(before, rel=1e-12)
    share = (neighbours(STRIPS)[hits.strip] >= 0).sum(dim=1) / 4.0
    added = float((hits.expected * share * fraction).sum())
    found = float(crosstalk(hits, fraction).expected.sum()) - before
    assert found == pytest.approx(added, abs=4e-6 * len(light))


def test_the_component_follows_its_fraction():
    """20% more cross-talk is 20% more of its light."""
    effect, hits = PmtCrosstalk(), lit([10, 11, 12], [200.0, 300.0, 50.0])
    up = effect.parameter("fraction").value(1.0)
    assert up == pytest.approx(0.048)
    plain, more = (float(crosstalk(hits, f).expected.sum() - hits.expected.sum()) for f in (0.04, up))
    assert more / plain == pytest.approx(1.2, rel=1e-5)


def test_planes_and_tubes_keep_to_themselves():
    found = crosstalk(lit([5, 100], [100.0, 100.0], planes=[3, 8]), 0.2)
    assert set(found.plane.tolist()) == {3, 8}
    tube, _ = pixel(found.strip)
    assert torch.equal(tube == 0, found.plane == 3)


def test_light_that_no_particle_left_belongs_to_nobody_and_has_the_place_of_its_source():
    found = crosstalk(lit([30], [100.0]), 0.08)
    assert torch.equal(found.owner >= 0, found.strip == 30)
    torch.testing.assert_close(found.along, torch.full_like(found.along, 20.0), atol=1e-4, rtol=0.0)
    # A strip with more light of its own than of others keeps its particle.
    neighbour = int(neighbours(STRIPS)[30].max())
    both = crosstalk(lit([30, neighbour], [100.0, 3.0]), 0.08)
    assert int(both.owner[both.strip == neighbour]) == 0


def test_cross_talk_becomes_blobs_never_tracks(neutrinos):
    """A known amount makes more blobs, as published samples have; the muon and its prong stay."""
    plain = ScintillatorDetector()
    noisy = ScintillatorDetector(effects=(effects().get("pmt_crosstalk")({}),))
    shift = Universe("up", (("pmt_crosstalk_fraction", 5.0),))
    before, after = plain.tokens(neutrinos), noisy.tokens(neutrinos, shift)
    for kind in (0, 3):
        assert int((before.particle == kind).sum()) == int((after.particle == kind).sum())
    assert int((after.particle == 2).sum()) > int((before.particle == 2).sum())


def every_strip(events: int) -> Hits:
    """One plane with light in every strip, in many events."""
    event = torch.arange(events).repeat_interleave(STRIPS)
    channel = torch.arange(STRIPS).repeat(events)
    light = torch.full((len(event),), 5.0, dtype=torch.float64)
    return collect(Light(event, channel, event, light, light * 0), torch.arange(events) * 7919, StripGeometry())


def test_no_chip_is_busy_without_other_activity():
    hits = every_strip(20)
    found = FrontEndDeadTime().apply(hits, {"busy": 0.0}, STREAM)
    assert len(found) == len(hits)
    assert len(FrontEndDeadTime().apply(hits, {"busy": 1.0}, STREAM)) == 0


def test_busy_chips_lose_all_their_hits_at_the_stated_rate():
    events, busy = 2000, 0.03
    found = FrontEndDeadTime().apply(every_strip(events), {"busy": busy}, STREAM)
    tube, place = pixel(found.strip)
    chip = tube * (PIXELS // CHIP) + place // CHIP
    number = torch.zeros(events, 8).index_put((found.event, chip), torch.ones(len(found)), accumulate=True)
    # 64 + 63 strips: the last tube's fourth pixel of one chip has no fibre.
    full = number.amax(dim=0)
    assert sorted(full.tolist()) == [15.0, *[16.0] * 7]
    assert bool(((number == 0) | (number == full)).all())
    dead = float((number == 0).float().mean())
    assert dead == pytest.approx(busy, abs=5 * (busy * (1 - busy) / (8 * events)) ** 0.5)


def test_a_busier_front_end_loses_more_of_the_same():
    hits = every_strip(300)
    few, many = (FrontEndDeadTime().apply(hits, {"busy": p}, STREAM) for p in (0.05, 0.02))
    assert set(zip(few.event.tolist(), few.channel.tolist(), strict=True)) < set(
        zip(many.event.tolist(), many.channel.tolist(), strict=True)
    )
    each = torch.full((300,), 0.0, dtype=torch.float64)
    each[7] = 1.0
    only = FrontEndDeadTime().apply(hits, {"busy": each}, STREAM)
    assert torch.equal(torch.unique(only.event), torch.cat([torch.arange(7), torch.arange(8, 300)]))
    assert len(only.key) == 300
