"""Eigen-nuisances: J J^T + residual = C, shared by all channels, with no more of them than sigma of mu asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.templates.processing.eigen import eigen_nuisances, universe_covariance

NOMINAL = np.array([[5.0, 10.0, 5.0, 8.0], [60.0, 40.0, 20.0, 30.0]])
VARIANCE = 0.05 * NOMINAL


def universes(seed: int, number: int = 30) -> np.ndarray:
    """Templates of universes that move along three directions, and a little everywhere."""
    rng = np.random.default_rng(seed)
    response = rng.normal(size=(3, *NOMINAL.shape)) * NOMINAL * np.array([0.1, 0.03, 0.01])[:, None, None]
    theta = rng.normal(size=(number, 3))
    return NOMINAL + np.tensordot(theta, response, axes=1) + 1e-3 * rng.normal(size=(number, *NOMINAL.shape)) * NOMINAL


@given(st.integers(0, 10_000))
def test_shared_part_and_residual_add_up_to_the_covariance(seed: int) -> None:
    covariance = universe_covariance(NOMINAL, universes(seed))
    found = eigen_nuisances(covariance, NOMINAL, 0, VARIANCE)
    columns = found.shifts.reshape(len(found.shifts), -1)
    np.testing.assert_allclose(columns.T @ columns + found.matrix, covariance, atol=1e-10)
    assert (found.residual >= 0.0).all()
    np.testing.assert_allclose(found.residual.ravel(), np.diag(found.matrix), atol=1e-10)
    assert np.linalg.eigvalsh(found.matrix)[0] > -1e-10
    assert found.sigma_shared == pytest.approx(found.sigma, rel=1e-3)
    up, down = found.templates(NOMINAL)
    np.testing.assert_allclose(0.5 * (up + down), np.broadcast_to(NOMINAL, up.shape))


def test_one_nuisance_less_changes_sigma_by_more_than_allowed() -> None:
    covariance = universe_covariance(NOMINAL, universes(4))
    found = eigen_nuisances(covariance, NOMINAL, 0, VARIANCE)
    fewer = eigen_nuisances(covariance, NOMINAL, 0, VARIANCE, tolerance=0.02)
    assert 0 < len(fewer.shifts) <= len(found.shifts) < NOMINAL.size
    assert abs(fewer.sigma_shared / fewer.sigma - 1.0) < 0.02


def test_a_covariance_of_one_direction_needs_one_nuisance_in_all_channels() -> None:
    shift = 0.1 * NOMINAL
    found = eigen_nuisances(np.outer(shift, shift), NOMINAL, 0, VARIANCE)
    np.testing.assert_allclose(found.shifts[0], shift, rtol=1e-9)
    assert len(found.shifts) == 1
    assert found.variance_kept == pytest.approx(1.0)


def test_one_directional_universes_live_in_the_moment_about_the_nominal() -> None:
    moved = NOMINAL * np.array([1.1, 1.1])[:, None, None]
    assert universe_covariance(NOMINAL, moved, "mean").max() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(np.diag(universe_covariance(NOMINAL, moved)), (0.1 * NOMINAL.ravel()) ** 2)


def test_what_is_no_covariance_is_refused() -> None:
    with pytest.raises(DataError, match="8 samples times bins are wanted"):
        eigen_nuisances(np.eye(3), NOMINAL, 0, VARIANCE)
    with pytest.raises(DataError, match="smallest eigenvalue -1"):
        eigen_nuisances(-np.eye(8), NOMINAL, 0, VARIANCE)
