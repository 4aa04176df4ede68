"""Temperature and density of the argon: one cause, felt by recombination, drift and diffusion together."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, effects
from shifts.charge.argon import ArgonDensity, ArgonTemperature, argon_density
from shifts.charge.recombination import Recombination
from shifts.charge.recombination_laws import modified_box

SMALL = Geometry(size=(48.0, 48.0, 48.0))


def warmed(charge, shift):
    return ArgonTemperature().apply(charge, {"shift": shift}, Stream(1, "argon_temperature"))


def denser(charge, shift, energy_loss=0.0):
    values = {"shift": shift, "energy_loss": energy_loss}
    return ArgonDensity().apply(charge, values, Stream(1, "argon_density"))


def escaped(charge):
    effect = Recombination()
    return effect.apply(charge, {p.name: p.nominal for p in effect.parameters}, Stream(1, "recombination")).electrons


@pytest.fixture
def steps(bare, deposits):
    """Charge of steps of 2.1 and 10 MeV/cm in turn."""
    charge = bare.prepare(deposits).charge
    return replace(charge, dedx=torch.tensor([2.1, 10.0], dtype=torch.float64)[torch.arange(len(charge.dedx)) % 2])


def test_the_density_is_larsofts():
    """1.391105 g/cm3 at 87.3 K; 1.393 at 87 K; a kelvin is 0.44%."""
    assert argon_density(87.3) == pytest.approx(1.391105, abs=1e-9)
    assert argon_density(87.0) == pytest.approx(1.393, abs=1e-4)
    assert argon_density(88.0) / argon_density(87.0) - 1 == pytest.approx(-0.0044, abs=1e-4)


def test_one_kelvin_moves_density_velocity_and_diffusion_together(steps):
    """-0.44% in density, -1.7% in velocity by mobility as T^-1.5; diffusion widens as mobility times temperature."""
    before, after = steps.medium, warmed(steps, 1.0).medium
    assert after.density - before.density == pytest.approx(-0.00615, abs=1e-12)
    assert after.temperature == before.temperature + 1.0
    assert after.efield == before.efield
    warmth = after.temperature / before.temperature
    assert after.drift_velocity / before.drift_velocity == pytest.approx(warmth**-1.5, rel=1e-9)
    for name in ("diffusion_longitudinal", "diffusion_transverse"):
        assert getattr(after, name) / getattr(before, name) == pytest.approx(warmth**-0.5, rel=1e-9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(first=st.floats(-1.5, 3.5), second=st.floats(-1.5, 3.5))
def test_two_warmings_are_one(steps, first, second):
    """Temperatures add, and so do their consequences."""
    once, twice = warmed(steps, first + second).medium, warmed(warmed(steps, first), second).medium
    for name in ("density", "temperature", "drift_velocity", "diffusion_longitudinal", "diffusion_transverse"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), rel=1e-12)


@pytest.mark.parametrize("change", [denser, lambda charge, shift: warmed(charge, shift / -0.00615)])
def test_slope_of_the_charge_with_density(steps, change):
    """d ln R / d ln rho: +0.095 for a muon, +0.444 at 10 MeV/cm; the file's energy losses stay."""
    step = 1e-4
    after = change(steps, step * steps.medium.density)
    assert torch.equal(after.dedx, steps.dedx)
    slope = torch.log(escaped(after) / escaped(steps)) / math.log1p(step)
    assert slope[::2].tolist() == pytest.approx([0.0953] * len(slope[::2]), abs=2e-4)
    assert slope[1::2].tolist() == pytest.approx([0.4444] * len(slope[1::2]), abs=2e-4)


@given(relative=st.floats(-0.03, 0.026))
def test_energy_loss_that_follows_the_density_leaves_recombination(relative):
    """xi = beta dE/dx / (rho E) is the loss per mass then: charge scales with the density, and nothing else."""
    dedx = torch.tensor([2.1, 10.0], dtype=torch.float64)
    ratio = 1.0 + relative
    before = modified_box(dedx, 0.93, 0.212, 0.5, 1.396)
    after = modified_box(dedx * ratio, 0.93, 0.212, 0.5, 1.396 * ratio)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=0.0)


def test_steps_may_follow_the_density(steps):
    """Energy, dE/dx and charge of each step grow by the same part as the density."""
    shift = 0.01 * steps.medium.density
    after = denser(steps, shift, energy_loss=1.0)
    for name in ("energy", "dedx", "electrons"):
        torch.testing.assert_close(getattr(after, name), 1.01 * getattr(steps, name), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(escaped(after), 1.01 * escaped(steps), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("energy_loss", [0.0, 1.0])
def test_what_was_made_denser_or_warmer_is_made_as_it_was(steps, energy_loss):
    """The medium too, which holds no tensor here."""
    values = {"shift": 0.02, "energy_loss": energy_loss}
    back = ArgonDensity().invert(denser(steps, 0.02, energy_loss), values, Stream(1, "argon_density"))
    torch.testing.assert_close(back.dedx, steps.dedx, rtol=1e-12, atol=0.0)
    assert back.medium.density == pytest.approx(steps.medium.density, rel=1e-12)
    cooled = ArgonTemperature().invert(warmed(steps, 2.5), {"shift": 2.5}, Stream(1, "argon_temperature"))
    assert cooled.medium.density == pytest.approx(steps.medium.density, rel=1e-12)
    assert cooled.medium.drift_velocity == pytest.approx(steps.medium.drift_velocity, rel=1e-12)


def test_a_warmer_detector_sees_charge_later(deposits):
    """The read-out, which assumes the nominal velocity, puts a deposit 1.7% farther from the anode per kelvin."""
    detector = Detector("warm", SMALL, (ArgonTemperature(), Recombination()))
    prepared = detector.prepare(deposits)
    warm = Universe("warm", (("argon_temperature_shift", 1.0),))
    ratio = detector.positions(prepared, warm)[:, 0] / detector.positions(prepared)[:, 0]
    assert float(ratio.min()) == pytest.approx((88 / 87) ** 1.5, rel=1e-5)
    assert float(ratio.max()) == pytest.approx((88 / 87) ** 1.5, rel=1e-5)
    assert detector.moves(warm)


def test_it_knows_what_it_counts_twice():
    """Temperature with density, and with drift velocity, needs a word of the user."""
    for name, other in (("argon_density", "argon_density_shift"), ("drift_velocity", "drift_velocity_scale")):
        pair = (ArgonTemperature(), effects().get(name)())
        with pytest.raises(ConfigError, match=rf"argon_temperature_shift.*{other}|{other}.*argon_temperature_shift"):
            Detector("twice", SMALL, pair)
        allowed = (f"argon_temperature_shift+{other}",)
        assert len(Detector("twice", SMALL, pair, allow_double_counting=allowed).effects) == 2
