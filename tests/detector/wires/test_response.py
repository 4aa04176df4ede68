"""Response of wires: integrals of the field response, the scaling of the shaper, and what signal processing undoes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import cold_electronics, field_current
from shiftlab.detector.wires.response import charge_taps, signal_taps

TIME = np.arange(-20.0, 20.0, 1e-3)
TRANSIT = 0.3 / 0.1563


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_a_collected_electron_induces_one_electron_and_a_passing_one_none(mix):
    assert field_current(TIME, TRANSIT, True, mix).sum() * 1e-3 == pytest.approx(1.0, abs=2e-3)
    assert field_current(TIME, TRANSIT, False, mix).sum() * 1e-3 == pytest.approx(0.0, abs=1e-6)


def test_induction_is_bipolar_and_collection_unipolar():
    induced = field_current(TIME, TRANSIT, False)
    assert induced[TIME < 0].min() == 0.0
    assert induced[TIME > 0].max() == 0.0
    assert field_current(TIME, TRANSIT, True).min() == 0.0


def test_the_alternative_field_response_is_another():
    """It rises slower and falls faster, so that the second lobe is the higher one."""
    other = field_current(TIME, TRANSIT, False, 1.0)
    assert -other.min() > 1.4 * other.max()


@given(st.floats(0.5, 2.0))
def test_a_stretch_keeps_the_area_and_moves_the_peak(stretch):
    """Area unchanged, peak over s, peak time times s."""
    time = np.arange(0.0, 30.0, 1e-3)
    plain = cold_electronics(time, 1.0, 2.0)
    wide = cold_electronics(time / stretch, 1.0 / stretch, 2.0)
    assert wide.sum() == pytest.approx(plain.sum(), rel=1e-3)
    assert wide.max() == pytest.approx(plain.max() / stretch, rel=1e-4)
    assert time[wide.argmax()] == pytest.approx(stretch * time[plain.argmax()], abs=2e-3)


@pytest.mark.parametrize("shaping", [0.5, 1.0, 2.0, 2.2, 3.0])
def test_the_shaper_peaks_at_its_gain(shaping):
    """Peak within 0.4% of the gain, 1.17 shaping times after the charge."""
    time = np.arange(0.0, 10.0, 1e-3)
    curve = cold_electronics(time, 14.0, shaping)
    assert curve.max() == pytest.approx(14.0, rel=4e-3)
    assert time[curve.argmax()] == pytest.approx(1.17 * shaping, rel=0.01)


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_waveforms_keep_the_integrals(stretch, mix):
    """The sum over ticks is the shaper's area for a collected electron at any stretch, and 0 for a passing one."""
    area = cold_electronics(np.arange(0.0, 10.0, 1e-3), 1.0, 2.0).sum() * 1e-3
    collected = signal_taps(0.5, TRANSIT, 2.0, True, stretch, mix)
    assert collected.weight.sum() * 0.5 == pytest.approx(area, rel=5e-3)
    assert signal_taps(0.5, TRANSIT, 2.0, False, stretch, mix).weight.sum() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("collection", [True, False])
def test_signal_processing_finds_the_charge_as_a_gaussian(collection):
    """Response and filter together: sum 1, centred on the charge, 1.14 us wide (0.14 MHz), nothing below -2%."""
    first, signal = signal_taps(0.5, TRANSIT, 2.0, collection)
    start, weight = charge_taps(0.5, TRANSIT, 2.0, collection)
    found = np.convolve(signal if collection else np.cumsum(signal), weight)
    tick = np.arange(len(found)) + first + start
    core = np.abs(tick) <= 8
    assert found.sum() == pytest.approx(1.0, rel=1e-9)
    assert (found * tick)[core].sum() == pytest.approx(0.0, abs=0.1)
    width = 0.5 * np.sqrt((found * tick**2)[core].sum() / found[core].sum())
    assert width == pytest.approx(1 / (2 * np.pi * 0.14), rel=0.05)
    assert found.min() > -0.02 * found.max()
