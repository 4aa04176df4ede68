"""Noisy channels: a frozen few with more noise; occupancy rises there and nowhere else."""

from __future__ import annotations

import pytest
import torch
from scipy import special

from shiftlab.detector import ConfigError, Detector, Stream, broken
from shifts.pathology.noisy_channels import NoisyChannels
from shifts.readout.noise import Noise

VALUES = {"fraction": 0.004, "enc": 866.0}
STREAM = Stream(1, "noisy_channels", 3)


def noisy(cells, **values):
    return NoisyChannels().apply(cells, {**VALUES, **values}, STREAM)


@pytest.fixture
def channels(small):
    """The noisy ones."""
    return torch.nonzero(broken(torch.arange(small.channels), 0.004, 1e-4, STREAM)).squeeze(1)


def test_noise_comes_to_all_cells_of_noisy_channels_only(small, lattice, channels):
    """Occupied or empty, all layers; mean 0 and the variance asked for; other cells keep every bit."""
    cells = lattice(small, torch.arange(0, small.cells, 97), 5000.0, events=3)
    after = noisy(cells)
    loud = torch.isin(after.channel, channels)
    assert int(loud.sum()) == 3 * 160 * len(channels)
    before = torch.isin(after.address, cells.address)
    assert bool((after.electrons[before & ~loud] == 5000.0).all())
    assert not bool((~before & ~loud).any())
    added = after.electrons[loud] - 5000.0 * before[loud]
    assert float(added.std()) == pytest.approx(866.0, rel=4 / (2 * len(added)) ** 0.5)
    assert abs(float(added.mean())) < 4 * 866.0 / len(added) ** 0.5


def test_occupancy_of_noisy_channels_is_that_of_the_summed_variance(small, lattice, channels):
    """Empty events: above 2500 e with sqrt(500^2 + 866^2) = 1000 e of noise, 0.62% of cells; elsewhere the usual."""
    cells = lattice(small, torch.arange(0), 0.0, events=12, floor=2500.0)
    quiet = Noise().apply(cells, {"enc": 500.0}, Stream(1, "noise"))
    after = Noise().apply(noisy(cells), {"enc": 500.0}, Stream(1, "noise"))
    loud = torch.isin(after.channel, channels)
    expected = 12 * 160 * len(channels) * special.ndtr(-2500.0 / (500.0**2 + 866.0**2) ** 0.5)
    assert int((after.electrons[loud] >= 2500.0).sum()) == pytest.approx(expected, abs=4 * expected**0.5)
    rest = quiet.keep(~torch.isin(quiet.channel, channels))
    assert torch.equal(after.address[~loud], rest.address)
    assert torch.equal(after.electrons[~loud], rest.electrons)


def test_the_noise_of_a_cell_is_the_same_for_any_fraction_and_charge(small, lattice):
    """Noisy channels nest in the fraction; strength multiplies one draw."""
    cells = lattice(small, torch.arange(100), 1000.0)
    few, many = noisy(cells, fraction=0.002), noisy(cells, fraction=0.006)
    assert bool(torch.isin(few.address, many.address).all())
    assert torch.equal(
        many.electrons[torch.isin(many.address, few.address)][:100],
        noisy(cells, fraction=0.006).electrons[torch.isin(many.address, few.address)][:100],
    )
    double = noisy(cells, enc=1732.0)
    start = torch.where(torch.isin(double.address, cells.address), 1000.0, 0.0)
    torch.testing.assert_close(double.electrons - start, 2 * (noisy(cells).electrons - start), rtol=1e-12, atol=1e-9)


def test_an_empty_batch_stays_empty(small, lattice):
    assert len(noisy(lattice(small, torch.arange(0), 0.0, events=0)).cell) == 0


def test_noise_that_fills_its_channels_is_refused():
    with pytest.raises(ConfigError, match="dead, not noisy"):
        Detector.from_config({"effects": {"noisy_channels": {"enc": 4000.0}, "threshold": {}}})


def test_more_noisy_cells_than_memory_holds_are_refused(lattice):
    detector = Detector.from_config({})
    cells = lattice(detector.geometry, torch.arange(0), 0.0, events=10)
    with pytest.raises(ConfigError, match=r"fraction = 0\.02 gives more than 50000000 noisy cells"):
        noisy(cells, fraction=0.02)
