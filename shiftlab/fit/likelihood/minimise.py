"""Minima of many likelihoods at once: Fisher scoring, then Newton steps, inside the bounds, with step halving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import Point, Spectra, evaluate, gradient, hessian, information

__all__ = ["AT_BOUND", "CONVERGED", "FAILED", "Minima", "minimise"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONVERGED: Final = "converged"
AT_BOUND: Final = "at bound"
FAILED: Final = "failed"

TOLERANCE: Final = 1e-10
"""Estimated distance to the minimum, in -ln L, at which a fit has converged; MINUIT's default is 1e-4."""

ITERATIONS: Final = 200
_HALVINGS: Final = 40
_NEWTON: Final = 1.0
"""Exact second derivatives are used from this estimated distance on: far out they need not be positive."""

_LAST: Final = 1e-5
"""A Newton step from here that lowers the likelihood as foreseen is the last: its distance shrinks to its square."""

_CHUNK: Final = 400_000
"""Numbers in one array of derivatives (3 MB): a batch is cut so that it stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Minima:
    """Where the fits ended.

    Attributes:
        parameters: (fit, parameter) best fit, gammas included.
        deviance: (fit,) saturated -2 ln L there.
        distance: (fit,) estimated distance to the minimum in -ln L.
        gradient: (fit, outer) of -ln L.
        status: (fit,) ``converged``, ``at bound`` or ``failed``.
        reason: (fit,) what is at a bound, or why it failed; empty otherwise.
        iterations: (fit,) steps taken.
    """

    parameters: Floats
    deviance: Floats
    distance: Floats
    gradient: Floats
    status: tuple[str, ...]
    reason: tuple[str, ...]
    iterations: npt.NDArray[np.int64]

    @property
    def good(self) -> Bools:
        """(fit,) whether a minimum was found, at a bound or not."""
        return np.array([status != FAILED for status in self.status], dtype=np.bool_)


def minimise(model: Likelihood, data: Spectra, start: Floats, held: Bools) -> Minima:
    """Fit every row of ``data``; a row that fails never stops the others.

    Args:
        model: the likelihood.
        data: the spectra.
        start: (fit, parameter) first values and the values of held parameters.
        held: (fit, parameter) what does not move.
    """
    start = np.where(held, start, np.clip(start, model.parameters.lower, model.parameters.upper))
    size = max(1, _CHUNK // max(1, len(model.outer) * model.nominal.size))
    parts = []
    for first in range(0, len(start), size):
        rows = np.arange(first, min(first + size, len(start)))
        parts.append(_Search(model, data[rows], start[rows], held[rows]).run())
    return Minima(
        parameters=np.concatenate([part.parameters for part in parts]),
        deviance=np.concatenate([part.deviance for part in parts]),
        distance=np.concatenate([part.distance for part in parts]),
        gradient=np.concatenate([part.gradient for part in parts]),
        status=tuple(status for part in parts for status in part.status),
        reason=tuple(reason for part in parts for reason in part.reason),
        iterations=np.concatenate([part.iterations for part in parts]),
    )


class _Search:
    """The rows of one batch that are still on their way."""

    def __init__(self, model: Likelihood, data: Spectra, start: Floats, held: Bools) -> None:
        self.model, self.data, self.held = model, data, held
        self.values, count = start.copy(), len(start)
        self.deviance = np.full(count, np.inf)
        self.distance = np.full(count, np.inf)
        self.slope = np.zeros((count, len(model.outer)))
        self.reason = [""] * count
        self.failed = np.zeros(count, dtype=np.bool_)
        self.iterations = np.zeros(count, dtype=np.int64)
        self.last: tuple[npt.NDArray[np.int64], Point] | None = None

    def run(self) -> Minima:
        live = np.arange(len(self.values))
        at = evaluate(self.model, self.data, self.values, self.held)
        self.values, self.deviance, self.last = at.parameters.copy(), at.deviance.copy(), (live, at)
        live = self._drop(live, ~np.isfinite(at.deviance), "the likelihood is not finite at the start")
        for _ in range(ITERATIONS):
            if not len(live):
                break
            live = self._step(live)
        self._drop(live, np.ones(len(live), dtype=np.bool_), f"no minimum after {ITERATIONS} steps")
        return self._result()

    def _drop(self, live: npt.NDArray[np.int64], bad: Bools, why: str) -> npt.NDArray[np.int64]:
        for row in live[bad]:
            self.failed[row], self.reason[row] = True, why
        return live[~bad]

    def _step(self, live: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        model, data, held = self.model, self.data[live], self.held[live]
        if self.last is not None and np.array_equal(self.last[0], live):
            at = self.last[1]  # all rows took their last step in full: the likelihood there is known
        else:
            at = evaluate(model, data, self.values[live], held)
        jacobian, slope = gradient(model, data, at)
        x, p, outer = at.parameters[:, model.outer], model.parameters, model.outer
        low, high = x <= p.lower[outer], x >= p.upper[outer]
        still = held[:, outer] | (low & (slope > 0.0)) | (high & (slope < 0.0))
        direction, distance = np.zeros_like(slope), np.full(len(live), np.nan)
        near = self.distance[live] < _NEWTON
        if near.any():
            exact = hessian(model, data, at, jacobian)
            direction = _solve(exact, slope, still)
            distance = np.where(near, -0.5 * np.einsum("ti,ti->t", slope, direction), np.nan)
        # Where the likelihood is not convex a Newton step can climb; Fisher's cannot.
        newton = distance >= 0.0
        if not newton.all():
            safe = _solve(information(model, data, at, jacobian), slope, still)
            direction = np.where(newton[:, None], direction, safe)
            distance = np.where(newton, distance, -0.5 * np.einsum("ti,ti->t", slope, safe))
        self.distance[live], self.slope[live] = distance, np.where(still, 0.0, slope)
        going = ~(distance < TOLERANCE)
        if not going.any():
            return live[:0]
        rows = live[going]
        gain = self._descend(rows, x[going], direction[going], (low | high)[going], distance[going])
        # Rounding of the likelihood hides the last of the way; further out, a step that finds nothing lower is a kink.
        moved = np.isfinite(gain)
        lost = ~moved & (distance[going] > 1e-6)
        self.iterations[rows] += 1
        foreseen = 2.0 * distance[going]
        done = ~moved | (newton[going] & (foreseen < 2.0 * _LAST) & (np.abs(gain - foreseen) < 0.1 * foreseen))
        return self._drop(rows, lost, "no lower likelihood along the step")[~done[~lost]]

    def _descend(
        self, rows: npt.NDArray[np.int64], x: Floats, direction: Floats, bounded: Bools, distance: Floats
    ) -> Floats:
        """Halve the steps until the likelihood falls; return (row,) by how much, NaN where it never did."""
        model, p, outer = self.model, self.model.parameters, self.model.outer
        start, values = self.deviance[rows], self.values[rows]
        # A parameter at its bound that a correlated step would push outward stays.
        outward = bounded & (((x <= p.lower[outer]) & (direction < 0.0)) | ((x >= p.upper[outer]) & (direction > 0.0)))
        direction = np.where(outward, 0.0, direction)
        left, length = np.arange(len(rows)), 1.0
        fallen = np.full(len(rows), np.nan)
        for _ in range(_HALVINGS):
            trial = values[left].copy()
            trial[:, outer] = np.clip(x[left] + length * direction[left], p.lower[outer], p.upper[outer])
            trial[:, outer] = np.where(self.held[rows[left]][:, outer], x[left], trial[:, outer])
            at = evaluate(model, self.data[rows[left]], trial, self.held[rows[left]])
            gain = start[left] - at.deviance
            # Two values of the likelihood differ by rounding, about 1e-12 of their size.
            lower = gain > 1e-4 * length * distance[left] - 1e-12 * (1.0 + start[left])
            self.last = (rows[left], at) if lower.all() else None
            self.values[rows[left[lower]]] = at.parameters[lower]
            self.deviance[rows[left[lower]]] = at.deviance[lower]
            fallen[left[lower]] = gain[lower]
            left = left[~lower]
            if not len(left):
                break
            length *= 0.5
        return fallen

    def _result(self) -> Minima:
        p, outer = self.model.parameters, self.model.outer
        x = self.values[:, outer]
        close = 1e-9 * (p.upper - p.lower)[outer]
        touching = ~self.held[:, outer] & ((x <= p.lower[outer] + close) | (x >= p.upper[outer] - close))
        status = []
        for row, failed in enumerate(self.failed):
            names = [p.names[i] for i in outer[touching[row]]]
            if not failed and names:
                self.reason[row] = ", ".join(names)
            status.append(FAILED if failed else AT_BOUND if names else CONVERGED)
        return Minima(
            self.values, self.deviance, self.distance, self.slope, tuple(status), tuple(self.reason), self.iterations
        )


def _solve(matrix: Floats, slope: Floats, still: Bools) -> Floats:
    """Return (fit, outer): the step, zero where ``still``; a direction without information does not move."""
    free = ~still
    matrix = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
    diagonal = np.einsum("tii->ti", matrix)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = matrix * scale[:, :, None] * scale[:, None, :]
    position = np.arange(matrix.shape[1])
    scaled[:, position, position] = np.where(diagonal > 0.0, 1.0 + 1e-13, 1.0)
    right = np.where(free, -slope, 0.0) * scale
    try:
        found = np.linalg.solve(scaled, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        found = np.stack([np.linalg.lstsq(m, r, rcond=1e-12)[0] for m, r in zip(scaled, right, strict=True)])
    return np.asarray(found * scale, dtype=np.float64)
