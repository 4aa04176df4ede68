"""-2 ln L against a perfect prediction, with its gradient and Hessian over the outer parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.gammas import Gammas, best_gammas
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.rates import Cells, cells, curvature, jacobian, sum_cells

__all__ = [
    "Point",
    "Spectra",
    "constant",
    "evaluate",
    "gamma_information",
    "gradient",
    "hessian",
    "information",
    "mixing",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spectra:
    """What is fitted, one row per fit.

    Attributes:
        counts: (fit, bin) events.
        centre: (fit, parameter) auxiliary measurements in units of their parameters.
    """

    counts: Floats
    centre: Floats

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Spectra:
        """Return some of the rows."""
        return Spectra(self.counts[rows], self.centre[rows])

    def repeat(self, number: int) -> Spectra:
        """Return one row ``number`` times."""
        return Spectra(np.repeat(self.counts[:1], number, axis=0), np.repeat(self.centre[:1], number, axis=0))


@dataclass(frozen=True, eq=False)
class Point:
    """The likelihood at one set of outer parameters per fit, the gammas at their best.

    Attributes:
        parameters: (fit, parameter) all values, best gammas filled in.
        deviance: (fit,) -2 ln of the likelihood over that of a perfect prediction; infinite where a rate
            is negative, or zero where there are events.
        cells: rates of the cells without the profiled gammas.
        gammas: of each bin.
        scaled: (fit, bin) rate that the gammas scale, before they do.
        rate: (fit, bin) expected events.
    """

    parameters: Floats
    deviance: Floats
    cells: Cells
    gammas: Gammas
    scaled: Floats
    rate: Floats


def evaluate(model: Likelihood, data: Spectra, parameters: Floats, held: npt.NDArray[np.bool_]) -> Point:
    """Return the likelihood at ``parameters`` (fit, parameter); of the gammas only held ones are read.

    Per bin 2 (lambda - n + n ln(n / lambda)), per Gaussian constraint ((theta - a) / sigma)^2, per Poisson
    one 2 (tau theta - m + m ln(m / (tau theta))) with m = tau a (Baker and Cousins 1984).
    """
    at = cells(model, parameters)
    if model.whole:
        scaled = sum_cells(model, at.rate)
        rest = np.zeros_like(scaled)
    else:
        scaled = sum_cells(model, np.where(model.scaled, at.rate, 0.0))
        rest = sum_cells(model, np.where(model.scaled, 0.0, at.rate))
    gammas = best_gammas(model, scaled, rest, data.counts, data.centre, parameters, held)
    rate = gammas.value * scaled + rest
    values = parameters.copy()
    values[:, model.gamma_index[model.gammas]] = gammas.value[:, model.gammas]
    deviance = _poisson(data.counts, rate).sum(axis=1) + _constraints(model, data.centre, values)
    return Point(values, np.where(np.isnan(deviance), np.inf, deviance), at, gammas, scaled, rate)


def gradient(model: Likelihood, data: Spectra, at: Point) -> tuple[Floats, Floats]:
    """Return first derivatives by the outer parameters: (fit, outer, bin) of the rates, (fit, outer) of -ln L.

    The gammas follow the outer parameters; at their best they add nothing to the gradient.
    """
    slope = jacobian(model, at.cells, _cell_gamma(model, at))
    p, outer = model.parameters, model.outer
    values, centre, tau = at.parameters[:, outer], data.centre[:, outer], p.tau[outer]
    pull, _ = _pull(data, at)
    found = (slope @ pull[:, :, None])[:, :, 0] + (values - centre) / p.width[outer] ** 2
    if (tau > 0.0).any():
        found += tau - np.divide(tau * centre, values, out=np.zeros_like(values), where=tau > 0.0)
    return slope, found


def information(model: Likelihood, data: Spectra, at: Point, slope: Floats) -> Floats:
    """Return (fit, outer, outer): expected information with the gammas profiled, positive for any data.

    J w J^T + constraints with w = 1 / (lambda + u^2 / c), c the stiffness of the bin's gamma and u what it
    scales: the bin's Poisson variance plus that of its Monte Carlo rate.
    """
    weight = 1.0 / (np.maximum(at.rate, 1e-300) + at.scaled**2 / at.gammas.stiffness)
    return _add_stiffness(model, data, at, (slope * weight[:, None, :]) @ slope.swapaxes(1, 2))


def hessian(model: Likelihood, data: Spectra, at: Point, slope: Floats) -> Floats:
    """Return (fit, outer, outer): exact second derivatives of -ln L with the gammas profiled.

    With y = n / lambda^2 and p = 1 - n / lambda: J y J^T + sum p d2 lambda + constraints, less
    h h^T / (y u^2 + c) per bin with h = p du + y u J, du the derivative of what the gamma scales.
    """
    pull, weight = _pull(data, at)
    loose = 1.0 / gamma_information(data, at)
    if model.whole:
        square = weight - loose * (pull / at.gammas.value + weight * at.scaled) ** 2
        found = (slope * square[:, None, :]) @ slope.swapaxes(1, 2)
    else:
        found = (slope * weight[:, None, :]) @ slope.swapaxes(1, 2)
        mixed = mixing(model, data, at, slope)
        found -= (mixed * loose[:, None, :]) @ mixed.swapaxes(1, 2)
    found += curvature(model, at.cells, np.tile(pull, (1, model.slots)) * _cell_gamma(model, at))
    return _add_stiffness(model, data, at, found)


def mixing(model: Likelihood, data: Spectra, at: Point, slope: Floats) -> Floats:
    """Return (fit, outer, bin): second derivatives of -ln L by outer parameter and gamma, p du + y u J."""
    pull, weight = _pull(data, at)
    if model.whole:
        return slope * (pull / at.gammas.value + weight * at.scaled)[:, None, :]
    scaled = jacobian(model, at.cells, np.broadcast_to(model.scaled * 1.0, at.cells.rate.shape))
    return pull[:, None, :] * scaled + (weight * at.scaled)[:, None, :] * slope


def gamma_information(data: Spectra, at: Point) -> Floats:
    """Return (fit, bin): second derivatives of -ln L by the gammas, y u^2 + c; infinite where one cannot move."""
    return np.asarray(_pull(data, at)[1] * at.scaled**2 + at.gammas.stiffness)


def _pull(data: Spectra, at: Point) -> tuple[Floats, Floats]:
    """Return p = 1 - n / lambda and y = n / lambda^2, (fit, bin) each."""
    share = np.divide(data.counts, at.rate, out=np.zeros_like(at.rate), where=data.counts > 0.0)
    return 1.0 - share, np.divide(share, at.rate, out=np.zeros_like(share), where=share > 0.0)


def constant(model: Likelihood, data: Spectra) -> Floats:
    """Return (fit,): -2 ln of the likelihood of a perfect prediction; with ``deviance`` it makes -2 ln L."""
    from scipy.special import gammaln

    p = model.parameters
    auxiliary, normal = data.centre * p.tau, np.isfinite(p.width)
    found = _saturated(data.counts, gammaln).sum(axis=1)
    found += np.where(p.tau > 0.0, _saturated(auxiliary, gammaln), 0.0).sum(axis=1)
    return np.asarray(found + np.log(2.0 * np.pi * p.width[normal] ** 2).sum(), dtype=np.float64)


def _saturated(counts: Floats, gammaln: np.ufunc) -> Floats:
    log = np.log(np.where(counts > 0.0, counts, 1.0))
    return np.asarray(2.0 * (counts - counts * log + gammaln(counts + 1.0)), dtype=np.float64)


def _poisson(counts: Floats, rate: Floats) -> Floats:
    """Return 2 (rate - n + n ln(n / rate)), as 2 n (x - ln(1 + x)) with x = rate / n - 1, which rounds less."""
    seen = counts > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.divide(rate - counts, counts, out=np.zeros_like(rate), where=seen)
        found = np.where(seen, 2.0 * counts * (x - np.log1p(x)), 2.0 * rate)
    return np.where(rate >= 0.0, found, np.inf)


def _constraints(model: Likelihood, centre: Floats, values: Floats) -> Floats:
    p = model.parameters
    normal, poisson = np.isfinite(p.width), p.tau > 0.0
    found = (((values - centre)[:, normal] / p.width[normal]) ** 2).sum(axis=1)
    if poisson.any():
        tau = p.tau[poisson]
        found += _poisson(tau * centre[:, poisson], tau * values[:, poisson]).sum(axis=1)
    return np.asarray(found, dtype=np.float64)


def _add_stiffness(model: Likelihood, data: Spectra, at: Point, found: Floats) -> Floats:
    p, outer = model.parameters, model.outer
    diagonal = np.arange(len(outer))
    found[:, diagonal, diagonal] += p.width[outer] ** -2.0
    poisson = np.flatnonzero(p.tau[outer] > 0.0)
    if len(poisson):
        index = outer[poisson]
        found[:, poisson, poisson] += p.tau[index] * data.centre[:, index] / at.parameters[:, index] ** 2
    return found


def _cell_gamma(model: Likelihood, at: Point) -> Floats:
    tiled = np.tile(at.gammas.value, (1, model.nominal.shape[0]))
    return tiled if model.whole else np.where(model.scaled, tiled, 1.0)
