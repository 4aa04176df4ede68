"""Integers of the sample format: how much is lost, and that differences and merging lose nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shiftlab.events import packing

positive = st.floats(1e-6, 1e4)


@given(arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats(0.0, 230.3999)))
def test_positions_are_right_to_half_a_quantum(position: np.ndarray) -> None:
    decoded = packing.decode_position(packing.encode_position(position))
    assert np.abs(decoded - position).max(initial=0.0) <= packing.POSITION_STEP / 2 + 2e-5


@given(arrays.arrays(np.float64, st.integers(0, 20), elements=positive))
def test_energies_and_lengths_are_right_to_a_thousandth(value: np.ndarray) -> None:
    np.testing.assert_allclose(packing.decode_log(packing.encode_log(value)), value, rtol=1.01e-3)


def test_zero_stays_exactly_zero_and_tiny_values_stay_positive() -> None:
    assert packing.decode_log(packing.encode_log(np.array([0.0, 1e-12]))).tolist() == [0.0, pytest.approx(1e-6)]


@given(st.lists(st.lists(st.integers(0, 65535), max_size=6), min_size=1, max_size=6))
def test_differences_within_events_are_undone_exactly(events: list[list[int]]) -> None:
    code = np.array([value for event in events for value in event], dtype=np.uint16)
    offsets = np.cumsum([0, *(len(event) for event in events)])
    assert np.array_equal(packing.restore(packing.difference(code, offsets), offsets), code)


@given(st.lists(st.tuples(st.integers(0, 3), positive, positive), min_size=1, max_size=20))
def test_merging_conserves_energy_and_mean_dedx_of_each_group(steps: list[tuple[int, float, float]]) -> None:
    groups = np.array([step[0] for step in steps])
    energy, length = np.array([step[1] for step in steps]), np.array([step[2] for step in steps])
    position = np.repeat(energy[:, None], 3, axis=1)
    rows, middle, total, path = packing.merge(groups, position, energy, length)
    assert total.sum() == pytest.approx(energy.sum(), rel=1e-12)
    for row, where, one, other in zip(rows, middle, total, path, strict=True):
        mine = groups == groups[row]
        assert one / other == pytest.approx(energy[mine].sum() / length[mine].sum(), rel=1e-9)
        assert where[0] == pytest.approx(np.average(energy[mine], weights=energy[mine]), rel=1e-9)
    assert (np.diff(rows) > 0).all()
