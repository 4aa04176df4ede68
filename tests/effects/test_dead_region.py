"""Dead region: nothing comes from inside the strip, everything from outside, and a part from pixels on its edge."""

from __future__ import annotations

import pytest
import torch

from shiftlab.detector import Detector, Stream
from shifts.pathology.dead_region import DeadRegion


def cut(cells, width, centre=0.0, axis=0.0):
    return DeadRegion().apply(cells, {"width": width, "centre": centre, "axis": axis}, Stream(1, "dead_region"))


@pytest.fixture
def anode(small, lattice):
    """One electron in every pixel of one layer of 160 x 160."""
    return lattice(small, 5 * small.channels + torch.arange(small.channels), 1.0)


@pytest.mark.parametrize("axis", [0.0, 1.0])
@pytest.mark.parametrize(("width", "centre"), [(0.6, 0.0), (0.75, 3.0), (0.1, 0.15), (0.2, 0.3), (12.0, -17.0)])
def test_the_lost_part_is_the_strips_area(anode, axis, width, centre):
    """Charge spread evenly loses width / pitch rows of pixels; inside the strip is nothing, outside every bit."""
    after = cut(anode, width, centre, axis)
    assert float(anode.electrons.sum() - after.electrons.sum()) == pytest.approx(160 * width / 0.3, rel=1e-9)
    index = after.channel % 160 if axis == 0.0 else after.channel // 160
    left = index * 0.3 - 24.0
    first, last = centre - width / 2, centre + width / 2
    assert not bool(((left >= first - 1e-9) & (left + 0.3 <= last + 1e-9)).any())
    outside = (left + 0.3 <= first + 1e-9) | (left >= last - 1e-9)
    assert bool((after.electrons[outside] == 1.0).all())


def test_two_strips_lose_their_union(anode):
    """Strips side by side lose what one strip of both lengths does."""
    both = cut(cut(anode, 0.6, -0.3), 0.6, 0.3)
    one = cut(anode, 1.2)
    assert torch.equal(both.cell, one.cell)
    torch.testing.assert_close(both.electrons, one.electrons, rtol=1e-9, atol=0)


def test_the_strip_is_the_same_in_all_layers_and_events(small, lattice):
    cells = lattice(small, torch.arange(80, small.cells, 160), 1.0, events=2)
    assert len(cut(cells, 0.6).cell) == 0
    assert len(cut(cells, 0.6, 3.0).cell) == len(cells.cell)


def test_the_axis_is_chosen_by_name():
    made = Detector.from_config({"effects": {"dead_region": {"axis": "y", "centre": 12.0}}})
    assert made.effects[0].parameter("axis").nominal == 1.0
    assert [nuisance.name for nuisance in made.nuisances] == ["dead_region_width"]
