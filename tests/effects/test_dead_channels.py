"""Dead read-out: a known map of 1%, and masks that nest in the fraction on both sides of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from shiftlab.detector import Geometry, Stream, broken, detector
from shifts.pathology.dead_channels import DeadChannels, DeadChips

PARTS = torch.arange(200_000)


def mask(fraction: float, throw: int = 0) -> torch.Tensor:
    return broken(PARTS, fraction, 0.007, Stream(1, "dead_channels", throw))


@pytest.mark.parametrize("fraction", [0.0, 0.002, 0.007, 0.0097, 0.05, 1.0])
def test_the_fraction_is_met(fraction):
    """The broken fraction is the one asked for, within the binomial error."""
    error = (fraction * (1 - fraction) / len(PARTS)) ** 0.5
    assert float(mask(fraction).double().mean()) == pytest.approx(fraction, abs=4 * error + 1e-12)


def test_masks_nest_on_both_sides_of_the_known_map():
    """What is broken at a smaller fraction is broken at every larger one."""
    masks = [mask(fraction) for fraction in (0.0, 0.002, 0.0043, 0.007, 0.0097, 0.03)]
    for less, more in pairwise(masks):
        assert bool((more | ~less).all())
        assert int(more.sum()) > int(less.sum())


def test_the_known_map_is_the_same_in_every_throw_and_the_rest_is_not():
    """Throws change what is unknown: the excess, or which known channels work after all."""
    assert torch.equal(mask(0.007, 0), mask(0.007, 9))
    assert not torch.equal(mask(0.0097, 0), mask(0.0097, 9))
    assert not torch.equal(mask(0.0043, 0), mask(0.0043, 9))


def test_no_dead_part_at_zero_and_none_alive_at_one():
    assert not bool(mask(0.0).any())
    assert bool(mask(1.0).all())


def test_a_chip_is_a_square_of_64_channels():
    geometry = Geometry()
    chips = geometry.chip_of(torch.arange(geometry.channels))
    assert torch.equal(torch.bincount(chips), torch.full((96 * 96,), 64))
    members = torch.nonzero(chips == 97).squeeze(1)
    y, z = members // 768, members % 768
    assert (int(y.min()), int(y.max()), int(z.min()), int(z.max())) == (8, 15, 8, 15)


def test_channels_of_a_chip_die_together(bare, deposits, state):
    """At half of all chips dead, each chip's cells are all kept or all gone."""
    cells = state(DeadChips(), bare.prepare(deposits))
    after = DeadChips().apply(cells, {"fraction": 0.5}, Stream(1, "dead_chips"))
    before, left = (cells.geometry.chip_of(part.channel) for part in (cells, after))
    for chip in before.unique():
        assert int((left == chip).sum()) in (0, int((before == chip).sum()))


def test_nominal_map_is_one_percent_in_total():
    fractions = [n.parameter.nominal for n in detector("pixel_lar").nuisances if n.effect.startswith("dead")]
    assert sum(fractions) == pytest.approx(0.01)


@pytest.mark.parametrize("kind", [DeadChannels, DeadChips])
def test_the_lost_charge_is_that_of_the_masked_channels(bare, deposits, state, kind):
    """What is left keeps its bits; a masked channel is silent in every event and layer, and only masked ones are."""
    cells = state(kind(), bare.prepare(deposits))
    stream = Stream(1, kind.name)
    after = kind().apply(cells, {"fraction": 0.3}, stream)
    part = cells.channel if kind is DeadChannels else cells.geometry.chip_of(cells.channel)
    masked = broken(part, 0.3, kind().parameter("fraction").nominal, stream)
    assert 0.1 < float(masked.double().mean()) < 0.6
    assert torch.equal(after.electrons, cells.electrons[~masked])
    assert torch.equal(after.cell, cells.cell[~masked])
    lost = float(cells.electrons.sum() - after.electrons.sum())
    assert lost == pytest.approx(float(cells.electrons[masked].sum()), rel=1e-12)
    assert not bool(torch.isin(after.channel, cells.channel[masked]).any())
