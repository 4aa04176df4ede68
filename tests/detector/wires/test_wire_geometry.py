"""Wires: where they are, how long they are, which board reads them, and that every plane sees the whole charge."""

from __future__ import annotations

import math

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, WireGeometry

FULL = WireGeometry()


def test_planes_have_the_wires_that_fit_their_frame():
    """Wires at 60 degrees cross a 230.4 cm square over (sin 60 + cos 60) times its edge, those at 0 over its width."""
    assert FULL.wires == (1050, 1050, 768)
    assert FULL.shape[1:] == (3, 1050)
    assert FULL.shape[0] == math.ceil(230.4 / 0.1563 / 0.5) + 50 + 100


@pytest.mark.parametrize(("angle", "width"), [(60.0, 230.4), (-60.0, 230.4), (0.0, 230.4), (35.7, 120.0)])
def test_wires_cover_the_frame_once(angle, width):
    """Length times pitch, summed over a plane's wires, is the area of its frame."""
    geometry = WireGeometry(size=(230.4, 230.4, width), angles=(angle,))
    length = geometry.wire_length(torch.arange(geometry.wires[0]))
    assert float(length.sum()) * geometry.pitch == pytest.approx(230.4 * width, rel=2e-3)


def test_the_longest_wires_are_as_long_as_the_frame_lets_them():
    length = FULL.wire_length(torch.arange(FULL.channels)).reshape(3, -1)
    assert float(length[0].max()) == pytest.approx(230.4 / math.sin(math.radians(60)))
    assert torch.equal(length[2, :768], torch.full((768,), 230.4, dtype=torch.float64))


def test_a_point_lies_on_one_wire_of_each_plane():
    """Across a plane, z cos a + y sin a: the frame's lowest corner is at wire 0, its middle in the middle."""
    corner = FULL.coordinate(torch.tensor([[0.0, 0.0, 0.0], [0.0, 230.4, 0.0], [0.0, 115.2, 115.2]]))
    assert corner[0].tolist() == pytest.approx([0.0, 230.4 * math.sin(math.radians(60)) / 0.3, 0.0])
    assert float(corner[1, 1]) == pytest.approx(0.0, abs=1e-4)
    middle = 115.2 * (math.sin(math.radians(60)) + 0.5) / 0.3
    assert corner[2].tolist() == pytest.approx([middle, middle, 384.0])


def test_boards_have_64_wires_of_one_plane():
    channel = torch.arange(FULL.channels)
    board = FULL.chip_of(channel)
    assert int(torch.bincount(board).max()) == 64
    for plane in range(3):
        mine = board[channel // 1050 == plane]
        assert not torch.isin(mine, board[channel // 1050 != plane]).any()
    assert FULL.chip_of(torch.tensor([0, 63, 64])).tolist() == [0, 0, 1]


def test_every_plane_collects_the_whole_charge(collected, plane_of):
    """Charge is shared, never made: the sums of the three planes are equal to a part in 10^9."""
    plane = plane_of(collected)
    sums = [float(collected.electrons[plane == one].sum()) for one in range(3)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-9)
    assert sums[0] == pytest.approx(sums[2], rel=1e-9)


def test_charge_arrives_after_its_drift_time(wires, tracks):
    """The mean tick of charge at x is before + x / (v tick), and diffusion widens it to sqrt(2 D t) / v."""
    prepared = Detector("bare", wires, ()).prepare(tracks(((40.0, 24.0, 24.0), (40.0, 24.0, 24.0))))
    cells = prepared.cells
    charge = prepared.footprint.collect(prepared.charge.electrons)
    tick = cells.layer.double() + 0.5
    mean = float((charge * tick).sum() / charge.sum())
    assert mean == pytest.approx(wires.before + 40.0 / 0.1563 / 0.5, abs=0.02)
    variance = float((charge * (tick - mean) ** 2).sum() / charge.sum())
    time = 40.0 / 0.1563
    assert variance - 1 / 12 == pytest.approx(2e-6 * 4.0 * time / (0.1563 * 0.5) ** 2, rel=0.05)


def test_walls_are_anode_cathode_and_the_ends_of_each_plane():
    ticks = torch.tensor([FULL.before + 1, FULL.before + 1500, FULL.shape[0] - FULL.after - 2, FULL.before + 1500])
    wire = torch.tensor([400, 400, 400, 767])
    index = torch.stack([ticks, torch.full((4,), 2), wire], dim=1)
    assert FULL.near_wall(index, 5.0).tolist() == [True, False, True, True]
    index[:, 1] = 0
    assert FULL.near_wall(index, 5.0).tolist() == [True, False, True, False]


def test_a_wire_read_out_has_no_voxels():
    with pytest.raises(ConfigError, match="no voxels"):
        FULL.cell(torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"tick": 0.0}, "tick"), ({"angles": ()}, "angles"), ({"angles": (100.0,)}, "angles"), ({"before": -1}, "before")],
)
def test_wires_that_cannot_be_strung_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        WireGeometry(**settings)
