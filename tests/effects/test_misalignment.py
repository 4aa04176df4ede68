"""Misalignment: a rigid motion keeps all distances, and motions compose and come back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Detector, Stream, Universe, effects
from shifts.transport.misalignment import Misalignment, rigid_motion

STREAM = Stream(1, "misalignment")
SHIFT = st.floats(-0.44, 0.44)
CENTRE = (24.0, 24.0)


@pytest.fixture(scope="module")
def charge(small, deposits):
    return Detector("plain", small, ()).prepare(deposits).charge


def moved(position, x, y, z, angle):
    parts = [torch.tensor([one], dtype=torch.float64) for one in (x, y, z, angle)]
    return rigid_motion(position, (parts[0], parts[1], parts[2]), parts[3], CENTRE)


@given(SHIFT, SHIFT, SHIFT, st.floats(-5.0, 5.0))
def test_distances_between_charges_stay(charge, x, y, z, rotation):
    """To the resolution of stored places, 4e-6 cm at 48 cm."""
    values = {"x": x, "y": y, "z": z, "rotation": rotation}
    after = Misalignment().apply(charge, values, STREAM)
    chosen = charge.position[::9].double(), after.position[::9].double()
    torch.testing.assert_close(*[torch.cdist(one, one) for one in chosen], rtol=0, atol=2e-5)
    assert torch.equal(after.electrons, charge.electrons)
    assert after.local_field is None


@given(SHIFT, SHIFT, SHIFT)
def test_shifts_add_and_come_back(charge, x, y, z):
    place = charge.position.double()
    there = moved(place, x, y, z, 0.0)
    expected = torch.tensor([[x, y, z]], dtype=torch.float64).expand_as(place)
    torch.testing.assert_close(there - place, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved(there, -x, -y, -z, 0.0), place, rtol=0, atol=1e-12)


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_rotations_compose(charge, first, second):
    """Angles add; the axis through the anode's centre and the drift coordinate stay."""
    place = charge.position.double()
    twice = moved(moved(place, 0, 0, 0, first), 0, 0, 0, second)
    torch.testing.assert_close(twice, moved(place, 0, 0, 0, first + second), rtol=0, atol=1e-12)
    assert torch.equal(twice[:, 0], place[:, 0])
    axis = torch.tensor([[10.0, 24.0, 24.0]])
    assert torch.equal(moved(axis, 0, 0, 0, first), axis.double())


def test_a_milliradian_moves_the_edge_of_the_anode(charge):
    """By its lever arm of 24 cm: 0.024 cm, from y towards z."""
    edge = torch.tensor([[0.0, 48.0, 24.0]])
    assert moved(edge, 0, 0, 0, 1e-3)[0].tolist() == pytest.approx([0.0, 48.0, 24.0 + 24.0 * math.sin(1e-3)], abs=1e-4)


def test_the_image_moves_with_the_read_out(small, deposits):
    """One sigma, 0.22 cm, moves the mean place of all charge by 0.22 cm, and no charge is lost inside."""
    kinds = (effects().get("space_charge")(), Misalignment())
    detector = Detector("askew", small, kinds[::-1], diffusion=(0.0, 0.0))
    assert [effect.name for effect in detector.effects] == ["space_charge", "misalignment"]
    prepared = detector.prepare(deposits.take([0, 3]))
    means = []
    for displacement in (0.0, 1.0, -1.0):
        seen = detector.positions(prepared, Universe("u", (("misalignment_z", displacement),)))
        means.append(seen.double().mean(0))
    for mean, sign in zip(means[1:], (1, -1), strict=True):
        assert (mean - means[0]).tolist() == pytest.approx([0.0, 0.0, 0.22 * sign], abs=1e-5)
    shifted = detector.image(prepared, Universe("u", (("misalignment_z", 1.0),)))
    assert float(shifted.charge.double().sum()) == pytest.approx(float(prepared.charge.electrons.sum()), rel=1e-6)
