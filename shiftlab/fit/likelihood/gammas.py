"""The best Monte Carlo scale factor of each bin in closed form, given the rates (Barlow and Beeston; Conway)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.model import Likelihood

__all__ = ["Gammas", "best_gammas"]

Floats = npt.NDArray[np.float64]


class Gammas(NamedTuple):
    """The scale factor of every bin, 1 where there is none.

    Attributes:
        value: (fit, bin).
        stiffness: (fit, bin) second derivative of its constraint in -ln L; infinite where it cannot move.
    """

    value: Floats
    stiffness: Floats


def best_gammas(
    model: Likelihood,
    scaled: Floats,
    rest: Floats,
    counts: Floats,
    centre: Floats,
    parameters: Floats,
    held: npt.NDArray[np.bool_],
) -> Gammas:
    """Return the gammas that minimise -ln L at given rates ``gamma scaled + rest``.

    Both constraints give a quadratic, u g^2 + B g - C = 0, whose larger root keeps the rate positive:
    Gaussian, (g u + v)(g - a + u d^2) = n u d^2 (Conway, arXiv:1103.0354, for v = 0);
    Poisson with m = tau a events, (u + tau) g (g u + v) = (n u) g + m (g u + v), for v = 0 simply
    g = (n + m) / (u + tau). The root is then cut to the parameter's bounds.

    Args:
        model: the likelihood.
        scaled: (fit, bin) rate u that the gamma scales.
        rest: (fit, bin) rate v that it does not.
        counts: (fit, bin) data n.
        centre: (fit, parameter) auxiliary measurements a.
        parameters: (fit, parameter) values of held gammas.
        held: (fit, parameter) gammas that stay.
    """
    value, stiffness = np.ones_like(scaled), np.full_like(scaled, np.inf)
    at, p = model.gammas, model.parameters
    if not len(at):
        return Gammas(value, stiffness)
    index = model.gamma_index[at]
    u, v, n, a, tau = scaled[:, at], rest[:, at], counts[:, at], centre[:, index], p.tau[index]
    poisson, square, lower, upper = tau > 0.0, p.width[index] ** 2, p.lower[index], p.upper[index]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not poisson.any():
            best, stiff = _normal(u, v, n, a, square), np.broadcast_to(1.0 / square, u.shape)
        else:
            best = np.where(poisson, _poisson(u, v, n, a, tau), _normal(u, v, n, a, np.where(poisson, 1.0, square)))
            stiff = np.where(poisson, tau * a / np.clip(best, lower, upper) ** 2, 1.0 / square)
    stays = held[:, index]
    best = np.where(stays, parameters[:, index], np.minimum(np.maximum(best, lower), upper))
    value[:, at] = best
    stiffness[:, at] = np.where(stays | (best <= lower) | (best >= upper), np.inf, stiff)
    return Gammas(value, stiffness)


def _normal(u: Floats, v: Floats, n: Floats, a: Floats, square: Floats) -> Floats:
    shift = u * square
    return _root(u, u * (shift - a) + v, v * (a - shift) + n * shift)


def _poisson(u: Floats, v: Floats, n: Floats, a: Floats, tau: Floats) -> Floats:
    return _root(u, v - u * ((n + tau * a) / (u + tau)), tau * a * v / (u + tau))


def _root(u: Floats, b: Floats, c: Floats) -> Floats:
    """Return the larger root of u g^2 + b g - c = 0 (u > 0), in the form of the two that does not cancel."""
    root = np.sqrt(np.maximum(b * b + 4.0 * u * c, 0.0))
    return np.where(b > 0.0, 2.0 * c / (b + root), (root - b) / (2.0 * u))
