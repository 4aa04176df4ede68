"""Light of plastic strips in shifted universes: quenching, yield, statistics, attenuation and time, one fact each."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import (
    NOMINAL,
    Response,
    ScintillatorDetector,
    Stream,
    StripGeometry,
    Universe,
    quenching,
    scintillator_detector,
)
from shiftlab.detector.oracle import ORACLES
from shiftlab.detector.scintillator.photostatistics import Hits, Light, calibrate, collect, count, quench
from shiftlab.events import read
from shifts.scintillator.birks import PlasticQuenching, ScintillatorBirks, unquenched
from shifts.scintillator.fibre_attenuation import FibreAttenuation
from shifts.scintillator.hit_time_resolution import HitTimeResolution
from shifts.scintillator.light_yield import LightYield
from shifts.scintillator.photostatistics import Photostatistics

TESTS = Path(__file__).parents[1]
STREAM = Stream(1, "test")
MUON, PROTON = 2, 4
COPIES = 8000


@pytest.fixture(scope="module")
def neutrinos():
    return read(TESTS / "data" / "ch_neutrino.h5")


def oracle(name: str) -> dict[str, np.ndarray]:
    with (TESTS / "oracles" / f"{name}.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return {column: np.array([row[column] for row in rows]) for column in rows[0]}


def strips(photoelectrons: float, along: float = 0.0) -> Hits:
    """One strip with the same expected light in many events."""
    event = torch.arange(COPIES)
    light = torch.full((COPIES,), photoelectrons, dtype=torch.float64)
    place = torch.full_like(light, along)
    zero = torch.zeros_like(event)
    return collect(Light(event, zero, zero, light, place), event * 7919, StripGeometry())


def seen(response: Response, dedx: float, particle: int) -> float:
    """Energy seen of a cm of track, MeV."""
    energy, length = torch.tensor([dedx]), torch.tensor([1.0])
    return float(quench(energy.double(), length, torch.tensor([particle]), response))


def test_quenching_meets_the_table():
    """Sixteen values of Geant4's expression, to the ten digits of the table."""
    assert ORACLES.get("scint_birks") is PlasticQuenching
    for difference in PlasticQuenching().compare(oracle("scint_birks")):
        assert difference.rows == 16
        assert difference.met, difference


def test_without_birks_constant_light_is_the_energy():
    dedx = torch.tensor([0.0, 2.0, 50.0, 1e4], dtype=torch.float64)
    assert torch.equal(quenching(dedx, 0.0), torch.ones(4, dtype=torch.float64))
    response = ScintillatorBirks().apply(Response(), {"kb": 0.0}, STREAM)
    assert seen(response, 50.0, PROTON) == 50.0


@given(energy=st.floats(1e-3, 100.0), length=st.floats(1e-3, 1.0), kb=st.floats(0.0, 0.03))
def test_quenched_light_is_turned_back_into_energy(energy, length, kb):
    """E = E_vis / (1 - kB E_vis / dx), as Geant4 has no inverse to compare with: the round trip."""
    deposited, step = (torch.tensor([value], dtype=torch.float64) for value in (energy, length))
    visible = deposited * quenching(deposited / step, kb)
    # 1 - kB E_vis / dx = 1 / (1 + kB dE/dx): rounding grows by that factor.
    assert float(unquenched(visible, step, kb)) == pytest.approx(energy, rel=1e-14 * (10 + kb * energy / length))


def test_a_larger_birks_constant_moves_protons_down_and_leaves_muons():
    """One sigma: 1.181 / 1.211 times 1.021649 / 1.018571 at 20 MeV/cm, by hand; a MIP stays."""
    effect = ScintillatorBirks()
    up = effect.apply(Response(), {"kb": effect.parameters[0].value(1.0)}, STREAM)
    assert up.birks == pytest.approx(0.01055, rel=1e-12)
    assert seen(up, 20.0, PROTON) / seen(Response(), 20.0, PROTON) == pytest.approx(0.978174, abs=1e-6)
    assert seen(up, 2.052, MUON) / seen(Response(), 2.052, MUON) == pytest.approx(1.0, abs=1e-7)


