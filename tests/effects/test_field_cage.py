"""Field cage: charge near the boundary moves, inwards at the walls and forwards at the cathode; none elsewhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Detector, Stream, undisplaced
from shifts.transport.field_cage import FieldCage, boundary_displacement, fading

STREAM = Stream(1, "field_cage")
SIZE = (48.0, 48.0, 60.0)
AMOUNT = st.floats(-3.0, 3.0)


def points(seed, count=200):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(SIZE, dtype=torch.float64) * torch.rand(count, 3, generator=generator, dtype=torch.float64)


@given(st.integers(0, 2**31), AMOUNT, AMOUNT, st.floats(7.0, 20.0))
def test_nothing_moves_away_from_the_boundary(seed, edge, cathode, reach):
    """Exactly zero farther than ``reach`` from cathode and walls; at the anode nothing moves at all."""
    place = points(seed)
    displacement = boundary_displacement(place, SIZE, edge, cathode, reach)
    size = torch.tensor(SIZE, dtype=torch.float64)
    walls = torch.minimum(place[:, 1:], size[1:] - place[:, 1:])
    assert not bool(displacement[:, 0][size[0] - place[:, 0] > reach].any())
    assert not bool(displacement[:, 1:][walls > reach].any())
    place[:, 0] = 0.0
    assert not bool(boundary_displacement(place, SIZE, edge, cathode, reach).any())


def test_it_is_what_its_parameters_say():
    """The whole amount at a wall for charge from the cathode, half of it half-way; inwards at both walls."""
    place = torch.tensor([[48.0, 0.0, 30.0], [48.0, 48.0, 30.0], [24.0, 0.0, 30.0], [24.0, 24.0, 60.0]])
    found = boundary_displacement(place, SIZE, 0.3, 0.0, 20.0)
    torch.testing.assert_close(
        found, torch.tensor([[0, 0.3, 0], [0, -0.3, 0], [0, 0.15, 0], [0, 0, -0.15]], dtype=torch.float64)
    )
    centre_and_frame = torch.tensor([[48.0, 24.0, 30.0], [48.0, 0.0, 30.0], [38.0, 24.0, 30.0]])
    bent = boundary_displacement(centre_and_frame, SIZE, 0.0, 0.2, 20.0)
    torch.testing.assert_close(bent[:, 0], torch.tensor([-0.2, 0.0, -0.05], dtype=torch.float64))
    assert not bool(bent[:, 1:].any())


def test_it_fades_without_a_step_or_a_kink():
    distance = torch.linspace(0.0, 40.0, 4001, dtype=torch.float64)
    weight = fading(distance, 20.0)
    assert float(weight[0]) == 1.0
    assert not bool(weight[distance >= 20.0].any())
    assert float(torch.diff(weight, n=2).abs().max()) < 1e-6


@given(st.integers(0, 2**31), AMOUNT, st.floats(-1.0, 1.0))
def test_it_can_be_undone(seed, edge, cathode):
    """No two places seem one up to the bounds of the amount at the walls."""

    def displacement(place):
        return boundary_displacement(place, SIZE, edge, cathode, 20.0)

    place = points(seed)
    torch.testing.assert_close(undisplaced(place + displacement(place), displacement), place, rtol=0, atol=1e-6)


@pytest.mark.parametrize("amount", [{"edge": 0.3}, {"cathode": 0.2}, {"edge": -0.3, "cathode": -0.2}])
def test_charge_and_events_stay(small, deposits, amount):
    """The effect moves what the formula says, and nothing else."""
    charge = Detector("plain", small, ()).prepare(deposits).charge
    values = {"edge": 0.0, "cathode": 0.0, "reach": 20.0, **amount}
    after = FieldCage().apply(charge, values, STREAM)
    expected = boundary_displacement(charge.position, small.size, **values)
    torch.testing.assert_close(after.position.double() - charge.position.double(), expected, rtol=0, atol=4e-6)
    assert bool(expected.any())
    assert torch.equal(after.electrons, charge.electrons)
    assert after.local_field is None
