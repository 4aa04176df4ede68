"""Integers of the sample format: how much is lost, and that differences and merging lose nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shiftlab.errors import ConfigError
from shiftlab.events.sample import packing
from shiftlab.events.sample.packing import Box

positive = st.floats(1e-6, 1e4)


CUBE = ((0.0, 0.0, 0.0), (230.4, 230.4, 230.4))


@given(
    arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(0.0, 1.0, width=32)),
    st.sampled_from([CUBE, ((-250.0, -99.0, 10.0), (250.0, 101.0, 1010.0)), ((-9e3, 0.0, 0.0), (9e3, 2e3, 4e3)), None]),
    st.integers(0, 2),
)
def test_positions_are_right_to_half_a_quantum_in_any_box(fraction: np.ndarray, box: Box | None, axis: int) -> None:
    low, high = (0.0, 500.0) if box is None else (box[0][axis], box[1][axis])
    position = (low + fraction.astype(np.float64) * (high - low)).astype(np.float32).clip(low, high)
    lattice = packing.Lattice.of_box(box)
    decoded = np.empty(len(position), dtype=np.float32)
    lattice.decode(lattice.encode(position, axis), axis, out=decoded)
    rounding = np.spacing(np.float32(max(abs(low), abs(high))))
    assert np.abs(decoded - position.astype(np.float64)).max(initial=0.0) <= lattice.step[axis] / 2 + rounding
    again = lattice.encode(decoded, axis)
    assert np.array_equal(again, lattice.encode(position, axis))


def test_the_quantum_is_never_more_than_a_tenth_of_a_millimetre() -> None:
    assert packing.Lattice.of_box(CUBE) == packing.Lattice((0.0,) * 3, (packing.POSITION_STEP,) * 3, 16)
    for side in (1.0, 655.0, 656.0, 1e5):
        lattice = packing.Lattice.of_box(((0.0, 0.0, 0.0), (side, 1.0, 1.0)))
        assert max(lattice.step) <= 0.01
        assert lattice.step[0] * 2**lattice.bits >= side


@pytest.mark.parametrize("high", [(0.0, 1.0, 1.0), (np.inf, 1.0, 1.0), (np.nan, 1.0, 1.0), (2e7, 1.0, 1.0)])
def test_a_box_without_a_volume_is_refused(high: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="low and high corner in cm"):
        packing.Lattice.of_box(((0.0, 0.0, 0.0), high))


def test_every_code_decodes_to_the_formula_of_the_format() -> None:
    code = np.arange(50000, dtype=np.uint16)
    formula = 1e-6 * np.exp((code[1:].astype(np.float64) - 1.0) * 0.002)
    assert np.array_equal(packing.decode_log(code)[1:], formula.astype(np.float32))


@given(arrays.arrays(np.float64, st.integers(0, 20), elements=positive))
def test_energies_and_lengths_are_right_to_a_thousandth(value: np.ndarray) -> None:
    np.testing.assert_allclose(packing.decode_log(packing.encode_log(value)), value, rtol=1.01e-3)


def test_zero_stays_exactly_zero_and_tiny_values_stay_positive() -> None:
    assert packing.decode_log(packing.encode_log(np.array([0.0, 1e-12]))).tolist() == [0.0, pytest.approx(1e-6)]


@given(st.lists(st.lists(st.integers(0, 65535), max_size=6), min_size=1, max_size=6))
def test_differences_within_events_are_undone_exactly(events: list[list[int]]) -> None:
    code = np.array([value for event in events for value in event], dtype=np.int64)
    offsets = np.cumsum([0, *(len(event) for event in events)])
    for dtype in (np.uint16, np.uint32):
        typed = code.astype(dtype)
        assert np.array_equal(packing.restore(packing.difference(typed, offsets), offsets), typed)


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


@given(arrays.arrays(np.float64, (6, 3), elements=st.floats(-1.0, 1.0)))
def test_packed_directions_are_unit_vectors_within_half_a_degree(vectors):
    """Three signed bytes a step; a step without direction stays without."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-3).astype(np.float32)
    back = packing.decode_direction(packing.encode_direction(unit))
    some = np.linalg.norm(unit, axis=1) > 0
    assert np.allclose(np.linalg.norm(back[some], axis=1), 1.0, atol=1e-6)
    assert not back[~some].any()
    assert ((back * unit).sum(axis=1)[some] > np.cos(np.radians(0.5))).all()