def test_the_scale_of_the_light_is_exact_and_its_width_that_of_the_photoelectrons(neutrinos):
    """Expected light scales by the factor; the energy of a strip spreads by 1 / sqrt(photoelectrons)."""
    detector = scintillator_detector()
    up = detector.response_in(Universe("up", (("light_yield_scale", 1.0),)))
    assert up.light_yield == 6.5 * 1.02
    assert replace(up, light_yield=6.5) == Response()
    hits = strips(40.0)
    for scale in (1.0, 0.7):
        response = LightYield().apply(Response(), {"scale": scale}, STREAM)
        scaled = count(replace(hits, expected=hits.expected * scale), response, STREAM)
        energy = calibrate(scaled, Response()).energy
        assert float(energy.mean()) == pytest.approx(scale * 40 / 6.5, rel=5 / (40 * scale * COPIES) ** 0.5)
        assert float(energy.std() / energy.mean()) == pytest.approx((40 * scale) ** -0.5, rel=5 / (2 * COPIES) ** 0.5)


def test_calibration_with_muons_takes_a_light_yield_back_but_not_its_statistics(neutrinos):
    detector = scintillator_detector()
    shift = (("light_yield_scale", -5.0),)
    total = {
        name: float(detector.record(neutrinos, universe).hits.energy.sum())
        for name, universe in (
            ("nominal", NOMINAL),
            ("none", Universe("down", shift)),
            ("mip", Universe("down", shift, recalibrate="mip")),
            ("exact", Universe("down", shift, recalibrate="exact")),
        )
    }
    # Up to half a per cent: with less light fewer strips reach the threshold of two photoelectrons.
    assert total["none"] / total["nominal"] == pytest.approx(0.90, abs=0.005)
    assert total["mip"] / total["nominal"] == pytest.approx(1.0, abs=0.005)
    assert total["mip"] == total["exact"]


@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("mean", [3.0, 40.0])
def test_statistics_keep_the_mean_and_have_the_variance_of_their_yield(mean, share):
    """Var = E / yield: mean / share in photoelectrons; five standard errors of the sample's mean and variance."""
    response = Photostatistics().apply(Response(), {"yield": share}, STREAM)
    number = count(strips(mean), response, STREAM).count
    variance = mean / share
    # The variance of a Poisson sample's variance: (mu + 2 mu^2) / n in counts, scaled by the fourth power.
    counts = mean * share
    error = ((counts + 2 * counts**2) / COPIES) ** 0.5 / share**2
    assert float(number.mean()) == pytest.approx(mean, abs=5 * (variance / COPIES) ** 0.5)
    assert float(number.var()) == pytest.approx(variance, abs=5 * error)


def test_fewer_effective_photoelectrons_spread_a_strip_but_move_no_scale():
    effect = Photostatistics()
    width = [
        float(count(strips(40.0), effect.apply(Response(), {"yield": effect.parameters[0].value(n)}, STREAM), STREAM)
              .count.std())
        for n in (-1.0, 0.0, 1.0)
    ]  # fmt: skip
    # 10% of photoelectrons are 5% of the width; the same uniform numbers, so that the ratio is sharp.
    assert width[0] / width[1] == pytest.approx(1.1**0.5, abs=0.01)
    assert width[2] / width[1] == pytest.approx(1.1**-0.5, abs=0.01)


