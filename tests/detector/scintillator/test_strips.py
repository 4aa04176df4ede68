"""Geometry of triangular strips in three views: every point has one strip, and the strip is where the point is."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector.scintillator import StripGeometry
from shiftlab.errors import ConfigError

STACK = StripGeometry()
POINTS = st.lists(
    st.tuples(st.floats(60.0, 170.0), st.floats(60.0, 170.0), st.floats(0.0, 598.0)), min_size=1, max_size=20
)


@given(POINTS)
def test_a_point_lies_in_its_own_triangle(points):
    position = torch.tensor(points, dtype=torch.float64)
    plane = STACK.plane(position)
    strip = STACK.strip(position, plane)
    across, _ = STACK.coordinates(position, plane)
    depth = (position[:, 2] - STACK.depth(plane)) / STACK.thickness + 0.5
    assert ((depth >= -1e-9) & (depth <= 1 + 1e-9)).all()
    base_upstream = (strip - STACK.strips // 2) % 2 == 0
    half_width = STACK.pitch * torch.where(base_upstream, 1 - depth, depth)
    assert ((across - STACK.across(strip)).abs() <= half_width + 1e-6).all()


@given(POINTS)
def test_the_coordinates_of_a_plane_turn_back_into_x_and_y(points):
    position = torch.tensor(points, dtype=torch.float64)
    plane = STACK.plane(position)
    x, y = STACK.transverse(plane, *STACK.coordinates(position, plane))
    torch.testing.assert_close(torch.stack([x, y], 1), position[:, :2])


def test_the_views_measure_x_and_two_directions_at_sixty_degrees():
    position = torch.tensor([[125.0, 115.0, 0.0], [115.0, 125.0, 0.0]], dtype=torch.float64)
    for plane, view in enumerate("UXVX"):
        across, along = STACK.coordinates(position, torch.full((2,), plane))
        sine = {"U": 1, "V": -1, "X": 0}[view] * math.sqrt(3) / 2
        cosine = 1.0 if view == "X" else 0.5
        torch.testing.assert_close(across, 10.0 * torch.tensor([cosine, sine], dtype=torch.float64))
        torch.testing.assert_close(along, 10.0 * torch.tensor([-sine, cosine], dtype=torch.float64))


def test_a_track_through_a_plane_shares_its_path_between_two_strips_by_its_place():
    # A line along z at a third of the way from one centre to the next spends two thirds of its path in the nearer.
    depth = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000 * STACK.thickness
    x = 115.0 + STACK.pitch / 3
    position = torch.stack([torch.full_like(depth, x), torch.full_like(depth, 115.0), STACK.thickness + depth], 1)
    strips, counts = torch.unique(STACK.strip(position, STACK.plane(position)), return_counts=True)
    assert strips.tolist() == [63, 64]
    assert counts[0] / counts.sum() == pytest.approx(2 / 3, abs=1e-3)
    mean = (STACK.across(strips) * counts).sum() / counts.sum()
    assert float(mean) == pytest.approx(STACK.pitch / 3, abs=1e-2)  # the light's centre is the track's place


def test_the_hexagon_has_its_six_sides_at_the_apothem():
    angle = torch.arange(0, 360, 1).double().deg2rad()
    for radius, expected in ((STACK.apothem - 1e-3, True), (2 * STACK.apothem / math.sqrt(3) + 1e-3, False)):
        ring = torch.stack([115 + radius * angle.cos(), 115 + radius * angle.sin(), torch.full_like(angle, 10.0)], 1)
        assert bool(STACK.inside(ring).all()) is expected
        assert bool(STACK.inside(ring).any()) is expected
    side = torch.tensor([[115 + 107.001, 115.0, 10.0], [115 + 106.999, 115.0, 10.0]])
    assert STACK.inside(side).tolist() == [False, True]
    assert not STACK.inside(torch.tensor([[115.0, 115.0, -0.1], [115.0, 115.0, STACK.last]])).any()


def test_strips_are_as_long_as_the_hexagon_is_there():
    # In the middle from corner to corner, 4/sqrt(3) apothems; at the side one edge, 2/sqrt(3) apothems.
    half = STACK.half_length(torch.tensor([0.0, STACK.apothem], dtype=torch.float64))
    torch.testing.assert_close(2 * half, STACK.apothem * torch.tensor([4.0, 2.0]).double() / math.sqrt(3))


def test_127_strips_cover_the_hexagon():
    assert STACK.pitch * (STACK.strips + 1) / 2 == pytest.approx(STACK.apothem, rel=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"planes": 0}, "planes = 0"), ({"strips": 126}, "must be odd"), ({"views": "XYZ"}, "among X, U and V")],
)
def test_what_cannot_be_built_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        StripGeometry(**change)
