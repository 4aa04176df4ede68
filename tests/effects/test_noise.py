"""Noise: a fluctuation of the lattice cell, not of the charge in it, and the tail of all the empty cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy import special, stats

from shiftlab.detector import ConfigError, Stream
from shifts.readout.noise import LOWEST_Z, Noise, noise_maxima

STREAM = Stream(1, "noise")


@pytest.fixture
def cells(bare, deposits, state):
    return state(Noise(), bare.prepare(deposits))


def occupied(after, before):
    return after.electrons[torch.isin(after.address, before.address)]


def test_noise_of_a_cell_ignores_its_charge(cells):
    """The fluctuation has standard deviation ENC and is the same whatever charge the cell holds."""
    added = occupied(Noise().apply(cells, {"enc": 500.0}, STREAM), cells) - cells.electrons
    empty = cells.with_electrons(torch.zeros_like(cells.electrons))
    alone = occupied(Noise().apply(empty, {"enc": 500.0}, STREAM), cells)
    torch.testing.assert_close(added, alone, rtol=0, atol=1e-9)
    assert float(alone.std()) == pytest.approx(500.0, rel=0.05)
    assert abs(float(alone.mean())) < 5 * 500.0 / len(alone) ** 0.5


def test_noise_only_cells_are_the_same_list_for_every_image_and_strength(cells):
    """A larger noise lengthens the list and scales it; the image takes away only cells that it occupies."""
    weak, strong = (Noise().apply(cells, {"enc": enc}, STREAM) for enc in (400.0, 500.0))
    weak, strong = (part.keep(~torch.isin(part.address, cells.address)) for part in (weak, strong))
    assert torch.equal(weak.address, strong.address)
    torch.testing.assert_close(weak.electrons * 1.25, strong.electrons, rtol=1e-12, atol=0)
    high = replace(cells, floor=torch.full_like(cells.floor, 2000.0))
    short, long = (Noise().apply(high, {"enc": enc}, STREAM) for enc in (400.0, 500.0))
    short, long = (part.keep(~torch.isin(part.address, cells.address)) for part in (short, long))
    assert len(short.cell) < len(long.cell)
    assert bool(torch.isin(short.address, long.address).all())
    assert bool((short.electrons >= 2000.0).all())


def test_list_of_maxima_is_nested(small):
    """A list that ends higher is the beginning of one that ends lower."""
    keys = torch.tensor([5, 6, 7])
    event, cell, z = noise_maxima(keys, small.cells, 3.5, STREAM)
    high_event, high_cell, high_z = noise_maxima(keys, small.cells, 4.5, STREAM)
    keep = z >= 4.5
    assert torch.equal(event[keep], high_event)
    assert torch.equal(cell[keep], high_cell)
    assert torch.equal(z[keep], high_z)
    for index in range(3):
        assert bool((z[event == index].diff() <= 0).all())


def test_number_and_height_of_noise_only_cells_follow_the_normal_tail(small):
    """Poisson counts with the mean that the lattice's cells give, and tail probabilities that are uniform."""
    keys = torch.arange(400) * 7919
    event, cell, z = noise_maxima(keys, small.cells, 4.0, STREAM)
    expected = small.cells * special.ndtr(-4.0)
    counts = torch.bincount(event, minlength=400).double()
    assert float(counts.mean()) == pytest.approx(expected, abs=4 * (expected / 400) ** 0.5)
    assert float(counts.var()) == pytest.approx(expected, rel=0.3)
    tail = special.ndtr(-z.numpy()) / special.ndtr(-4.0)
    assert stats.kstest(tail, "uniform").pvalue > 1e-3
    assert stats.kstest(cell.numpy() / small.cells, "uniform").pvalue > 1e-3


def test_an_empty_event_still_has_noise(cells):
    """Event 1 holds nothing, and its lattice fluctuates all the same."""
    after = Noise().apply(cells, {"enc": 500.0}, STREAM)
    assert not bool((cells.event == 1).any())
    assert bool((after.event == 1).any())


def test_cells_below_the_floor_are_left_out(cells):
    """What can no longer pass the threshold is not carried along; the others are the same bit for bit."""
    whole = Noise().apply(cells, {"enc": 500.0}, STREAM)
    cut = Noise().apply(replace(cells, floor=torch.full_like(cells.floor, 2500.0)), {"enc": 500.0}, STREAM)
    kept = whole.keep(whole.electrons >= 2500.0)
    assert torch.equal(cut.address, kept.address)
    assert torch.equal(cut.electrons, kept.electrons)


def test_noise_that_would_fill_the_lattice_is_refused(cells):
    low = replace(cells, floor=torch.full_like(cells.floor, 1000.0))
    with pytest.raises(ConfigError, match=f"{LOWEST_Z} times the noise"):
        Noise().apply(low, {"enc": 500.0}, STREAM)


def test_noise_is_white(small, lattice):
    """Mean 0, variance ENC^2, and no correlation between neighbours in time or pixel, or between events."""
    cells = lattice(small, torch.arange(8 * small.channels), 0.0, events=2)
    after = Noise().apply(cells, {"enc": 500.0}, STREAM)
    noise = occupied(after, cells).reshape(2, 8, 160, 160) / 500.0
    count = noise.numel()
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert float(noise.var()) == pytest.approx(1.0, abs=4 * (2 / count) ** 0.5)
    for axis in range(4):
        length = noise.shape[axis] - 1
        product = noise.narrow(axis, 0, length) * noise.narrow(axis, 1, length)
        assert abs(float(product.mean())) < 4 / product.numel() ** 0.5


def test_variances_of_independent_noise_add(small, lattice):
    """Noise of two seeds one after the other has the variance of both: 300^2 + 400^2 = 500^2."""
    cells = lattice(small, torch.arange(2 * small.channels), 0.0)
    first = occupied(Noise().apply(cells, {"enc": 300.0}, STREAM), cells)
    second = occupied(Noise().apply(cells.with_electrons(first), {"enc": 400.0}, Stream(2, "noise")), cells)
    assert float(second.std()) == pytest.approx(500.0, rel=4 / (2 * len(second)) ** 0.5)
