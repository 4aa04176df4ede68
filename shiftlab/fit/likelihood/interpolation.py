"""How a template or a yield moves with a nuisance between and beyond its ±1 sigma variations."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["NORM_CODES", "SHAPE_CODES", "Even", "Factor", "even", "factor", "polynomial"]

Floats = npt.NDArray[np.float64]

SHAPE_CODES: Final = ("code0", "code2", "code4p")
"""Additive codes, for histosys."""

NORM_CODES: Final = ("code1", "code4")
"""Multiplicative codes, for normsys."""

_SIXTH: Final = (
    np.array(
        [
            [15.0, -15.0, -7.0, -7.0, 1.0, -1.0],
            [24.0, 24.0, -9.0, 9.0, 1.0, 1.0],
            [-10.0, 10.0, 10.0, 10.0, -2.0, 2.0],
            [-24.0, -24.0, 14.0, -14.0, -2.0, -2.0],
            [3.0, -3.0, -3.0, -3.0, 1.0, -1.0],
            [8.0, 8.0, -5.0, 5.0, 1.0, 1.0],
        ]
    )
    / 16.0
)
"""Code 4: from values, slopes and curvatures at ±1 to the coefficients of theta .. theta^6 (CERN-OPEN-2012-016)."""


_FIRST: Final = np.arange(1.0, 7.0)
_SECOND: Final = np.arange(2.0, 7.0) * np.arange(1.0, 6.0)
"""What powers of theta carry down in the first and second derivative."""


class Even(NamedTuple):
    """Even basis function h(theta) and its first two derivatives, each of the shape of theta."""

    value: Floats
    slope: Floats
    curvature: Floats


class Factor(NamedTuple):
    """Yield factors kappa, d ln kappa / d theta and kappa'' / kappa, each (fit, nuisance, process)."""

    value: Floats
    slope: Floats
    curvature: Floats


def even(code: str, theta: Floats) -> Even:
    """Return the even basis function of an additive code.

    With odd part S = (up - down) / 2 and even part E = (up + down) / 2 - nominal, every additive code
    shifts a bin by theta S + h(theta) E: h is |theta| in code 0, theta^2 within ±1 and 2 |theta| - 1
    beyond in code 2, and (15 theta^2 - 10 theta^4 + 3 theta^6) / 8 within and |theta| beyond in code 4p.
    Code 2 beyond ±1 continues the parabola as ROOT does; pyhf 0.7.6 jumps there by E ± S.

    Args:
        code: one of ``SHAPE_CODES``.
        theta: any shape.
    """
    size, sign = np.abs(theta), np.sign(theta)
    if code == "code0":
        return Even(size, sign, np.zeros_like(theta))
    inside, square = size < 1.0, theta * theta
    if code == "code2":
        return Even(
            np.where(inside, square, 2.0 * size - 1.0),
            np.where(inside, 2.0 * theta, 2.0 * sign),
            np.where(inside, 2.0, 0.0),
        )
    value = square * (15.0 + square * (3.0 * square - 10.0)) / 8.0
    slope = theta * (15.0 + square * (9.0 * square - 20.0)) / 4.0
    curvature = (15.0 + square * (45.0 * square - 60.0)) / 4.0
    return Even(np.where(inside, value, size), np.where(inside, slope, sign), np.where(inside, curvature, 0.0))


def polynomial(log_up: Floats, log_down: Floats) -> Floats:
    """Return (6, nuisance, process): code 4's coefficients of theta .. theta^6 within ±1.

    The polynomial meets the exponentials up^theta and down^-theta at ±1 in value, slope and curvature.

    Args:
        log_up: (nuisance, process) ln of the yield factor at +1 sigma.
        log_down: (nuisance, process) the same at -1 sigma.
    """
    up, down = np.exp(log_up), np.exp(log_down)
    ends = np.stack([up - 1.0, down - 1.0, log_up * up, -log_down * down, log_up**2 * up, log_down**2 * down])
    return np.asarray(np.tensordot(_SIXTH, ends, axes=1), dtype=np.float64)


def factor(code: str, theta: Floats, log_up: Floats, log_down: Floats, sixth: Floats) -> Factor:
    """Return the yield factors of a multiplicative code.

    Args:
        code: ``code1``, exponentials everywhere, or ``code4``, the polynomial within ±1.
        theta: (fit, nuisance).
        log_up: (nuisance, process) ln of the yield factor at +1 sigma.
        log_down: (nuisance, process) the same at -1 sigma.
        sixth: the coefficients from ``polynomial``; only code 4 reads them.
    """
    inside = np.abs(theta) < 1.0 if code == "code4" else np.zeros(theta.shape, dtype=np.bool_)
    if inside.all():
        return _sixth_order(theta, sixth)
    at = theta[:, :, None]
    slope = np.where(at >= 0.0, log_up, -log_down)
    outer = Factor(np.exp(at * slope), slope, slope * slope)
    if not inside.any():
        return outer
    inner = _sixth_order(np.where(inside, theta, 0.0), sixth)
    within = inside[:, :, None]
    return Factor(*(np.where(within, a, b) for a, b in zip(inner, outer, strict=True)))


def _sixth_order(theta: Floats, sixth: Floats) -> Factor:
    """Return the polynomial and its derivatives: powers of theta times coefficients, one product for all three."""
    fits, count = theta.shape
    powers = np.ones((count, 7, fits))
    np.multiply.accumulate(np.broadcast_to(theta.T[:, None, :], (count, 6, fits)), axis=1, out=powers[:, 1:])
    terms = np.zeros((count, 3, fits, 6))
    terms[:, 0] = powers[:, 1:].swapaxes(1, 2)
    terms[:, 1] = powers[:, :6].swapaxes(1, 2) * _FIRST
    terms[:, 2, :, 1:] = powers[:, :5].swapaxes(1, 2) * _SECOND
    found = terms.reshape(count, 3 * fits, 6) @ sixth.swapaxes(0, 1)
    value, first, second = found.reshape(count, 3, fits, sixth.shape[2]).transpose(1, 2, 0, 3)
    value = value + 1.0
    return Factor(value, first / value, second / value)
