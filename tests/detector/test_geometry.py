"""The lattice: cells, channels, chips and drift times of the default cube and of odd boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Geometry

INSIDE = st.floats(0.0, 230.375, width=32)


def test_default_cube_has_768_cells_an_edge():
    geometry = Geometry()
    assert geometry.shape == (768, 768, 768)
    assert geometry.cells == 768**3
    assert geometry.channels == 768**2


@given(st.lists(st.tuples(INSIDE, INSIDE, INSIDE), min_size=1, max_size=20))
def test_cells_channels_and_layers_agree(points):
    """The lattice index of a point is made of its cell along each axis; the channel is its (y, z) pixel."""
    geometry = Geometry()
    position = torch.tensor(points)
    index, cell = geometry.index(position), geometry.cell(position)
    assert bool(geometry.inside(position).all())
    assert torch.equal(cell, (index[:, 0] * 768 + index[:, 1]) * 768 + index[:, 2])
    assert torch.equal(geometry.channel(cell), index[:, 1] * 768 + index[:, 2])
    centre = (index + 0.5) * 0.3
    assert bool(((position.double() - centre).abs() <= 0.15 + 1e-5).all())


def test_faces_belong_to_the_volume_below_and_not_above():
    geometry = Geometry()
    position = torch.tensor([[0.0, 0, 0], [230.41, 1, 1], [1, -1e-6, 1], [230.39, 230.39, 230.39]])
    assert geometry.inside(position).tolist() == [True, False, False, True]


def test_charge_drifts_to_the_anode_at_zero():
    """230.4 cm at 0.1563 cm/us take 1.474 ms; the anode takes none."""
    geometry = Geometry()
    times = geometry.drift_time(torch.tensor([[0.0, 5, 5], [230.4, 5, 5]]))
    assert times.tolist() == pytest.approx([0.0, 1474.088], rel=1e-5)
    assert float(geometry.layer_times()[0]) == pytest.approx(0.15 / 0.1563)


def test_an_odd_box_has_part_chips_at_its_edge():
    geometry = Geometry(size=(3.0, 3.3, 3.6), chip=8)
    assert geometry.shape == (10, 11, 12)
    chips = geometry.chip_of(torch.arange(geometry.channels))
    assert torch.bincount(chips).tolist() == [64, 32, 24, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pitch": 0.0}, "pitch"),
        ({"drift_velocity": -1.0}, "drift_velocity"),
        ({"efield": float("nan")}, "efield"),
        ({"size": (230.4, 230.4, 230.5)}, "whole number"),
        ({"size": (230.4, 230.4)}, "3"),
    ],
)
def test_impossible_detectors_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        Geometry(**change)
