"""Interpolation codes: what they are at ±1 sigma, how smooth, and where pyhf's code 2 differs."""

import numpy as np
import pytest

from shiftlab.fit.likelihood.interpolation import even, factor, polynomial

GRID = np.linspace(-2.5, 2.5, 41)[None]


@pytest.mark.parametrize("code", ["code0", "code2", "code4p"])
def test_additive_codes_meet_the_templates_and_are_even(code: str) -> None:
    """h(±1) = 1 gives S ± E = the varied templates; h(0) = 0 the nominal."""
    found = even(code, np.array([[-1.0, 0.0, 1.0]]))
    np.testing.assert_allclose(found.value, [[1.0, 0.0, 1.0]], atol=1e-15)
    both = even(code, GRID)
    np.testing.assert_allclose(both.value, both.value[:, ::-1], rtol=1e-14)


@pytest.mark.parametrize("code", ["code0", "code2", "code4p"])
def test_derivatives_of_additive_codes(code: str) -> None:
    at = GRID[np.abs(np.abs(GRID) - 1.0) > 1e-3][None] + 3e-5
    step = 1e-6
    found = even(code, at)
    numeric = (even(code, at + step).value - even(code, at - step).value) / (2.0 * step)
    np.testing.assert_allclose(found.slope, numeric, atol=1e-8)
    second = (even(code, at + step).slope - even(code, at - step).slope) / (2.0 * step)
    np.testing.assert_allclose(found.curvature, second, atol=1e-7)


def test_code_2_is_continuous_beyond_one_sigma_where_pyhf_jumps() -> None:
    """ROOT continues the parabola's tangent; pyhf 0.7.6 leaves its constant out and jumps."""
    from pyhf.interpolators import code2

    below, above = even("code2", np.array([[1.0 - 1e-9]])).value, even("code2", np.array([[1.0 + 1e-9]])).value
    assert above == pytest.approx(below, abs=1e-8)
    templates = [[[[9.0], [10.0], [13.0]]]]
    inside, outside = (float(code2(templates)(np.array([[at]])).item()) for at in (1.0, 1.0 + 1e-9))
    assert inside == pytest.approx(3.0)
    assert abs(outside - inside) > 2.9


def test_factors_meet_the_yields_with_two_derivatives() -> None:
    """At ±1 value, slope and curvature of the polynomial are those of the exponentials; codes agree outside."""
    up, down = np.log([[1.3, 0.8]]), np.log([[0.9, 0.7]])
    sixth = polynomial(up, down)
    for sign, log in ((1.0, up), (-1.0, -down)):
        inner = factor("code4", np.array([[sign * (1.0 - 1e-12)]]), up, down, sixth)
        np.testing.assert_allclose(inner.value[0], np.exp(sign * log), rtol=1e-9)
        np.testing.assert_allclose(inner.slope[0], log, rtol=1e-9)
        np.testing.assert_allclose(inner.curvature[0], log**2, rtol=1e-8)
    far = [factor(code, np.array([[1.7]]), up, down, sixth).value for code in ("code1", "code4")]
    np.testing.assert_array_equal(*far)
    both = factor("code4", np.array([[0.5], [1.5]]), up, down, sixth)
    one = factor("code4", np.array([[0.5]]), up, down, sixth)
    np.testing.assert_allclose(both.value[:1], one.value, rtol=1e-14)
