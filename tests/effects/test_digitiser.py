"""Pedestal, nonlinearity, ceiling, whole codes and sticky ones: each against what a digitiser must do."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import NOMINAL, ConfigError, Detector, Stream
from shifts.pathology.sticky_codes import StickyCodes, stick
from shifts.readout.noise import Noise
from shifts.readout.nonlinearity import Nonlinearity, bend, unbend
from shifts.readout.pedestal import Pedestal
from shifts.readout.quantisation import AdcDigitize, Quantisation, adc_code
from shifts.readout.saturation import Saturation

TABLE = Path(__file__).parent.parent / "oracles" / "adc_digitize.csv"
LARPIX = {"step": 941.5, "bits": 8.0, "pedestal": 24.0}
CHARGE = torch.linspace(-4e4, 4e5, 40_001, dtype=torch.float64)

charges = st.lists(st.floats(-1e5, 1e6), min_size=1, max_size=30).map(lambda x: torch.tensor(x, dtype=torch.float64))


@pytest.fixture
def cells(small, lattice):
    return lattice(small, torch.arange(len(CHARGE)), CHARGE)


def test_codes_are_those_of_wirecell_and_larndsim():
    """All 38 codes of two digitisers, rounded down and to the nearest, exactly."""
    with TABLE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    (difference,) = AdcDigitize().compare(table)
    assert (difference.rows, difference.worst) == (len(rows), 0.0)
    assert len(rows) == 38


def test_larpix_codes_of_fifty_thousand_electrons():
    """Published points: 124 with the settings of module 0, 77 with those of the 2x2."""
    for gain, pedestal, low, high, code in ((0.004, 580.0, 288.0, 1300.0, 124), (0.004522, 580.0, 478.1, 1568.0, 77)):
        signal = torch.tensor([5e4 * gain + pedestal], dtype=torch.float64)
        assert int(adc_code(signal, low, high, 256, 8)) == code


def quantised(charge, **values):
    return Quantisation().apply(charge, {**LARPIX, **values}, Stream(1, "quantisation"))


def test_recorded_charge_is_a_whole_code_within_half_a_step(cells):
    """Whole, monotone, at most half a step off in range, and at the ends outside it."""
    after = quantised(cells).electrons
    code = after / 941.5 + 24.0
    torch.testing.assert_close(code, torch.round(code), rtol=0, atol=1e-9)
    assert float(code.min()) == pytest.approx(0.0, abs=1e-9)
    assert float(code.max()) == pytest.approx(255.0, abs=1e-9)
    assert bool((after.diff() >= 0).all())
    inside = (CHARGE >= -24 * 941.5) & (CHARGE <= 231 * 941.5)
    assert float((after - CHARGE)[inside].abs().max()) <= 941.5 / 2


def test_no_charge_stays_no_charge(small, lattice):
    """Empty cells are the pedestal's code, so that none of them has to be made up."""
    assert quantised(lattice(small, torch.arange(3), 0.0)).electrons.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("step", [0.3, 182.0, 941.5, 20_000.0])
def test_digitising_what_was_digitised_changes_no_bit(cells, step):
    once = quantised(cells, step=step)
    assert torch.equal(quantised(once, step=step).electrons, once.electrons)


def test_no_step_is_no_digitiser_and_more_bits_reach_further(cells):
    assert torch.equal(quantised(cells, step=0.0).electrons, CHARGE)
    assert float(quantised(cells, bits=12.0).electrons.max()) == pytest.approx(4e5, abs=941.5)


def test_a_digitiser_that_cannot_be_is_refused():
    for values, message in (
        ({"bits": 7.5}, "bits = 7.5 is not a whole"),
        ({"pedestal": 256}, "pedestal = 256 is beyond the last code of 8 bits"),
        ({"step": -1.0}, "step"),
    ):
        with pytest.raises(ConfigError, match=message):
            Detector.from_config({"effects": {"quantisation": values}})


