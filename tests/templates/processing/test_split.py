"""Norm and shape of a variation: the product gives the variation back, and pyhf agrees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.templates.processing import extrapolate, norm_shape

BINS = st.integers(1, 5)
YIELDS = st.floats(0.1, 1e4)


@st.composite
def triples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = draw(BINS)
    return tuple(draw(hnp.arrays(np.float64, size, elements=YIELDS)) for _ in range(3))  # type: ignore[return-value]


@given(triples())
def test_norm_times_shape_is_the_variation(triple: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    nominal, up, down = triple
    split = norm_shape(nominal, up, down)
    assert split.norm_up is not None
    assert split.norm_down is not None
    shape_up = nominal if split.shape_up is None else split.shape_up
    shape_down = nominal if split.shape_down is None else split.shape_down
    np.testing.assert_allclose(split.norm_up * shape_up, up, rtol=1e-12)
    np.testing.assert_allclose(split.norm_down * shape_down, down, rtol=1e-12)
    assert shape_up.sum() == pytest.approx(nominal.sum())


@given(triples())
def test_prediction_at_one_sigma_is_the_variation(triple: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    nominal, up, down = triple
    np.testing.assert_allclose(extrapolate(nominal, up, down, 1.0), up, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(extrapolate(nominal, up, down, -1.0), down, rtol=1e-9, atol=1e-9)


def test_one_bin_and_pure_yield_changes_have_no_shape() -> None:
    assert norm_shape(np.array([10.0]), np.array([12.0]), np.array([8.0])).shape_up is None
    nominal = np.array([10.0, 30.0])
    split = norm_shape(nominal, 1.1 * nominal, 0.9 * nominal)
    assert split.shape_up is None
    assert split.norm_up == pytest.approx(1.1)


def test_without_a_yield_the_variation_stays_additive() -> None:
    nominal, up = np.zeros(2), np.array([0.0, 3.0])
    split = norm_shape(nominal, up, nominal)
    assert split.norm_up is None
    np.testing.assert_array_equal(split.shape_up, up)
    still = norm_shape(nominal, nominal, nominal)
    assert still.shape_up is None
    np.testing.assert_array_equal(extrapolate(nominal, up, nominal, 3.0), [0.0, 9.0])
