"""What calibration leaves: one factor, a factor per drift layer, a map of mean one; and exact constants undo it."""

from __future__ import annotations

import math

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, Universe, effects
from shifts.calibration.charge_yield import LARGEST_MAP, ChargeYield, ResidualYz, smooth_map
from shifts.calibration.residual_field import ResidualField
from shifts.calibration.residual_gain import ResidualGain
from shifts.calibration.residual_lifetime import ResidualLifetime
from shifts.readout.gain import Gain


@pytest.fixture
def cells(small, lattice):
    """One thousand cells all over the cube, in three events."""
    cell = torch.randperm(small.cells, generator=torch.Generator().manual_seed(5))[:1000].sort().values
    return lattice(small, cell, 1000.0 + torch.arange(1000), events=3)


def test_the_residual_scale_is_a_gain_without_threshold(cells):
    """At fixed support it equals the gain bit for bit; scales multiply."""
    after = ResidualGain().apply(cells, {"scale": 1.02}, Stream(1, "residual_gain"))
    gain = Gain().apply(cells, {"scale": 1.02, "spread": 0.0}, Stream(1, "gain"))
    assert torch.equal(after.electrons, gain.electrons)
    assert torch.equal(after.cell, cells.cell)


def test_it_brings_no_cell_over_the_threshold(deposits, small):
    """+1 sigma of the gain adds voxels; the same factor after the threshold keeps them, each 2% larger."""
    config = {"geometry": small.to_dict(), "allow_double_counting": True}
    made = Detector.from_config({**config, "effects": {"noise": {}, "gain": {}, "threshold": {}, "residual_gain": {}}})
    nominal = made.image(deposits)
    after, gain = (
        made.image(deposits, Universe("up", ((name, 1.0),))) for name in ("residual_gain_scale", "gain_scale")
    )
    assert torch.equal(after.cell, nominal.cell)
    torch.testing.assert_close(after.energy, 1.02 * nominal.energy, rtol=1e-6, atol=0)
    assert len(gain.cell) > len(nominal.cell)


def test_a_wrong_lifetime_is_the_ratio_of_two_corrections(cells, small):
    """exp(t / used) / exp(t / true): 1 at the anode, and the formula at every layer; rates add."""
    true, used = 6.0, 5.7
    rate = 1 / used - 1 / true
    after = ResidualLifetime().apply(cells, {"rate": rate}, Stream(1, "residual_lifetime"))
    time = small.layer_times()[cells.layer] * 1e-3
    expected = torch.exp(time / used) * torch.exp(-time / true)
    torch.testing.assert_close(after.electrons / cells.electrons, expected, rtol=1e-12, atol=0)
    assert float(small.layer_times()[0] * 1e-3 * rate) < 1e-4
    twice = ResidualLifetime().apply(after, {"rate": 0.01}, Stream(1, "residual_lifetime"))
    once = ResidualLifetime().apply(cells, {"rate": rate + 0.01}, Stream(1, "residual_lifetime"))
    torch.testing.assert_close(twice.electrons, once.electrons, rtol=1e-12, atol=0)


def test_one_sigma_of_the_rate_is_five_percent_of_the_lifetime(deposits, small):
    """Charge drifting with tau - 5%, and a correction that assumes it, differ from nominal by the same, to 5%."""
    config = {"geometry": small.to_dict(), "allow_double_counting": True}
    made = Detector.from_config({**config, "effects": {"lifetime": {}, "residual_lifetime": {}}})
    energy = [
        made.image(deposits, Universe("u", ((name, value),) if value else ())).energy.double().sum()
        for name, value in (("", 0.0), ("lifetime_tau", 1.0), ("residual_lifetime_rate", 1.0))
    ]
    assert float(energy[2] - energy[0]) == pytest.approx(float(energy[1] - energy[0]), rel=0.05)