@given(charge=charges, ceiling=st.floats(1e3, 1e6))
def test_saturation_is_a_ceiling(small, lattice, charge, ceiling):
    """Nothing above it; below it every bit as it was; twice is once; monotone."""
    cells = lattice(small, torch.arange(len(charge)), charge)
    once = Saturation().apply(cells, {"ceiling": ceiling}, Stream(1, "saturation"))
    assert bool((once.electrons <= ceiling).all())
    assert torch.equal(once.electrons[charge <= ceiling], charge[charge <= ceiling])
    assert torch.equal(Saturation().apply(once, {"ceiling": ceiling}, Stream(1, "s")).electrons, once.electrons)
    order = torch.argsort(charge)
    assert bool((once.electrons[order].diff() >= 0).all())


@given(charge=charges, bending=st.floats(-0.25, 0.25))
def test_nonlinearity_is_monotone_and_can_be_undone(charge, bending):
    """In bounds the derivative is positive and 0 is fixed; the inverse returns the charge to 1e-9."""
    after = bend(charge, bending, 217_500.0)
    torch.testing.assert_close(unbend(after, bending, 217_500.0), charge, rtol=1e-9, atol=1e-9)
    order = torch.argsort(charge)
    apart = charge[order].diff() > 1e-6
    assert bool((after[order].diff()[apart] > 0).all())


def test_nonlinearity_at_full_scale(cells):
    """+1 sigma makes the charge at full scale 1% larger, half of it 0.5%, and small signals not at all."""
    points = torch.tensor([-500.0, 0.0, 2175.0, 108_750.0, 217_500.0, 4e5], dtype=torch.float64)
    ratio = bend(points, 0.01, 217_500.0) / points
    assert ratio[[0, 2, 3, 4, 5]].tolist() == pytest.approx([1.0, 1.0001, 1.005, 1.01, 1.01], rel=1e-12)
    after = Nonlinearity().apply(cells, {"bending": 0.0, "full_scale": 217_500.0}, Stream(1, "nonlinearity"))
    assert torch.equal(after.electrons, CHARGE)


def test_a_pedestal_moves_the_baseline_and_can_be_taken_off(cells):
    """One number for all cells; subtracting it gives the charge back; two add."""

    def offset(cells, value):
        return Pedestal().apply(cells, {"offset": value, "spread": 0.0}, Stream(1, "pedestal"))

    after = offset(cells, 94.0)
    torch.testing.assert_close(after.electrons - cells.electrons, torch.full_like(CHARGE, 94.0), rtol=0, atol=1e-9)
    torch.testing.assert_close(offset(after, -94.0).electrons, CHARGE, rtol=0, atol=1e-9)
    torch.testing.assert_close(offset(after, 6.0).electrons, offset(cells, 100.0).electrons, rtol=0, atol=1e-9)


def test_the_pedestals_of_channels_are_frozen(small, lattice):
    """Mean 0 and spread sigma over channels, the same in all events and layers of a throw."""
    cells = lattice(small, torch.arange(2 * small.channels), 0.0, events=2)
    after = Pedestal().apply(cells, {"offset": 0.0, "spread": 94.0}, Stream(1, "pedestal", 4)).electrons
    maps = after.reshape(4, small.channels)
    assert bool((maps == maps[0]).all())
    assert float(maps[0].std()) == pytest.approx(94.0, rel=0.02)
    assert abs(float(maps[0].mean())) < 4 * 94.0 / small.channels**0.5


