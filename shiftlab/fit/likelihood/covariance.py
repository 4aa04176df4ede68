"""Covariance of a fit: inverse of the observed or expected information, with or without the gammas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shiftlab.fit.errors import FitError
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import (
    Spectra,
    evaluate,
    gamma_information,
    gradient,
    hessian,
    information,
    mixing,
)

__all__ = ["covariances", "full_covariance", "invert", "observed_information", "with_gammas"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SINGULAR = 1e-12
"""Smallest eigenvalue of the information, scaled to a unit diagonal, that counts as information."""


def observed_information(
    model: Likelihood, data: Spectra, parameters: Floats, held: Bools, *, curved: bool = True
) -> Floats:
    """Return (fit, outer, outer): second derivatives of -ln L, or their expectation if not ``curved``."""
    at = evaluate(model, data, parameters, held)
    slope, _ = gradient(model, data, at)
    return hessian(model, data, at, slope) if curved else information(model, data, at, slope)


def invert(model: Likelihood, matrix: Floats, held: Bools, what: str) -> Floats:
    """Return (outer, outer): the inverse of an information matrix, 0 for held parameters.

    Args:
        model: names the parameters.
        matrix: (outer, outer).
        held: (parameter,) what did not move.
        what: the fit, for messages.

    Raises:
        FitError: the matrix is not positive definite; the message gives the combination that is not fixed.
    """
    free = np.flatnonzero(~held[model.outer])
    part = matrix[np.ix_(free, free)]
    diagonal = np.diag(part)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(part * np.outer(scale, scale))
    if len(free) and not values[0] > SINGULAR:
        raise FitError(f"fit of {model.name} to {what}: {_loose(model, free, vectors[:, 0] * scale, values[0])}")
    found = np.zeros_like(matrix)
    found[np.ix_(free, free)] = (vectors / values) @ vectors.T * np.outer(scale, scale)
    return found


def _loose(model: Likelihood, free: npt.NDArray[np.int64], direction: Floats, value: float) -> str:
    direction = direction / np.abs(direction).max()
    order = np.argsort(-np.round(np.abs(direction), 6), kind="stable")
    terms = [(float(direction[i]), model.parameters.names[model.outer[free[i]]]) for i in order[:4]]
    terms = [(size, name) for size, name in terms if abs(size) > 0.05]
    sign = np.sign(terms[0][0])
    words = " ".join(f"{'+' if sign * size > 0.0 else '-'} {abs(size):.2g} '{name}'" for size, name in terms)
    if len(terms) == 1 and value <= SINGULAR and value >= -SINGULAR:
        return f"the likelihood does not fix '{terms[0][1]}': no bin depends on it."
    if value < -SINGULAR:
        return f"the likelihood is not convex at its minimum; it falls along {words.removeprefix('+ ')}."
    return f"the likelihood does not fix {words.removeprefix('+ ')}: drop or fix one of them."


def covariances(model: Likelihood, data: Spectra, parameters: Floats, held: Bools) -> tuple[Floats, Bools]:
    """Return (fit, outer, outer) of many fits, and whether each is from the observed information.

    Where that is not positive definite the expected information stands in; where that fails too, it is NaN.
    """
    observed = observed_information(model, data, parameters, held)
    found, good = _invert_many(model, observed, held)
    if not good.all():
        bad = ~good
        expected = observed_information(model, data[bad], parameters[bad], held[bad], curved=False)
        found[bad], sound = _invert_many(model, expected, held[bad])
        found[np.flatnonzero(bad)[~sound]] = np.nan
    return found, good


def _invert_many(model: Likelihood, matrix: Floats, held: Bools) -> tuple[Floats, Bools]:
    still = held[:, model.outer]
    free = ~still[:, :, None] & ~still[:, None, :]
    diagonal = np.einsum("tii->ti", matrix)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = np.where(free, matrix * scale[:, :, None] * scale[:, None, :], 0.0)
    position = np.arange(matrix.shape[1])
    scaled[:, position, position] = np.where(still, 1.0, np.where(diagonal > 0.0, 1.0, -1.0))
    good = np.asarray(np.isfinite(scaled).all(axis=(1, 2)), dtype=np.bool_)
    scaled[~good] = np.eye(matrix.shape[1])
    try:
        np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        good &= np.linalg.eigvalsh(scaled)[:, 0] > SINGULAR
    scaled[~good] = np.eye(matrix.shape[1])
    return np.where(free, np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :], 0.0), good


def full_covariance(model: Likelihood, data: Spectra, parameters: Floats, held: Bools, outer: Floats) -> Floats:
    """Return (parameter, parameter): the covariance of one fit with the profiled gammas.

    With H the information split into outer parameters x and gammas g, profiling gave C_xx; then
    C_gx = -H_gg^-1 H_gx C_xx and C_gg = H_gg^-1 + H_gg^-1 H_gx C_xx H_xg H_gg^-1.

    Args:
        model: the likelihood.
        data: one row.
        parameters: (parameter,) the minimum.
        held: (parameter,) what did not move.
        outer: (outer, outer) covariance of the outer parameters.
    """
    at = evaluate(model, data, parameters[None], held[None])
    slope, _ = gradient(model, data, at)
    mixed, stiff = mixing(model, data, at, slope), gamma_information(data, at)
    return with_gammas(model, outer, mixed[0], stiff[0])


def with_gammas(model: Likelihood, outer: Floats, mixed: Floats, stiff: Floats) -> Floats:
    """Return (parameter, parameter): ``outer`` joined by the gammas.

    Args:
        model: the likelihood.
        outer: (outer, outer) covariance.
        mixed: (outer, bin) information between outer parameters and gammas.
        stiff: (bin,) information of the gammas, infinite where one cannot move.
    """
    count = len(model.parameters)
    found = np.zeros((count, count))
    found[np.ix_(model.outer, model.outer)] = outer
    at = model.gammas
    index, inverse = model.gamma_index[at], 1.0 / stiff[at]
    transfer = -inverse[:, None] * mixed[:, at].T
    cross = transfer @ outer
    found[np.ix_(index, model.outer)] = cross
    found[np.ix_(model.outer, index)] = cross.T
    found[np.ix_(index, index)] = cross @ transfer.T + np.diag(inverse)
    return found
