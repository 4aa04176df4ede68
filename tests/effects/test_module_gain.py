"""Gain of modules and of periods: a factor for each part, the others bit for bit as they were."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, Stream
from shifts.readout.gain_drift import GainDrift
from shifts.readout.module_gain import ModuleGain, module_of

ONES = {f"factor_{index}": 1.0 for index in (1, 2, 3, 4)}
STREAM = Stream(1, "module_gain")


@pytest.fixture
def cells(small, lattice):
    generator = torch.Generator().manual_seed(3)
    cell = torch.randperm(small.cells, generator=generator)[:4000].sort().values
    return lattice(small, cell, 1e4 * torch.rand(4000, generator=generator, dtype=torch.float64), events=3)


@pytest.mark.parametrize("modules", [1, 2, 3, 4])
def test_modules_share_the_anode_along_z(small, modules):
    """As equally as whole pixels allow, one behind the other; y does not matter."""
    module = module_of(torch.arange(small.channels), 160, float(modules)).reshape(160, 160)
    assert bool((module == module[0]).all())
    assert bool((module[0].diff() >= 0).all())
    count = torch.bincount(module[0])
    assert len(count) == modules
    assert int(count.max() - count.min()) <= 1


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_one_module_moves_and_the_others_keep_every_bit(cells, index):
    """Charge in the module scales by its factor to 1e-12 in sum; all else is equal bit for bit."""
    values = {**ONES, f"factor_{index}": 1.013, "modules": 4.0}
    after = ModuleGain().apply(cells, values, STREAM)
    inside = cells.channel % 160 // 40 == index - 1
    assert torch.equal(after.electrons[~inside], cells.electrons[~inside])
    assert float(after.electrons[inside].sum()) == pytest.approx(
        1.013 * float(cells.electrons[inside].sum()), rel=1e-12
    )


def test_factors_of_modules_multiply(cells):
    first, second = ({**ONES, "factor_2": factor, "modules": 4.0} for factor in (1.1, 0.8))
    both = ModuleGain().apply(ModuleGain().apply(cells, first, STREAM), second, STREAM)
    product = ModuleGain().apply(cells, {**ONES, "factor_2": 1.1 * 0.8, "modules": 4.0}, STREAM)
    torch.testing.assert_close(both.electrons, product.electrons, rtol=1e-12, atol=0)


def test_a_detector_of_two_modules_has_two_nuisances(small):
    """Each module is a nuisance of its own: gains of modules are independent."""
    made = Detector.from_config({"effects": {"module_gain": {"modules": 2}}})
    assert [nuisance.name for nuisance in made.nuisances] == ["module_gain_factor_1", "module_gain_factor_2"]


def test_modules_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="factor_3 is given, but there are only 2 modules"):
        Detector.from_config({"effects": {"module_gain": {"modules": 2, "factor_3": {"sigma": 0.01}}}})
    with pytest.raises(ConfigError, match="not a whole number"):
        Detector.from_config({"effects": {"module_gain": {"modules": 2.5}}})
    with pytest.raises(ConfigError, match=r"modules.*outside \[1, 4\]"):
        Detector.from_config({"effects": {"module_gain": {"modules": 5}}})


def test_periods_are_the_same_in_every_throw_and_their_gains_are_not(small, lattice):
    """All charge of an event, and all events of a period, have one gain; spread and mean are those of the prior."""
    cells = lattice(small, torch.arange(20), 1000.0, events=2000)
    values = {"spread": 0.01, "periods": 400.0}
    gains = []
    for throw in (0, 1):
        gain = (GainDrift().apply(cells, values, Stream(1, "gain_drift", throw)).electrons / 1000.0).reshape(2000, 20)
        assert bool((gain == gain[:, :1]).all())
        gains.append(gain[:, 0])
    levels, groups = torch.unique(gains[0], return_inverse=True)
    assert 380 <= len(levels) <= 400
    for group in range(20):
        assert len(gains[1][groups == group].unique()) == 1
    assert not torch.equal(*gains)
    assert float(levels.std()) == pytest.approx(0.01, rel=0.15)
    assert float(levels.mean()) == pytest.approx(1.0, abs=4 * 0.01 / 20)


def test_one_period_is_a_common_gain(small, lattice):
    cells = lattice(small, torch.arange(20), 1000.0, events=50)
    after = GainDrift().apply(cells, {"spread": 0.01, "periods": 1.0}, Stream(1, "gain_drift"))
    assert len(after.electrons.unique()) == 1


def test_opposite_drifts_mirror_and_whole_periods_are_asked_for(small, lattice):
    cells = lattice(small, torch.arange(20), 1000.0, events=50)
    up, down = (
        GainDrift().apply(cells, {"spread": spread, "periods": 8.0}, Stream(1, "gain_drift"))
        for spread in (0.02, -0.02)
    )
    torch.testing.assert_close(up.electrons + down.electrons, 2 * cells.electrons, rtol=1e-12, atol=0)
    with pytest.raises(ConfigError, match=r"periods = 2\.5"):
        Detector.from_config({"effects": {"gain_drift": {"periods": 2.5}}})
    assert replace(GainDrift.parameters[0], nominal=0.0).two_sided
