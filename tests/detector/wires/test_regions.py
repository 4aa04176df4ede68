"""Regions of interest: filters do not see what lies beside them, and charge comes back through the whole chain."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Electronics, Taps, filtered, in_groups, regions

module = importlib.import_module("shiftlab.detector.wires.regions")


@given(st.integers(-6, 6), st.lists(st.floats(-2, 2), min_size=1, max_size=9), st.integers(1, 60), st.integers(0, 9))
def test_a_filter_is_a_convolution_wherever_it_is_done(first, weight, size, shift):
    """It meets NumPy's, and a buffer that starts elsewhere gives the same bits."""
    signal = torch.from_numpy(np.random.default_rng(size).normal(size=size))
    taps = Taps(first, np.array(weight))
    expected = np.zeros(size)
    full = np.convolve(signal.numpy(), taps.weight)
    for i in range(size):
        if 0 <= i - first < len(full):
            expected[i] = full[i - first]
    found = filtered(signal, taps)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
    moved = filtered(torch.cat([torch.zeros(shift, dtype=torch.float64), signal]), taps)
    assert torch.equal(moved[shift:], found)


def test_long_buffers_are_filtered_in_blocks_without_a_seam():
    signal = torch.randn(3 * module._BLOCK + 17, dtype=torch.float64)
    taps = Taps(-2, np.array([0.3, -0.2, 1.0, 0.1]))
    whole = filtered(signal, taps)
    for cut in (module._BLOCK - 3, module._BLOCK, 2 * module._BLOCK + 1):
        assert torch.equal(filtered(signal[cut - 5 : cut + 5], taps)[2:-2], whole[cut - 3 : cut + 3])


def test_runs_hold_every_row_once(collected):
    """Laid out and taken back, values are the same; widened runs of one wire and event do not overlap."""
    for before, after, gap in ((0, 0, 0), (7, 15, 0), (0, 0, 30)):
        runs = regions(collected, before=before, after=after, gap=gap)
        assert torch.equal(runs.taken(runs.laid(collected.electrons)), collected.electrons)
        same = (runs.channel[1:] == runs.channel[:-1]) & (runs.event[1:] == runs.event[:-1])
        assert bool((runs.first[1:] > (runs.first + runs.length)[:-1])[same].all())
        assert bool((runs.first >= 0).all())
        assert bool((runs.first + runs.length <= collected.geometry.shape[0]).all())


def test_waveforms_are_bipolar_on_induction_planes_and_sum_to_nothing(collected, plane_of):
    waveforms = collected.geometry.convolve(collected)
    assert bool((waveforms.address[1:] > waveforms.address[:-1]).all())
    plane = plane_of(waveforms)
    total = float(collected.electrons.sum()) / 3
    for one in range(2):
        assert abs(float(waveforms.electrons[plane == one].sum())) < 1e-3 * total
        assert float(waveforms.electrons[plane == one].min()) < -0.3 * float(waveforms.electrons[plane == one].max())
    assert float(waveforms.electrons[plane == 2].min()) > -1e-3 * float(waveforms.electrons[plane == 2].max())


def test_signal_processing_returns_the_charge_of_every_plane(collected, plane_of):
    """Without noise and threshold: within 1% a plane, and unipolar to 3% of the largest sample."""
    found = collected.geometry.deconvolve(collected.geometry.convolve(collected))
    total = float(collected.electrons.sum()) / 3
    plane = plane_of(found)
    for one in range(3):
        samples = found.electrons[plane == one]
        assert float(samples.sum()) == pytest.approx(total, rel=0.01)
        assert float(samples.min()) > -0.03 * float(samples.max())


@pytest.mark.parametrize("stretch", [0.7, 1.3])
def test_stretched_shaping_keeps_the_charge_of_the_collection_plane(collected, stretch, plane_of):
    """Area unchanged wire by wire, peaks lower where it is longer."""
    nominal = collected.geometry.convolve(collected)
    other = collected.geometry.convolve(replace(collected, electronics=Electronics(stretch=stretch)))

    def of_wires(cells):
        last = plane_of(cells) == 2
        return torch.zeros(cells.geometry.channels, dtype=torch.float64).index_add(
            0, cells.channel[last], cells.electrons[last]
        )

    before, after = of_wires(nominal), of_wires(other)
    busy = before > 1e4
    torch.testing.assert_close(after[busy], before[busy], rtol=0.01, atol=0.0)
    assert (float(other.electrons.max()) < float(nominal.electrons.max())) is (stretch > 1)


def test_each_event_has_its_own_response(collected):
    """A value per event: an event with the nominal response keeps its bits beside events with another."""
    stretch = torch.tensor([1.0, 1.3, 1.0, 0.8], dtype=torch.float64)
    mixed = collected.geometry.convolve(replace(collected, electronics=Electronics(stretch=stretch)))
    nominal = collected.geometry.convolve(collected)
    for event, same in enumerate((True, False, True, False)):
        parts = [cells.keep(cells.event == event) for cells in (mixed, nominal)]
        shared = torch.isin(parts[0].address, parts[1].address)
        inner = parts[0].keep(shared)
        other = parts[1].keep(torch.isin(parts[1].address, inner.address))
        assert torch.equal(inner.electrons, other.electrons) is same


def test_batch_and_groups_change_no_bit(collected, monkeypatch):
    geometry = collected.geometry
    whole = geometry.deconvolve(geometry.convolve(collected))
    monkeypatch.setattr(module, "_GROUP", 10)
    grouped = geometry.deconvolve(geometry.convolve(collected))
    assert torch.equal(whole.address, grouped.address)
    assert torch.equal(whole.electrons, grouped.electrons)
    for event in range(4):
        alone = geometry.deconvolve(geometry.convolve(collected.keep(collected.event == event)))
        assert torch.equal(alone.electrons, whole.electrons[whole.event == event])


def test_events_without_charge_make_no_samples(collected):
    nothing = collected.keep(collected.event < 0)
    assert len(collected.geometry.deconvolve(collected.geometry.convolve(nothing)).cell) == 0
    assert len(in_groups(nothing, lambda cells: cells).cell) == 0
