"""Covariance of a fit: inverse of the observed information, from derivatives of the rates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shiftlab.fit.errors import FitError
from shiftlab.fit.model import FitModel

__all__ = ["covariance", "jacobian", "observed_covariance"]

Floats = npt.NDArray[np.float64]

FIRST = 1e-4
"""Step of first derivatives. Rates are smooth (codes 4 and 4p), so the error is about FIRST^2."""

SECOND = 1e-3
"""Step of second derivatives; rounding costs 1e-16 / SECOND^2, the step itself about SECOND^2."""


def jacobian(model: FitModel, parameters: Floats) -> Floats:
    """Return (bin, parameter): first derivatives of the rates at ``parameters``, by central differences."""
    steps = FIRST * np.eye(len(parameters))
    columns = [
        (model.expected(parameters + step) - model.expected(parameters - step)) / (2.0 * FIRST) for step in steps
    ]
    return np.stack(columns, axis=1)


def covariance(model: FitModel, parameters: Floats, counts: Floats, what: str) -> tuple[Floats, bool]:
    """Return the covariance of a fit, and whether the likelihood is convex at its minimum.

    Far from nominal the rates' own curvature (code 4p of a shift with an even part) can outweigh the
    data. The covariance then comes from the first derivatives alone, J^T diag(n / lambda^2) J +
    diag(1 / sigma^2), which is the usual approximation and positive definite by construction.

    Args:
        model: the likelihood.
        parameters: (parameter,) the minimum.
        counts: (bin,) the data n.
        what: name of the observation, for messages.

    Raises:
        FitError: not even the first derivatives fix all parameters.
    """
    try:
        return observed_covariance(model, parameters, counts, what), True
    except FitError:
        return observed_covariance(model, parameters, counts, what, curved=False), False


def observed_covariance(
    model: FitModel, parameters: Floats, counts: Floats, what: str, *, curved: bool = True
) -> Floats:
    """Return (parameter, parameter): the inverse Hessian of -ln L, which gives symmetric errors.

    H = J^T diag(n / lambda^2) J + sum_b (1 - n_b / lambda_b) d2 lambda_b + diag(1 / sigma^2). This is what MINUIT's
    HESSE estimates from differences of the likelihood itself; taken from the rates it is free of the
    rounding of a large likelihood, which costs HESSE per cents when nuisances are strongly correlated.

    Args:
        model: the likelihood.
        parameters: (parameter,) the minimum.
        counts: (bin,) the data n.
        what: name of the observation, for messages.
        curved: with the second derivatives of the rates.

    Raises:
        FitError: the Hessian is not positive definite; the message names the loose combination.
    """
    rates, slope = model.expected(parameters), jacobian(model, parameters)
    hessian = (slope * (counts / rates**2)[:, None]).T @ slope + np.diag(model.width**-2.0)
    pull = 1.0 - counts / rates
    if curved and np.abs(pull).max() > 1e-9:
        hessian += _curvature(model, parameters, pull)
    scale = 1.0 / np.sqrt(np.where(np.diag(hessian) > 0.0, np.diag(hessian), 1.0))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    if not values[0] > 1e-12:
        names = [model.names[i] for i in np.argsort(-np.abs(vectors[:, 0]))[:2]]
        raise FitError(
            f"fit of {model.name} to {what}: the likelihood is not convex at its minimum; "
            f"it does not fix the combination of '{names[0]}' and '{names[1]}'."
            if len(names) > 1
            else f"fit of {model.name} to {what}: the likelihood does not fix '{names[0]}'."
        )
    return np.asarray((vectors / values) @ vectors.T * np.outer(scale, scale), dtype=np.float64)


def _curvature(model: FitModel, parameters: Floats, weight: Floats) -> Floats:
    """Return (parameter, parameter): second derivatives of sum_b weight_b lambda_b(parameters)."""

    def total(shift: Floats) -> float:
        return float(weight @ model.expected(parameters + shift))

    steps = SECOND * np.eye(len(parameters))
    middle = total(np.zeros_like(parameters))
    sides = np.array([total(step) + total(-step) for step in steps])
    second = np.diag((sides - 2.0 * middle) / SECOND**2)
    for i in range(len(parameters)):
        for j in range(i):
            both = total(steps[i] + steps[j]) + total(-steps[i] - steps[j])
            second[i, j] = second[j, i] = (both - sides[i] - sides[j] + 2.0 * middle) / (2.0 * SECOND**2)
    return second
