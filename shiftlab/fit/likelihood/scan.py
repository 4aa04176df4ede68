"""Profile likelihood along one parameter, and the interval where it stays below a level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.errors import FitError
from shiftlab.fit.likelihood.fitting import Fitted
from shiftlab.fit.likelihood.impacts import fixed_rows
from shiftlab.fit.likelihood.minimise import Minima
from shiftlab.fit.likelihood.starts import fit_many

__all__ = ["Interval", "interval", "profile", "scan"]

Floats = npt.NDArray[np.float64]


def profile(fitted: Fitted, name: str, values: npt.ArrayLike) -> Minima:
    """Fit with one parameter fixed at each of ``values`` (fit,); all fits are one batch."""
    at = np.asarray(values, dtype=np.float64)
    index = np.full(len(at), fitted.model.parameters.index(name))
    start, held = fixed_rows(fitted, index, at - fitted.parameters[index])
    return fit_many(fitted.model, fitted.data.repeat(len(at)), start, held)


def scan(fitted: Fitted, name: str, values: npt.ArrayLike) -> pd.DataFrame:
    """Return the profile likelihood: value, delta (of -2 ln L from the best fit, NaN where it failed), status."""
    found = profile(fitted, name, values)
    delta = np.where(found.good, found.deviance - fitted.goodness, np.nan)
    return pd.DataFrame({"value": np.asarray(values, dtype=np.float64), "delta": delta, "status": found.status})


@dataclass(frozen=True)
class Interval:
    """Where the profile likelihood stays within ``delta`` of its minimum.

    Attributes:
        lower: lower end, the parameter's bound where the level is not reached before it.
        upper: upper end, likewise.
        at_bound: which ends are bounds: none, ``lower``, ``upper`` or both.
    """

    lower: float
    upper: float
    at_bound: tuple[str, ...]


def interval(fitted: Fitted, name: str, delta: float = 1.0) -> Interval:
    """Return the ends of the interval where -2 ln L rises by ``delta``, to 1e-4 of the error.

    The root of the rise is nearly linear in the distance, so regula falsi (Illinois) takes a few steps,
    each one batch of the two sides.

    Raises:
        FitError: a fit along the way fails.
    """
    p, index = fitted.model.parameters, fitted.model.parameters.index(name)
    best, error = fitted.value(name), fitted.error(name)
    limits = np.array([p.lower[index], p.upper[index]])
    span = float(limits[1] - limits[0])
    error = error if error > 1e-6 * span else 0.01 * span  # at a bound the curvature can be infinite
    sides = np.array([-1.0, 1.0])
    inner, outer = np.full(2, best), np.clip(best + sides * error * np.sqrt(delta), limits[0], limits[1])
    f_inner, f_outer = np.full(2, -np.sqrt(delta)), _rise(fitted, name, outer) - np.sqrt(delta)
    for _ in range(40):
        short = (f_outer < 0.0) & (outer != limits)
        if not short.any():
            break
        inner, f_inner = np.where(short, outer, inner), np.where(short, f_outer, f_inner)
        outer = np.where(short, np.clip(best + 2.0 * (outer - best), limits[0], limits[1]), outer)
        f_outer = _rise(fitted, name, outer) - np.sqrt(delta)
    at_bound = f_outer < 0.0
    for _ in range(60):
        if (at_bound | (np.abs(outer - inner) < 1e-4 * error) | (np.abs(f_outer) < 1e-6)).all():
            break
        gap = f_outer - f_inner
        middle = outer - f_outer * (outer - inner) / np.where(gap == 0.0, 1.0, gap)
        middle = np.where(at_bound, outer, middle)
        found = _rise(fitted, name, middle) - np.sqrt(delta)
        beyond = found * f_outer < 0.0
        inner, f_inner = np.where(beyond, outer, inner), np.where(beyond, f_outer, 0.5 * f_inner)
        outer, f_outer = middle, np.where(at_bound, f_outer, found)
    names = tuple(side for side, hit in zip(("lower", "upper"), at_bound, strict=True) if hit)
    return Interval(float(outer[0]), float(outer[1]), names)


def _rise(fitted: Fitted, name: str, values: Floats) -> Floats:
    found = profile(fitted, name, values)
    if not found.good.all():
        bad = int(np.flatnonzero(~found.good)[0])
        raise FitError(
            f"fit of {fitted.model.name} to {fitted.what} with {name} = {values[bad]:.4g} fixed did not converge: "
            f"{found.reason[bad]}."
        )
    return np.asarray(np.sqrt(np.maximum(found.deviance - fitted.goodness, 0.0)), dtype=np.float64)
