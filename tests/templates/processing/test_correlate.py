"""Correlation schemes: L L^T is the correlation asked for, and rotated templates have the covariance it means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.templates.processing import Correlation
from shiftlab.templates.processing.correlate import equal_correlation, rotate, rotation

CHANNELS, SAMPLES = ("a", "b", "c"), ("s", "t")


@given(st.integers(2, 7), st.floats(0.0, 1.0))
def test_loadings_give_the_correlation_back(number: int, rho: float) -> None:
    loadings = equal_correlation(number, rho)
    np.testing.assert_allclose(loadings @ loadings.T, (1.0 - rho) * np.eye(number) + rho, atol=1e-12)
    cross = loadings.T @ loadings
    np.testing.assert_allclose(cross, np.diag(np.diag(cross)), atol=1e-12)


@pytest.mark.parametrize("rho", [-0.6, 1.01])
def test_a_correlation_that_does_not_exist_is_refused(rho: float) -> None:
    with pytest.raises(ConfigError, match="3 cannot have correlation"):
        equal_correlation(3, rho)


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        (Correlation("shared"), np.ones((3, 3))),
        (Correlation("per_channel"), np.eye(3)),
        (Correlation("partial", rho=0.3), 0.7 * np.eye(3) + 0.3),
        (Correlation("partial", rho=1.0), np.ones((3, 3))),
        (Correlation("partial", rho=-0.5), 1.5 * np.eye(3) - 0.5),
        (Correlation("group", groups={"x": ("a", "c"), "y": ("b",)}), np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])),
    ],
)
def test_every_scheme_has_its_correlation(how: Correlation, wanted: np.ndarray) -> None:
    turned = rotation(how, CHANNELS, SAMPLES)
    np.testing.assert_allclose(turned.loadings @ turned.loadings.T, wanted, atol=1e-12)
    assert len(turned.suffixes) == turned.loadings.shape[1] == np.linalg.matrix_rank(wanted)


def test_per_sample_divides_samples() -> None:
    turned = rotation(Correlation("per_sample"), CHANNELS, SAMPLES)
    assert (turned.over, turned.suffixes) == ("sample", ("__s", "__t"))


def test_groups_cover_each_channel_once_and_nothing_else() -> None:
    with pytest.raises(ConfigError, match="'c' is in 0 groups"):
        rotation(Correlation("group", groups={"x": ("a",), "y": ("b",)}), CHANNELS, SAMPLES)
    with pytest.raises(UnknownNameError, match="unknown channel"):
        rotation(Correlation("group", groups={"x": ("a", "d")}), CHANNELS, SAMPLES)


@given(st.floats(0.0, 1.0))
def test_rotated_templates_have_the_covariance_of_the_scheme(rho: float) -> None:
    """sum_z d_z d_z^T is R_ij d_i d_j, for a symmetric shift in three channels of one bin."""
    nominal, shift = np.array([10.0, 20.0, 30.0]), np.array([1.0, -0.5, 2.0])
    loadings = equal_correlation(3, rho)
    ups = [rotate(nominal[[c]], nominal[[c]] + shift[c], nominal[[c]] - shift[c], loadings[c])[0] for c in range(3)]
    moved = np.concatenate(ups, axis=1) - nominal
    np.testing.assert_allclose(moved.T @ moved, ((1.0 - rho) * np.eye(3) + rho) * np.outer(shift, shift), atol=1e-9)


def test_a_negative_loading_takes_the_other_side() -> None:
    above, below = rotate(np.array([10.0]), np.array([13.0]), np.array([9.0]), np.array([1.0, -0.5]))
    np.testing.assert_allclose(above[:, 0], [13.0, 9.5])
    np.testing.assert_allclose(below[:, 0], [9.0, 11.5])
