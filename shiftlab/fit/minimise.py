"""Minimum of a likelihood by MINUIT's MIGRAD, or an error that names the parameter that kept it from one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shiftlab.fit.errors import FitError
from shiftlab.fit.model import FitModel

if TYPE_CHECKING:
    from iminuit import Minuit

__all__ = ["Minimum", "minimise"]

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-3
"""MINUIT tolerance: converged at an estimated distance to the minimum of 0.002 x this in -2 ln L."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where -2 ln L is smallest.

    Attributes:
        values: (parameter,) best fit.
        goodness: saturated chi2 at the minimum, -2 ln L but for a constant.
        calls: evaluations of the likelihood.
        at_limit: names of the parameters that ended at a bound; their errors mean little.
    """

    values: Floats
    goodness: float
    calls: int
    at_limit: tuple[str, ...]


def minimise(
    model: FitModel,
    counts: Floats,
    *,
    start: Floats,
    steps: Floats,
    fixed: Mapping[int, float] | None = None,
    what: str = "data",
) -> Minimum:
    """Fit ``counts`` (bin,) by MIGRAD; its careful strategy 2 is tried before giving up.

    Args:
        model: the likelihood.
        counts: observed or expected events, not negative.
        start: (parameter,) first values; moved inside the bounds.
        steps: (parameter,) first step sizes, about the expected errors.
        fixed: values of fixed parameters by position.
        what: name of the observation, for messages.

    Raises:
        FitError: counts are negative or not finite, the likelihood is not finite, or no minimum is found.
    """
    from iminuit import Minuit

    if not np.isfinite(counts).all() or (counts < 0.0).any():
        raise FitError(f"fit of {model.name} to {what}: observed counts are negative or not finite: {counts.tolist()}.")

    def objective(parameters: Floats) -> float:
        return model.goodness(parameters, counts)

    fixed = fixed or {}
    first = np.clip(start, model.lower, model.upper)
    for index, value in fixed.items():
        first[index] = value
    minuit = Minuit(objective, first, name=model.names)
    minuit.errordef = Minuit.LEAST_SQUARES
    minuit.errors = np.where(np.isfinite(steps) & (steps > 0.0), steps, 0.1)
    minuit.limits = list(zip(model.lower, model.upper, strict=True))
    minuit.tol = TOLERANCE
    for index in fixed:
        minuit.fixed[index] = True
    if not np.isfinite(objective(first)):
        raise FitError(
            f"fit of {model.name} to {what}: the likelihood is not finite at the start{_rates(model, first)}."
        )
    for strategy in (0, 2):
        minuit.strategy = strategy
        minuit.migrad(ncall=100_000)
        if minuit.valid:
            break
    else:
        raise FitError(_failure(model, minuit, counts, what))
    values = np.array(minuit.values, dtype=np.float64)
    return Minimum(values, float(minuit.fval or 0.0), int(minuit.nfcn), _at_limit(model, values, fixed))


def _at_limit(model: FitModel, values: Floats, fixed: Mapping[int, float]) -> tuple[str, ...]:
    span = 1e-4 * (model.upper - model.lower)
    close = (values < model.lower + span) | (values > model.upper - span)
    return tuple(name for i, name in enumerate(model.names) if close[i] and i not in fixed)


def _rates(model: FitModel, parameters: Floats) -> str:
    rates = model.expected(parameters)
    bad = np.flatnonzero(~(rates > 0.0))
    return f": bin {int(bad[0])} predicts {rates[bad[0]]:.3g} events" if len(bad) else ""


def _failure(model: FitModel, minuit: Minuit, counts: Floats, what: str) -> str:
    """Name the parameter that is at a bound, or whose gradient, times its error, is farthest from zero."""
    values, errors = np.array(minuit.values, dtype=np.float64), np.array(minuit.errors, dtype=np.float64)
    free = ~np.array(minuit.fixed, dtype=np.bool_)
    slope = np.zeros(len(values))
    for i in np.flatnonzero(free):
        step = np.zeros(len(values))
        step[i] = 0.01 * errors[i]
        slope[i] = model.goodness(values + step, counts) - model.goodness(values - step, counts)
    slope[~np.isfinite(slope)] = np.inf
    worst = int(np.abs(slope).argmax())
    limits = _at_limit(model, values, {int(i): 0.0 for i in np.flatnonzero(~free)})
    bounds = f" At a bound: {', '.join(limits)}." if limits else ""
    edm = minuit.fmin.edm if minuit.fmin is not None else np.nan
    return (
        f"fit of {model.name} to {what} did not converge (estimated distance to the minimum {edm:.3g}); parameter "
        f"'{model.names[worst]}' = {values[worst]:.3g} ± {errors[worst]:.3g} drives it{_rates(model, values)}.{bounds}"
    )
