"""Threshold: hits fall with the level and what is kept stays as it was."""

from __future__ import annotations

import pytest
import torch
from scipy import special

from shiftlab.detector import ConfigError, Detector, Stream, detector
from shifts.readout.noise import Noise
from shifts.readout.threshold import Threshold


def test_kept_charge_is_unchanged_and_above_the_level(bare, deposits, state):
    cells = state(Threshold(), bare.prepare(deposits))
    last = len(cells.cell)
    for level in (500.0, 1000.0, 3000.0, 9000.0):
        after = Threshold().apply(cells, {"level": level}, Stream(1, "threshold"))
        assert len(after.cell) <= last
        last = len(after.cell)
        assert bool((after.electrons >= level).all())
        assert torch.equal(after.electrons, cells.electrons[torch.isin(cells.address, after.address)])


def test_a_threshold_below_four_times_the_noise_is_refused():
    """With 500 e of noise the lowest threshold is 2000 e; the message names both."""
    effects = {effect.name: {} for effect in detector("pixel_lar").effects}
    config = {"allow_double_counting": True}
    Detector.from_config({**config, "effects": {**effects, "threshold": {"level": 2000.0}}})
    with pytest.raises(ConfigError, match=r"threshold.*below 4 times the noise of 500 e"):
        Detector.from_config({**config, "effects": {**effects, "threshold": {"level": 1999.0}}})


def test_no_threshold_needs_no_noise_limit():
    """Without a threshold nothing is cut, so that noise of any size is allowed."""
    Detector.from_config({"effects": {"noise": {"enc": 900.0}}})


def test_turn_on_with_noise_is_an_error_function(small, lattice):
    """A cell with charge q passes with probability Phi((q - T) / ENC): within 4 binomial errors at every charge."""
    charge = torch.linspace(1500.0, 4500.0, 13, dtype=torch.float64)
    cell = torch.arange(13 * 8000)
    cells = lattice(small, cell, charge.repeat(8000), floor=3000.0)
    noisy = Noise().apply(cells, {"enc": 500.0}, Stream(1, "noise"))
    after = Threshold().apply(noisy, {"level": 3000.0}, Stream(1, "threshold"))
    kept = torch.bincount(after.cell[after.cell < len(cell)] % 13, minlength=13) / 8000
    expected = torch.from_numpy(special.ndtr((charge.numpy() - 3000.0) / 500.0))
    error = (expected * (1 - expected) / 8000).sqrt() + 1e-4
    assert bool(((kept - expected).abs() < 4 * error).all())
