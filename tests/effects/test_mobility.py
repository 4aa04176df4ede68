"""Mobility of electrons in argon: numbers of four independent codes, slopes, and argon that keeps its own constants."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector import Geometry, Medium
from shiftlab.detector.oracle import ORACLES
from shifts.transport.mobility import (
    diffusion_constants,
    drift_velocity,
    electron_mobility,
    medium_at,
    microboone_icarus_velocity,
    walkowiak_icarus_velocity,
)

TABLES = Path(__file__).parent.parent / "oracles"
VELOCITIES = (drift_velocity, walkowiak_icarus_velocity, microboone_icarus_velocity)


@pytest.mark.parametrize("name", ["drift_velocity", "diffusion", "lifetime", "space_charge_toy"])
def test_every_column_meets_the_independent_code(name):
    """All rows of the tables, to the tolerance that each column states."""
    with (TABLES / f"{name}.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    table = {column: np.array([row[column] for row in rows]) for column in rows[0]}
    differences = ORACLES.get(name)().compare(table)
    assert [one.rows for one in differences] == [len(rows)] * len(differences)
    assert all(one.met for one in differences), differences


def slope(function, at, step):
    """Relative change of a function per unit of its argument."""
    return float((function(at + step) - function(at - step)) / (2 * step * function(at)))


@pytest.mark.parametrize(
    ("velocity", "by_field", "by_temperature"),
    [
        (drift_velocity, 0.50, -0.0172),
        (walkowiak_icarus_velocity, 0.48, -0.0194),
        (microboone_icarus_velocity, 0.46, -0.0178),
    ],
)
def test_velocity_grows_with_the_field_and_falls_with_temperature(velocity, by_field, by_temperature):
    """At 0.5 kV/cm and 87 K: d ln v / d ln E about 0.47 and d ln v / dT about -1.9% per K, in all three fits."""
    found = 0.5 * slope(lambda field: velocity(field, 87.0), 0.5, 1e-3)
    assert found == pytest.approx(0.47, abs=0.035)
    assert found == pytest.approx(by_field, abs=0.01)
    warmer = slope(lambda kelvin: velocity(0.5, kelvin), 88.0, 1.0)
    assert warmer == pytest.approx(-0.019, abs=0.0025)
    assert warmer == pytest.approx(by_temperature, abs=5e-4)


@given(st.floats(0.05, 2.0), st.floats(84.0, 95.0))
def test_generalised_einstein_relation(field, kelvin):
    """D_L / D_T = 1 + d ln mu / d ln E at any field; 0.50 at 0.5 kV/cm."""
    along, across = diffusion_constants(field, kelvin)
    by_field = field * slope(lambda x: electron_mobility(x, kelvin), field, 1e-5 * field)
    assert float(along / across) == pytest.approx(1.0 + by_field, rel=1e-6)
    assert float(torch.div(*diffusion_constants(0.5, kelvin))) == pytest.approx(0.5005, abs=1e-4)


def test_shapes_broadcast_and_gradients_flow():
    field = torch.tensor([[0.3], [0.5]], dtype=torch.float64, requires_grad=True)
    kelvin = torch.tensor([87.0, 88.0, 89.0], dtype=torch.float64)
    for velocity in VELOCITIES:
        assert velocity(field, kelvin).shape == (2, 3)
        assert torch.autograd.gradcheck(lambda x, f=velocity: f(x, kelvin), field)
    assert torch.autograd.gradcheck(lambda x: diffusion_constants(x, 87.0), field)


def test_one_velocity_is_the_same_bits_in_any_batch():
    """A field alone, or among others at any place, has the same velocity and diffusion to the last bit."""
    fields = torch.linspace(0.1, 1.0, 37, dtype=torch.float64)
    together = torch.stack([drift_velocity(fields, 87.3), *diffusion_constants(fields, 87.3)])
    for place in (0, 7, 36):
        alone = float(fields[place])
        found = torch.stack([drift_velocity(alone, 87.3), *diffusion_constants(alone, 87.3)])
        assert torch.equal(found, together[:, place])


def test_argon_keeps_its_own_constants():
    """At the same field every bit stays; at another, constants change by the parametrisation's ratio and come back."""
    argon = Geometry().medium((4.0, 8.8))
    assert medium_at(argon, efield=0.5, temperature=87.0) == argon
    other = medium_at(argon, efield=0.55)
    assert other.efield == 0.55
    assert other.density == argon.density
    assert other.drift_velocity == pytest.approx(0.1563 * float(drift_velocity(0.55, 87) / drift_velocity(0.5, 87)))
    assert other.diffusion_longitudinal / 4.0 == pytest.approx(
        float(diffusion_constants(0.55, 87.0)[0] / diffusion_constants(0.5, 87.0)[0])
    )
    back = medium_at(medium_at(other, temperature=88.0), efield=0.5, temperature=87.0)
    assert isinstance(back, Medium)
    for name in ("drift_velocity", "diffusion_longitudinal", "diffusion_transverse"):
        assert getattr(back, name) == pytest.approx(getattr(argon, name), rel=1e-14)
