"""Norm and shape of a variation: joined they are the variation again, in every scope, and pyhf's codes agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.templates.processing import extrapolate, join, norm_shape
from shiftlab.templates.processing.split import shape_only, yield_ratios

BINS = st.integers(1, 5)
YIELDS = st.floats(0.1, 1e4) | st.just(0.0)


@st.composite
def triples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = draw(BINS)
    return tuple(draw(hnp.arrays(np.float64, size, elements=YIELDS)) for _ in range(3))  # type: ignore[return-value]


@given(triples())
def test_split_and_joined_is_the_variation(triple: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Also with empty bins, where the variation stays additive."""
    nominal, up, down = triple
    split = norm_shape(nominal, up, down)
    np.testing.assert_allclose(join(nominal, split), (up, down), rtol=1e-12, atol=1e-11 * nominal.sum())
    if split.norm_up is not None and split.shape_up is not None:
        assert split.shape_up.sum() == pytest.approx(nominal.sum())


@given(triples())
def test_prediction_at_one_sigma_is_the_variation(triple: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    nominal, up, down = triple
    np.testing.assert_allclose(extrapolate(nominal, up, down, 1.0), up, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(extrapolate(nominal, up, down, -1.0), down, rtol=1e-9, atol=1e-8)


def test_one_bin_and_pure_yield_changes_have_no_shape() -> None:
    assert norm_shape(np.array([10.0]), np.array([12.0]), np.array([8.0])).shape_up is None
    nominal = np.array([10.0, 30.0])
    split = norm_shape(nominal, 1.001 * nominal, 0.999 * nominal)
    assert split.shape_up is None
    assert split.norm_up == pytest.approx(1.001)


def test_small_changes_of_the_yield_and_empty_bins_stay_additive() -> None:
    nominal = np.array([10.0, 30.0])
    assert norm_shape(nominal, np.array([10.2, 29.99]), nominal).norm_up is None
    assert norm_shape(nominal, np.array([10.2, 30.01]), nominal).norm_up == pytest.approx(1.00525)
    assert norm_shape(nominal, np.array([12.0, 30.0]), np.array([0.0, 30.0])).norm_up is None


def test_without_a_yield_the_variation_stays_additive() -> None:
    nominal, up = np.zeros(2), np.array([0.0, 3.0])
    split = norm_shape(nominal, up, nominal)
    assert split.norm_up is None
    np.testing.assert_array_equal(split.shape_up, up)
    still = norm_shape(nominal, nominal, nominal)
    assert still.shape_up is None
    np.testing.assert_array_equal(extrapolate(nominal, up, nominal, 3.0), [0.0, 9.0])


CHANNEL = np.array([0, 0, 1, 1, 1])
NOMINAL = np.array([[10.0, 20.0, 5.0, 5.0, 10.0], [4.0, 4.0, 8.0, 8.0, 8.0]])


def test_migration_between_channels_is_shape_in_the_scope_of_the_sample() -> None:
    """Six events of the first sample go from one channel to the other: no yield is lost in the sample."""
    moved = NOMINAL.copy()
    moved[0] += [-2.0, -4.0, 2.0, 2.0, 2.0]
    np.testing.assert_allclose(yield_ratios(NOMINAL, moved, "channel", CHANNEL), [[0.8, 1.3], [1.0, 1.0]])
    np.testing.assert_allclose(yield_ratios(NOMINAL, moved, "sample", CHANNEL), 1.0)
    more = np.stack([moved, 1.1 * NOMINAL])
    kept, ratios = shape_only(NOMINAL, more, "sample", CHANNEL)
    np.testing.assert_allclose(kept[0], moved)
    np.testing.assert_allclose(kept[1], NOMINAL)
    np.testing.assert_allclose(ratios[1], 1.1)


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(0.1, 100.0)), st.sampled_from(["channel", "sample", "all"]))
def test_shape_only_keeps_the_yield_of_its_scope(shifted: np.ndarray, scope: str) -> None:
    kept, _ = shape_only(NOMINAL, shifted, scope, CHANNEL)
    after = yield_ratios(NOMINAL, kept, scope, CHANNEL)
    np.testing.assert_allclose(after, 1.0, rtol=1e-12)


def test_an_order_of_channels_does_not_matter_to_the_scope() -> None:
    order = np.array([2, 3, 4, 0, 1])
    moved = NOMINAL * np.linspace(0.9, 1.2, 5)
    plain = yield_ratios(NOMINAL, moved, "channel", CHANNEL)[:, CHANNEL]
    np.testing.assert_allclose(
        yield_ratios(NOMINAL[:, order], moved[:, order], "channel", CHANNEL[order])[:, CHANNEL], plain
    )