def test_a_pedestal_shifts_the_occupancy_of_empty_cells(small, lattice):
    """Noise-only hits above T with an offset p are those above T - p without: the tail moves, no cell is forgotten."""
    config = {"noise": {}, "threshold": {"level": 2200.0}}
    made = [
        Detector.from_config({"effects": {**config, **more}, "allow_double_counting": True, "seed": 5})
        for more in ({}, {"pedestal": {"offset": {"nominal": 150.0, "sigma": 0}, "spread": {"sigma": 0}}})
    ]
    cells = lattice(small, torch.arange(0), 0.0, events=20)
    images = []
    for detector in made:
        state = replace(cells, floor=torch.full((20,), 2200.0 if detector is made[0] else 2050.0, dtype=torch.float64))
        for effect in detector.effects:
            values = detector.values(NOMINAL)[effect.name]
            state = effect.apply(state, values, Stream(5, effect.name))
        images.append(state)
    plain = Noise().apply(
        replace(cells, floor=torch.full_like(cells.floor, 2050.0)), {"enc": 500.0}, Stream(5, "noise")
    )
    assert torch.equal(images[1].address, plain.address)
    assert len(images[0].cell) < len(images[1].cell)
    torch.testing.assert_close(images[1].electrons, plain.electrons + 150.0, rtol=0, atol=1e-9)


def test_an_offset_above_the_threshold_is_refused():
    with pytest.raises(ConfigError, match="pedestal: offset = 3500"):
        Detector.from_config({"effects": {"pedestal": {"offset": 3500.0}, "threshold": {}}})


def test_sticky_codes_end_in_zeros_or_ones():
    """Codes stick at 0 or 63 modulo 64 of their own block, negative ones too; sticking again changes nothing."""
    code = torch.arange(-200, 5000, dtype=torch.float64)
    stuck = stick(code)
    assert bool(torch.isin(stuck % 64, torch.tensor([0.0, 63.0], dtype=torch.float64)).all())
    assert bool((torch.floor(stuck / 64) == torch.floor(code / 64)).all())
    assert float((stuck - code).abs().max()) == 31
    assert torch.equal(stick(stuck), stuck)


def test_sticking_codes_show_an_excess_at_the_ends_of_blocks(small, lattice):
    """Of uniform codes, 2/64 end in 0 or 63; with probability p it is p + (1 - p) / 32, within 4 binomial errors."""
    count, chance = 60_000, 0.2
    charge = (torch.arange(count) % 4096).to(torch.float64) * 182.0
    cells = lattice(small, torch.arange(count), charge)
    values = {"probability": chance, "step": 182.0}
    after = StickyCodes().apply(cells, values, Stream(1, "sticky_codes")).electrons
    ends = torch.isin(torch.round(after / 182.0) % 64, torch.tensor([0.0, 63.0], dtype=torch.float64))
    expected = chance + (1 - chance) / 32
    assert float(ends.double().mean()) == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / count))
    kept = after == charge
    assert bool((ends | kept).all())
    less = StickyCodes().apply(cells, {**values, "probability": 0.1}, Stream(1, "sticky_codes")).electrons
    assert bool((kept <= (less == charge)).all())


def test_an_empty_cell_stays_empty_when_it_sticks(small, lattice):
    """Nothing, and noise up to half a block, sticks at the pedestal."""
    cells = lattice(small, torch.arange(3), torch.tensor([0.0, 1500.0, 5700.0]))
    after = StickyCodes().apply(cells, {"probability": 1.0, "step": 182.0}, Stream(1, "sticky_codes"))
    assert after.electrons.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("effect", [Quantisation(), StickyCodes(), Nonlinearity(), Saturation(), Pedestal()])
@pytest.mark.parametrize("level", [100.0, 3000.0, 5800.0, 11_500.0, 11_640.0, 11_700.0, 50_000.0])
def test_all_charge_that_reaches_a_level_is_announced(small, lattice, effect, level):
    """``least`` is not above any charge that ends at the level or higher, and is the smallest of them.

    Some codes stick and others do not: at half probability both are among the cells of a level.
    """
    values = {parameter.name: parameter.nominal for parameter in effect.parameters} | {"probability": 0.5}
    values |= {"bending": -0.2, "offset": -300.0} if effect.name in ("nonlinearity", "pedestal") else {}
    charge = torch.arange(0.0, 80_000.0, 2.0, dtype=torch.float64)
    after = effect.apply(lattice(small, torch.arange(len(charge)), charge), values, Stream(1, effect.name)).electrons
    least = effect.least(level, values)
    smallest = float(charge[after >= level].min())
    assert least <= smallest
    assert smallest - least < 20.0
