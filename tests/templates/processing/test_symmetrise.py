"""The sides of a variation: odd and even parts give both back, covariances follow, mirror images are cut at zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shiftlab.templates.processing.symmetrise import EVEN_FACTOR, odd_even, same_side, symmetrise

SHIFTS = hnp.arrays(np.float64, (40, 2, 3), elements=st.floats(-0.1, 0.1))


def covariance(vertices: np.ndarray) -> np.ndarray:
    """(side, bin, side, bin) of (vertex, side, bin) shifts."""
    return np.einsum("vpb,vqc->pbqc", vertices, vertices)


NOMINAL = np.array([50.0, 20.0, 10.0])


@given(SHIFTS)
def test_odd_and_even_give_both_sides_back(vertices: np.ndarray) -> None:
    up, down = NOMINAL + vertices.sum(axis=0)
    odd, even = odd_even(NOMINAL, up, down, covariance(vertices))
    np.testing.assert_allclose(odd.up + even.up - NOMINAL, up, rtol=1e-12)
    np.testing.assert_allclose(odd.down + even.up - NOMINAL, down, rtol=1e-12)
    np.testing.assert_allclose(even.up - NOMINAL, NOMINAL - even.down, atol=1e-12)


@given(SHIFTS, st.sampled_from(["two_sided", "mirror", "half_gaussian", "odd", "even"]))
def test_covariance_is_that_of_the_same_combination_of_each_vertex(vertices: np.ndarray, how: str) -> None:
    """Events give the covariance before or after the combination alike."""
    plus, minus = vertices[:, 0], vertices[:, 1]
    after = {
        "two_sided": (0.5 * (plus - minus), 0.5 * (minus - plus)),
        "odd": (0.5 * (plus - minus), 0.5 * (minus - plus)),
        "mirror": (plus, -plus),
        "half_gaussian": (plus, plus),
        "even": (0.5 * (plus + minus), -0.5 * (plus + minus)),
    }[how]
    up, down = NOMINAL + vertices.sum(axis=0)
    made = symmetrise(NOMINAL, up, down, covariance(vertices), how)
    np.testing.assert_allclose(made.covariance, covariance(np.stack(after, axis=1)), atol=1e-12)
    np.testing.assert_allclose(made.up, NOMINAL + after[0].sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.down, NOMINAL + after[1].sum(axis=0), rtol=1e-12)


def test_a_mirror_image_stops_at_zero_and_says_how_much_was_cut() -> None:
    nominal = np.array([2.0, 5.0])
    made = symmetrise(nominal, np.array([6.0, 4.0]), nominal, np.zeros((2, 2, 2, 2)), "mirror")
    np.testing.assert_array_equal(made.down, [0.0, 6.0])
    assert made.cut == 2.0


def test_the_even_factor_keeps_the_second_moment_about_the_nominal() -> None:
    """E[|z|^2] = 1 and E[z^4] = 3 for z ~ N(0, 1): a unit normal times f Q has the second moment of Q |z| or Q z^2."""
    z, weight = np.polynomial.hermite_e.hermegauss(20)
    weight = weight / weight.sum()
    assert EVEN_FACTOR["linear"] ** 2 == pytest.approx(weight @ z**2)
    assert EVEN_FACTOR["quadratic"] ** 2 == pytest.approx(weight @ z**4)


def test_same_side_asks_for_one_sign_and_both_errors() -> None:
    nominal, error = np.full(4, 10.0), np.zeros((2, 4, 2, 4))
    for side in range(2):
        error[side, range(4), side, range(4)] = 1.0
    up, down = np.array([12.0, 12.0, 12.0, 7.0]), np.array([11.5, 8.5, 10.5, 8.0])
    np.testing.assert_array_equal(same_side(nominal, up, down, error), [True, False, False, True])
