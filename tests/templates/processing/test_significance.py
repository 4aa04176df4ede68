"""chi2 of a shift with its paired covariance: rank-aware, of the right size without an effect, powerful with one."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from shiftlab.templates.processing.significance import chi_square, significance


def test_shifts_of_random_signs_have_uniform_p_values() -> None:
    """Events that migrate either way with equal probability: 400 simulations of 300 migrating events in 4 bins."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        rows = np.zeros((300, 4))
        start = rng.integers(0, 3, size=300)
        sign = rng.choice([-1.0, 1.0], size=300)
        rows[range(300), start], rows[range(300), start + 1] = -sign, sign
        value, rank, p_value = chi_square(rows.sum(axis=0), rows.T @ rows)
        assert rank == 3
        assert p_value == pytest.approx(chi2.sf(value, 3))
        found.append(p_value)
    assert kstest(found, "uniform").pvalue > 0.01


def test_what_cannot_fluctuate_is_certain_and_what_did_not_move_is_not_there() -> None:
    covariance = np.diag([1.0, 0.0])
    assert chi_square(np.array([2.0, 0.0]), covariance)[:2] == (pytest.approx(4.0), 1)
    assert chi_square(np.array([0.0, 1.0]), covariance)[2] == 0.0
    assert chi_square(np.zeros(2), covariance) == (0.0, 0, 1.0)


def test_both_sides_are_tested_together_and_the_limit_is_on_the_yield() -> None:
    """Independent sides at 3 and 4 sigma: chi2 = 25 of rank 2; 95% limit (8 + 1.645 x 2) / 100."""
    covariance = np.zeros((2, 1, 2, 1))
    covariance[0, 0, 0, 0], covariance[1, 0, 1, 0] = 1.0, 4.0
    found = significance(np.array([100.0]), np.array([103.0]), np.array([92.0]), covariance)
    assert (found.chi2, found.ndf) == (pytest.approx(25.0), 2)
    assert found.limit == pytest.approx((8.0 + 1.6449 * 2.0) / 100.0)


def test_the_order_of_bins_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows, order = rng.normal(size=(50, 2, 4)), np.array([2, 0, 3, 1])
    whole = np.einsum("vpb,vqc->pbqc", rows, rows)
    nominal, sides = np.full(4, 100.0), 100.0 + rows.sum(axis=0)
    one = significance(nominal, sides[0], sides[1], whole)
    other = significance(nominal, *sides[:, order], whole[:, order][:, :, :, order])
    assert other.chi2 == pytest.approx(one.chi2)
