"""Fits that look on both sides: of the kink of a piecewise interpolation, and of an even response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.minimise import Minima, minimise
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import Spectra

__all__ = ["fit_many"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_KINK = 1e-12
"""Distance from the kink of codes 0 and 1 at which one side of it is taken."""

_EVEN = 0.1
"""Even over odd effect, in squares, above which a second minimum on the other side is looked for."""


def fit_many(model: Likelihood, data: Spectra, start: Floats, held: Bools) -> Minima:
    """Fit every row of ``data``; see ``minimise``.

    A response with an even part can give the likelihood a second minimum at the other sign of its nuisance:
    rows are fitted again from there, and the lower minimum is kept. Where rows fail and an interpolation
    code has a kink at 0, the minimum can be at the kink, which no derivative shows: those rows are fitted
    again on each side of it.
    """
    found = minimise(model, data, start, held)
    for index in np.flatnonzero(model.even_share > _EVEN):
        rows = np.flatnonzero(~held[:, index] & found.good)
        if len(rows):
            other = found.parameters[rows]
            value = other[:, index]
            other[:, index] = np.where(value >= 0.0, -1.0, 1.0) * np.maximum(np.abs(value), 0.5)
            found = _lower(found, rows, minimise(model, data[rows], other, held[rows]))
    kinked = _kinked(model)
    bad = np.flatnonzero(~found.good & np.isfinite(found.deviance)) if len(kinked) else ()
    for row in bad:
        for side in _sides(model, data[np.array([row])], found.parameters[row], held[row], kinked):
            found = _lower(found, np.array([row]), side)
    return found


def _kinked(model: Likelihood) -> npt.NDArray[np.int64]:
    shapes = model.shape_index if model.shape_code == "code0" else model.shape_index[:0]
    norms = model.norm_index if model.norm_code == "code1" else model.norm_index[:0]
    return np.unique(np.concatenate([shapes, norms]))


def _sides(
    model: Likelihood, data: Spectra, values: Floats, held: Bools, kinked: npt.NDArray[np.int64]
) -> list[Minima]:
    """Return the fits of one row with the (at most four) parameters closest to their kink kept on either side."""
    close = kinked[(np.abs(values[kinked]) < 0.05) & ~held[kinked]]
    close = close[np.argsort(np.abs(values[close]))][:4]
    found = []
    for signs in np.ndindex(*(2,) * len(close)):
        lower, upper = model.parameters.lower.copy(), model.parameters.upper.copy()
        for index, sign in zip(close, signs, strict=True):
            (lower if sign else upper)[index] = _KINK if sign else -_KINK
        half = replace(model, parameters=replace(model.parameters, lower=lower, upper=upper))
        side = minimise(half, data, np.clip(values, lower, upper)[None], held[None])
        names = [name for name in side.reason[0].split(", ") if name in model.parameters.names]
        outside = [name for name in names if model.parameters.index(name) not in close]
        if side.good[0]:
            side = replace(side, status=("at bound" if outside else "converged",), reason=(", ".join(outside),))
        found.append(side)
    return found


def _lower(found: Minima, rows: npt.NDArray[np.int64], other: Minima) -> Minima:
    """Return ``found`` with those of ``rows`` replaced where ``other`` succeeded and is lower, or where only it did."""
    better = other.good & ((other.deviance < found.deviance[rows] - 1e-9) | ~found.good[rows])
    if not better.any():
        return found
    changed = {}
    for name in ("parameters", "deviance", "distance", "gradient", "iterations"):
        array = getattr(found, name).copy()
        array[rows[better]] = getattr(other, name)[better]
        changed[name] = array
    status, reason = [*found.status], [*found.reason]
    for place in np.flatnonzero(better):
        status[rows[place]], reason[rows[place]] = other.status[place], other.reason[place]
    return Minima(**changed, status=tuple(status), reason=tuple(reason))
