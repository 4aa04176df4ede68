"""Cutting long steps conserves energy, path and dE/dx."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.events.steps import MAX_STEP, Steps, subdivide


def line(length: float, energy: float = 2.0) -> Steps:
    return Steps(
        event=np.zeros(1, dtype=np.int64),
        track=np.zeros(1, dtype=np.int64),
        start=np.zeros((1, 3)),
        end=np.array([[0.6 * length, 0.0, 0.8 * length]]),
        energy=np.array([energy]),
        time=np.zeros(1),
    )


@given(st.floats(0.0, 30.0), st.floats(1e-6, 100.0))
def test_parts_are_short_and_conserve_energy_and_path(length: float, energy: float) -> None:
    parts, source = subdivide(line(length, energy))
    assert parts.length.max() <= MAX_STEP * (1 + 1e-9)
    assert parts.energy.sum() == pytest.approx(energy, rel=1e-12)
    assert parts.length.sum() == pytest.approx(length, rel=1e-9, abs=1e-12)
    assert (source == 0).all()


def test_a_step_of_exactly_three_cells_gives_three_parts_end_to_end() -> None:
    parts, _ = subdivide(line(0.9))
    assert len(parts) == 3
    np.testing.assert_allclose(parts.end[:-1], parts.start[1:], atol=1e-12)
    np.testing.assert_allclose(parts.end[-1], [0.54, 0.0, 0.72])


def test_a_point_stays_a_point() -> None:
    parts, _ = subdivide(line(0.0))
    assert len(parts) == 1
    assert parts.length[0] == 0.0
