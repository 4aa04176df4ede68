"""``recalibrate: exact``: with the shifted detector's own constants, minimum-ionising muons get their energy back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shiftlab.detector import Detector, Universe, detector, effects
from shiftlab.events import read

MUONS = Path(__file__).parents[2] / "studies" / "samples" / "lar_evaluation.h5"


@pytest.fixture(scope="module")
def mips(tracks):
    """Tracks whose steps all have 2.1 MeV/cm."""
    made = tracks((400, 300, 500))
    return type(made)(
        made.offsets,
        made.position.clamp(0.01, 47.9),
        torch.full_like(made.energy, 0.315),
        torch.full_like(made.length, 0.15),
        made.semantic,
        made.particle,
        made.events,
    )


def summed(chamber, events, nuisance=None, value=1.0, recalibrate="none"):
    shifts = () if nuisance is None else ((nuisance, value),)
    return float(chamber.image(events, Universe("u", shifts, recalibrate=recalibrate)).energy.double().sum())


PRECISION = {
    "gain_scale": 1e-6,
    "w_value_w": 1e-6,
    "recombination_alpha": 1e-6,
    "recombination_beta": 1e-6,
    # Charge is spread over layers, and each is corrected at its centre.
    "lifetime_tau": 1e-5,
}


@pytest.mark.parametrize("value", [-2.0, 1.0])
@pytest.mark.parametrize("nuisance", PRECISION)
def test_mips_get_their_energy_back(small, mips, nuisance, value):
    """Without noise and threshold: sum over tracks of 2.1 MeV/cm, to the stated precision."""
    names = ("recombination", "w_value", "lifetime", "gain")
    chamber = Detector("bare", small, tuple(effects().get(n)() for n in names), allow_double_counting=True)
    nominal = summed(chamber, mips)
    assert nominal == pytest.approx(float(chamber.prepare(mips).charge.energy.sum()), rel=3e-4)
    assert abs(summed(chamber, mips, nuisance, value) / nominal - 1) > 30 * PRECISION[nuisance]
    assert summed(chamber, mips, nuisance, value, "exact") == pytest.approx(nominal, rel=PRECISION[nuisance])


def test_several_constants_at_once_come_back_together(small, mips):
    names = ("recombination", "w_value", "lifetime", "gain")
    chamber = Detector("bare", small, tuple(effects().get(n)() for n in names), allow_double_counting=True)
    shifts = tuple((name, 1.5) for name in PRECISION)
    moved, exact = (
        float(chamber.image(mips, Universe("all", shifts, recalibrate=how)).energy.double().sum())
        for how in ("none", "exact")
    )
    nominal = summed(chamber, mips)
    assert abs(moved / nominal - 1) > 0.02
    assert exact == pytest.approx(nominal, rel=1e-5)


@pytest.mark.parametrize("nuisance", ["drift_velocity_scale", "time_offset_offset"])
def test_charge_that_arrives_at_another_time_is_corrected_for_the_time_that_it_drifted(small, mips, nuisance):
    """A layer is a time of arrival: the lifetime's correction is right however fast the charge came."""
    names = ("recombination", "lifetime", nuisance.rpartition("_")[0])
    chamber = Detector("bare", small, tuple(effects().get(name)() for name in names), allow_double_counting=True)
    inside = mips.keep((mips.position[:, 0] > 3) & (mips.position[:, 0] < 44))
    nominal = summed(chamber, inside)
    assert summed(chamber, inside, nuisance, 1.0, "exact") == pytest.approx(nominal, rel=1e-5)


@pytest.mark.parametrize("nuisance", ["drift_field_scale", "argon_temperature_shift", "argon_density_shift"])
@pytest.mark.parametrize("value", [-1.0, 2.0])
def test_another_field_or_argon_is_in_the_constants_of_recombination_and_lifetime(small, mips, nuisance, value):
    """Field, density and drift time move the charge of a muon; constants of the same argon give its energy back."""
    names = ("recombination", "lifetime", nuisance.rpartition("_")[0])
    chamber = Detector("bare", small, tuple(effects().get(name)() for name in names), allow_double_counting=True)
    inside = mips.keep((mips.position[:, 0] > 3) & (mips.position[:, 0] < 44))
    nominal = summed(chamber, inside)
    assert abs(summed(chamber, inside, nuisance, value) / nominal - 1) > 1e-4
    assert summed(chamber, inside, nuisance, value, "exact") == pytest.approx(nominal, rel=1e-5)


def test_a_common_gain_of_all_modules_is_in_the_constants(small, mips):
    """All four gains 1.3% up: 1.3% more energy, and none with the mean gain as constant."""
    chamber = Detector("bare", small, tuple(effects().get(n)() for n in ("recombination", "module_gain")))
    shifts = tuple((f"module_gain_factor_{i}", 1.0) for i in (1, 2, 3, 4))
    nominal = summed(chamber, mips)
    for how, expected in (("none", 1.013 * nominal), ("exact", nominal)):
        image = chamber.image(mips, Universe("all", shifts, recalibrate=how))
        assert float(image.energy.double().sum()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("nuisance", "precision"),
    # Threshold and noise stay in the image; recombination is exact at 2.1 MeV/cm only, and muons scatter around it.
    [("gain_scale", 0.006), ("lifetime_tau", 0.002), ("recombination_alpha", 0.012), ("recombination_beta", 2e-4)],
)
def test_real_muons_in_the_whole_detector_come_back_up_to_threshold_and_spread(nuisance, precision):
    """Twelve simulated muons: most of the shift is taken back, and what is left is what constants cannot mend."""
    chamber = detector("pixel_lar")
    events = read(MUONS)
    chosen = [i for i, kind in enumerate(events.events.sample) if kind == "calibration_muon"][:12]
    prepared = chamber.prepare(events.take(chosen))
    nominal = summed(chamber, prepared)
    moved, exact = (abs(summed(chamber, prepared, nuisance, 1.0, how) / nominal - 1) for how in ("none", "exact"))
    assert exact < precision
    assert exact < 0.5 * moved
