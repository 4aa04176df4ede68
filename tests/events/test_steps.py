"""Cutting long steps conserves energy, path and dE/dx."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.events.steps import MAX_STEP, Steps, cell_midpoints, subdivide


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


@given(st.lists(st.tuples(st.floats(0.0, 25.0), st.floats(1e-6, 100.0)), min_size=1, max_size=30))
def test_the_exact_sum_of_the_parts_is_the_step(lengths: list[tuple[float, float]]) -> None:
    for length, energy in lengths:
        parts, _ = subdivide(line(length, energy))
        # math.fsum rounds once: what is left is the rounding of energy / n alone.
        assert abs(math.fsum(parts.energy) - energy) <= 2.3e-16 * energy


@given(st.lists(st.floats(0.0, 25.0), min_size=0, max_size=40), st.integers(0, 2**32 - 1))
def test_midpoints_are_those_of_the_parts(lengths: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=(len(lengths), 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    start = generator.uniform(-500.0, 500.0, (len(lengths), 3))
    zeros = np.zeros(len(lengths), dtype=np.int64)
    steps = Steps(zeros, zeros, start, start + direction * np.array(lengths)[:, None], np.ones(len(lengths)), zeros)
    parts, source = subdivide(steps)
    middle, pieces, length = cell_midpoints(steps)
    np.testing.assert_array_equal(middle, parts.midpoint.astype(np.float32))
    np.testing.assert_array_equal(pieces, np.bincount(source, minlength=len(steps)))
    np.testing.assert_array_equal(length, steps.length)
