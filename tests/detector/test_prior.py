"""Priors of correlated nuisances exist or are refused with the pairs; draws have the covariance that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from shiftlab.detector.prior import correlation_matrix, independent_normals, pair_of, sobol_normals
from shiftlab.errors import ConfigError, UnknownNameError

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("key", ["a+b", "a,b", "a, b", " a , b "])
def test_a_pair_is_two_names(key):
    assert pair_of(key, NAMES) == ("a", "b")


def test_the_matrix_has_the_given_pairs_and_independence_elsewhere():
    assert correlation_matrix(NAMES, {"c+a": -0.5}).tolist() == [[1, 0, -0.5], [0, 1, 0], [-0.5, 0, 1]]
    assert np.array_equal(correlation_matrix(NAMES, {}), np.eye(3))
    assert correlation_matrix((), {}).shape == (0, 0)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"a": 0.5}, "'a' must name two different nuisances"),
        ({"a+a": 0.5}, "'a\\+a' must name two different"),
        ({"a+b+c": 0.5}, "must name two different"),
        ({"a+b": 0.5, "b, a": 0.5}, "'a\\+b' and 'b, a' are the same pair"),
        ({"a+b": 1.0}, "'a\\+b' = 1.0; allowed is more than -1 and less than 1"),
        ({"a+b": float("nan")}, "'a\\+b' = nan"),
    ],
)
def test_what_is_no_correlation_is_refused(pairs, message):
    with pytest.raises(ConfigError, match=message):
        correlation_matrix(NAMES, pairs)


def test_an_unknown_nuisance_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'gain_scale'"):
        correlation_matrix(("gain_scale", "lifetime_tau"), {"gain_scal+lifetime_tau": 0.5})


def test_correlations_that_contradict_each_other_are_named_with_the_factor_that_mends_them():
    """a with b and b with c at 0.9 leave no room for a against c; d and e are innocent."""
    pairs = {"a+b": 0.9, "b+c": 0.9, "a+c": -0.9, "d+e": 0.5}
    with pytest.raises(ConfigError, match=r"a\+b = 0.9, a\+c = -0.9, b\+c = 0.9: .*not positive definite") as caught:
        correlation_matrix("abcde", pairs)
    assert "d+e" not in str(caught.value)
    factor = float(str(caught.value).split("less than ")[1].split()[0])
    assert factor == pytest.approx(1 / 1.8, abs=1e-3)
    shrunk = {key: 0.99 * factor * value for key, value in pairs.items()}
    assert np.linalg.eigvalsh(correlation_matrix("abcde", shrunk))[0] > 0.0


@settings(max_examples=50)
@given(st.lists(st.floats(-0.999, 0.999), min_size=3, max_size=3))
def test_a_matrix_is_given_just_where_a_prior_exists(values):
    pairs = dict(zip(("a+b", "a+c", "b+c"), values, strict=True))
    x, y, z = values
    determinant = 1 + 2 * x * y * z - x * x - y * y - z * z  # of a matrix whose 2 x 2 minors are positive
    try:
        matrix = correlation_matrix(NAMES, pairs)
    except ConfigError:
        assert determinant < 1e-6
    else:
        assert determinant > -1e-6
        assert np.array_equal(matrix, matrix.T)


def test_scramblings_are_independent_sequences_of_even_points():
    """Each fills every sixteenth of each axis with as many points; two have nothing in common."""
    points = [np.array(list(sobol_normals(3, 16, seed=4, scrambling=number))) for number in range(3)]
    for one in points:
        assert len(one) == 64
        filled = np.floor(16 * special.ndtr(one)).astype(int)
        assert all((np.bincount(axis, minlength=16) == 4).all() for axis in filled.T)
    assert not np.array_equal(points[0], points[1])
    assert abs(np.corrcoef(points[1][:, 0], points[2][:, 0])[0, 1]) < 0.5
    assert np.array_equal(points[1], list(sobol_normals(3, 16, seed=4, scrambling=1)))


def test_independent_draws_repeat_with_their_seed_only():
    first, again, other = (np.array(list(independent_normals(2, 500, seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.cov(first.T) == pytest.approx(np.eye(2), abs=5 * np.sqrt(2 / 2000))
