"""Gain: scaling at fixed support, and a channel map that is frozen per throw."""

from __future__ import annotations

import pytest
import torch

from shiftlab.detector import Stream, Universe, detector
from shifts.readout.gain import Gain


@pytest.fixture
def cells(bare, deposits, state):
    return state(Gain(), bare.prepare(deposits))


@pytest.mark.parametrize("gain", [0.5, 0.98, 1.02, 1.5])
def test_total_charge_scales_by_the_gain(cells, gain):
    """At fixed support the total charge scales by g in float64 to 1e-12, and no cell comes or goes."""
    after = Gain().apply(cells, {"scale": gain, "spread": 0.0}, Stream(1, "gain"))
    assert float(after.electrons.sum()) == pytest.approx(gain * float(cells.electrons.sum()), rel=1e-12)
    assert torch.equal(after.cell, cells.cell)


def test_the_map_belongs_to_the_channel_and_the_throw(cells):
    """Cells of one channel share their gain over events and drift; another throw is another map."""
    effect = Gain()
    one, two = (effect.apply(cells, {"scale": 1.0, "spread": 0.01}, Stream(1, "gain", throw)) for throw in (0, 1))
    ratio = one.electrons / cells.electrons
    for channel in cells.channel[:: max(len(cells.cell) // 50, 1)]:
        same = ratio[cells.channel == channel]
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-12, atol=0)
    assert not torch.equal(one.electrons, two.electrons)


def test_the_opposite_spread_mirrors_the_map(cells):
    """Gains at +a and -a average to one exactly, so that throws come in pairs."""
    up, down = (Gain().apply(cells, {"scale": 1.0, "spread": s}, Stream(1, "gain", 5)) for s in (0.01, -0.01))
    torch.testing.assert_close(up.electrons + down.electrons, 2 * cells.electrons, rtol=1e-12, atol=0)


def test_spread_of_a_whole_anode_is_the_prior(small):
    """Mean one and standard deviation 1% over the channels of a throw."""
    z = Stream(1, "gain", 3).normal("channel", torch.arange(small.channels), per_throw=True).double()
    assert abs(float(z.mean())) < 5 / small.channels**0.5
    assert float(z.std()) == pytest.approx(1.0, abs=0.02)


def test_threshold_makes_gain_more_than_a_scale(deposits):
    """With a threshold behind it, +2% gain brings new voxels in: the image moves by more than 2%."""
    chamber = detector("pixel_lar")
    ratio = chamber.image(deposits, Universe("up", (("gain_scale", 1.0),))).charge.sum()
    ratio = float(ratio / chamber.image(deposits).charge.sum())
    assert 1.02 < ratio < 1.04