def test_the_map_has_mean_zero_and_rms_one_over_the_anode():
    """Exactly so, in every throw, however fine the anode's pixels are; and it is smooth."""
    for throw in range(3):
        maps = []
        for pixels in (96, 192):
            side = (torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels
            y, z = side.repeat_interleave(pixels), side.repeat(pixels)
            maps.append(smooth_map(y, z, Stream(1, "residual_yz", throw)).reshape(pixels, pixels))
            assert float(maps[-1].mean()) == pytest.approx(0.0, abs=1e-12)
            assert float((maps[-1] ** 2).mean()) == pytest.approx(1.0, rel=1e-12)
            assert float(maps[-1].abs().max()) < LARGEST_MAP
            steepest = float(torch.stack([maps[-1].diff(dim=0).abs().max(), maps[-1].diff(dim=1).abs().max()]).max())
            assert steepest < 3 * math.pi * LARGEST_MAP / pixels
    assert pytest.approx(48.0) == LARGEST_MAP**2


def test_throws_differ_and_amplitudes_mirror(cells):
    effect = ResidualYz()
    up, down, other = (
        effect.apply(cells, {"amplitude": size}, Stream(1, "residual_yz", throw)).electrons
        for size, throw in ((0.01, 0), (-0.01, 0), (0.01, 1))
    )
    torch.testing.assert_close(up + down, 2 * cells.electrons, rtol=1e-12, atol=0)
    assert not torch.equal(up, other)
    ratio = up / cells.electrons
    for column in cells.channel[:5]:
        assert len(torch.unique(ratio[cells.channel == column].round(decimals=12))) == 1


def test_uniform_charge_keeps_its_mean(small, lattice):
    """A map of mean one leaves the mean of charge that is spread evenly over the anode, to 1e-12."""
    cells = lattice(small, 7 * small.channels + torch.arange(small.channels), 1000.0)
    after = ResidualYz().apply(cells, {"amplitude": 0.05}, Stream(1, "residual_yz", 2)).electrons
    assert float(after.mean()) == pytest.approx(1000.0, rel=1e-12)
    assert float(after.std(correction=0)) == pytest.approx(50.0, rel=1e-9)


def test_the_yield_acts_where_charge_arrives_and_its_map_would_correct_it(bare, deposits, small):
    """Deposits meet the yield at their y and z; the same map divides it out again."""
    charge = bare.prepare(deposits).charge
    stream = Stream(1, "charge_yield", 3)
    after = ChargeYield().apply(charge, {"amplitude": 0.02}, stream)
    place = charge.position.double() / 48.0
    expected = 1.0 + 0.02 * smooth_map(place[:, 1], place[:, 2], stream)
    torch.testing.assert_close(after.electrons / charge.electrons, expected, rtol=1e-12, atol=0)
    assert float((expected - 1).abs().max()) > 0.01


def test_a_field_that_is_assumed_too_strong_makes_energies_too_small(cells):
    """dlnR/dlnE = 0.09 at 2.1 MeV/cm: +1.7% of field, -0.15% of energy, everywhere the same."""
    after = ResidualField().apply(cells, {"scale": 0.017, "distortion": 0.0}, Stream(1, "residual_field"))
    ratio = after.electrons / cells.electrons
    assert float(ratio.max() / ratio.min()) == pytest.approx(1.0, abs=1e-14)
    assert float(torch.log(ratio[0]) / math.log(1.017)) == pytest.approx(-0.09, abs=0.005)


def test_space_charge_that_is_left_keeps_the_voltage(small, lattice):
    """The field is weaker at the anode and stronger at the cathode, with the same integral; R follows it."""
    cells = lattice(small, torch.arange(160) * small.channels, 1.0)
    values = {"scale": 0.0, "distortion": 0.02}
    ratio = ResidualField().apply(cells, values, Stream(1, "residual_field")).electrons
    assert bool((ratio.diff() > 0).all())
    slope = 0.095
    assert float(torch.log(ratio[0]) / slope) == pytest.approx(-0.02 / 3, rel=0.05)
    assert float(torch.log(ratio[-1]) / slope) == pytest.approx(0.02 * 2 / 3, rel=0.05)
    # Midpoints miss the integral of x^2 by 1 / 12 n^2.
    assert abs(float(torch.log(ratio).mean())) < 1e-5


@pytest.mark.parametrize(
    "nuisance", ["residual_gain_scale", "residual_lifetime_rate", "residual_field_scale", "residual_field_distortion"]
)
def test_exact_constants_leave_no_residual(deposits, small, nuisance):
    """Each voxel's energy comes back to 1e-6; the map over the anode is not one of the constants."""
    made = Detector("d", small, tuple(effects().get(nuisance.rpartition("_")[0])() for _ in range(1)))
    nominal = made.image(deposits).energy
    shifted = made.image(deposits, Universe("up", ((nuisance, 1.0),))).energy
    exact = made.image(deposits, Universe("up", ((nuisance, 1.0),), recalibrate="exact")).energy
    assert float((shifted / nominal - 1).abs().max()) > 5e-4
    torch.testing.assert_close(exact, nominal, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("residual_gain_scale", "gain_scale"),
        ("residual_gain_scale", "w_value_w"),
        ("residual_lifetime_rate", "lifetime_tau"),
        ("residual_field_scale", "residual_gain_scale"),
        ("residual_field_scale", "drift_field_scale"),
        ("residual_field_distortion", "space_charge_scale"),
        ("recombination_alpha", "residual_gain_scale"),
        ("recombination_alpha", "w_value_w"),
        ("residual_yz_amplitude", "charge_yield_amplitude"),
        ("threshold_level", "noise_enc"),
    ],
)
def test_two_nuisances_of_one_cause_are_refused(one, other):
    names = {name.rpartition("_")[0]: {} for name in (one, other)}
    with pytest.raises(ConfigError, match=rf"{one} and {other} are both uncertain"):
        Detector.from_config({"effects": names})
    made = Detector.from_config({"effects": names, "allow_double_counting": [f"{other}+{one}"]})
    assert {one, other} <= {nuisance.name for nuisance in made.nuisances}


def test_a_map_of_the_anode_needs_pixels():
    """A wire sees no y and z."""
    with pytest.raises(ConfigError, match="residual_yz is one of pixels"):
        Detector.from_config({"geometry": {"kind": "wires"}, "effects": {"residual_yz": {}}})
    assert Geometry().readout == "pixels"