def test_the_threshold_lies_between_photoelectrons(neutrinos):
    """One sigma of the statistics cuts no peak off: fewer than two are lost, two are kept, and energy hardly moves."""
    detector = scintillator_detector()
    hits = strips(2.0)
    for yields in (1.0, 1.1, 1 / 1.1):
        drawn = replace(hits, count=torch.tensor([1.0, 2.0]).double().repeat(COPIES // 2) / yields)
        assert torch.equal(calibrate(drawn, Response()).event % 2, torch.ones(COPIES // 2, dtype=torch.int64))
    total = [
        float(detector.record(neutrinos, Universe("u", (("photostatistics_yield", n),))).hits.energy.sum())
        for n in (-1.0, 0.0, 1.0)
    ]
    assert max(total) / min(total) - 1 < 2e-3


@given(along=st.floats(-120.0, 120.0), scale=st.floats(0.5, 2.0))
def test_attenuation_is_undone_by_the_constants_that_made_it(along, scale):
    """exp(d / length) and its exact inverse; with the nominal constant a residual is left, none in the middle."""
    here = FibreAttenuation().apply(Response(), {"scale": scale}, STREAM)
    light = 6.5 * 10.0 * np.exp(along / here.attenuation_length)
    where = torch.tensor([along], dtype=torch.float64)
    hits = strips(light).where(torch.arange(COPIES) < 1)
    hits = replace(hits, along=where, count=torch.tensor([light], dtype=torch.float64))
    assert float(calibrate(hits, here).energy) == pytest.approx(10.0, rel=1e-12)
    residual = float(calibrate(hits, Response()).energy) / 10.0
    # The rates 1 / length add: what is left is the attenuation of the difference.
    assert residual == pytest.approx(np.exp(along * (1 / here.attenuation_length - 1 / 350.0)), rel=1e-12)


def test_attenuation_moves_the_far_half_down_and_the_near_half_up_by_as_much_as_declared(neutrinos):
    """One sigma is 1.7% of the light at the ends of the longest strips, 124 cm from the middle."""
    effect = FibreAttenuation()
    short = effect.apply(Response(), {"scale": effect.parameters[0].value(-1.0)}, STREAM).attenuation_length
    assert np.exp(123.6 * (1 / short - 1 / 350.0)) - 1 == pytest.approx(0.0178, abs=2e-4)
    detector = scintillator_detector()
    hits = [detector.record(neutrinos, Universe("u", (("fibre_attenuation_scale", n),))).hits for n in (-3.0, 0.0, 3.0)]
    near = [float(h.expected[h.along > 30].sum()) for h in hits]
    far = [float(h.expected[h.along < -30].sum()) for h in hits]
    assert near[0] > near[1] > near[2]
    assert far[0] < far[1] < far[2]


def test_times_spread_by_the_resolution_and_the_draws_stay(neutrinos):
    """A token's time moves in proportion to the width, and nothing else moves."""
    detector = scintillator_detector()
    less, nominal, more = (
        detector.tokens(neutrinos, Universe("u", (("hit_time_resolution_width", n),))) for n in (-5.0, 0.0, 5.0)
    )
    down, up = (
        (other.column("t").double() - nominal.column("t").double()) * 1e4 for other in (less, more)
    )  # fmt: skip
    # float32 times up to 10 us: steps of 1 ns / 1000.
    torch.testing.assert_close(up, -down, atol=4e-3, rtol=0.0)
    assert float(up.abs().min()) > 0
    assert torch.equal(more.features[:, :8], nominal.features[:, :8])
    assert torch.equal(more.globals, nominal.globals)


def test_a_muons_time_has_the_variance_of_a_hit_over_its_clusters(neutrinos):
    """3.4 ns a hit: 300 copies of one event with keys of their own, against no resolution at all."""
    copies = 300
    objects = scintillator_detector().record(neutrinos).reconstruction.objects
    same = neutrinos.take([int(objects.event[objects.kind == 0][0])] * copies)
    same = replace(same, events=replace(same.events, key=torch.arange(copies) * 7919 + 1))
    perfect = HitTimeResolution().apply(Response(), {"width": 0.0}, STREAM)
    found = [ScintillatorDetector(response=response).record(same) for response in (Response(), perfect)]
    times = [one.reconstruction.objects.time[one.reconstruction.objects.kind == 0] for one in found]
    assert len(times[0]) == copies
    muon = found[0].reconstruction.role == 1
    clusters = torch.bincount(found[0].clusters.event[muon], minlength=copies)
    pull = (times[0] - times[1]) * clusters.double().sqrt()
    assert float(pull.var()) == pytest.approx(3.4**2, rel=5 * (2 / copies) ** 0.5)
    assert float(pull.mean()) == pytest.approx(0.0, abs=5 * 3.4 / copies**0.5)
