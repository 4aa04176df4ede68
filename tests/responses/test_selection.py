"""The analysis selection asks for an event that is there, large enough and mostly inside."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Geometry
from shiftlab.errors import ConfigError
from shiftlab.events.deposits import EventTable
from shiftlab.events.image import Image
from shiftlab.responses import AnalysisSelection

SHAPE = (100, 100, 100)
GEOMETRY = Geometry(size=(30.0, 30.0, 30.0))


def image(*events: list[tuple[int, float]]) -> Image:
    """An image of events given as lists of (x index at y = z = 50, energy)."""
    n = len(events)
    table = EventTable(
        key=torch.arange(n), vertex=torch.arange(n), weight=torch.ones(n).double(), sample=("numu_cc",) * n,
        truth={"visible_energy": torch.ones(n).double()}, selected=torch.ones(n, dtype=torch.bool),
    )  # fmt: skip
    cells = torch.tensor([(x * 100 + 50) * 100 + 50 for event in events for x, _ in event], dtype=torch.int64)
    energy = torch.tensor([e for event in events for _, e in event], dtype=torch.float32)
    offsets = torch.tensor([0, *(len(event) for event in events)]).cumsum(0)
    return Image(offsets, cells, energy * 30_000, energy, SHAPE, table)


def track(start: int, voxels: int, energy: float) -> list[tuple[int, float]]:
    return [(start + i, energy) for i in range(voxels)]


def test_an_event_in_the_middle_passes_and_small_faint_and_leaving_ones_fail():
    middle, few, faint, at_wall = track(30, 40, 2.0), track(30, 19, 4.0), track(30, 40, 1.0), track(0, 30, 2.0)
    passed = AnalysisSelection()(image(middle, few, faint, at_wall, []), GEOMETRY)
    assert passed.tolist() == [True, False, False, False, False]


def test_a_track_that_leaves_the_volume_passes_while_most_of_it_is_inside():
    leaving = track(0, 90, 2.0)
    assert AnalysisSelection()(image(leaving), GEOMETRY).tolist() == [True]
    assert AnalysisSelection(outside=0.1)(image(leaving), GEOMETRY).tolist() == [False]


@given(st.permutations(range(40)))
def test_the_selection_does_not_depend_on_the_order_of_the_voxels(order):
    """A sum of float energies in another order would move events across the cut."""
    exact = 40 * 1.25
    voxels = [(30 + i, 1.25 + (0.001 if i % 2 else -0.001)) for i in order]
    passed = AnalysisSelection(energy=exact)(image(voxels), GEOMETRY)
    assert passed.tolist() == [True]


@pytest.mark.parametrize(("key", "value"), [("energy", -1.0), ("voxels", -1), ("margin", -0.1), ("outside", 1.5)])
def test_cuts_that_mean_nothing_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"selection.{key}"):
        AnalysisSelection(**{key: value})
