"""Maximum a posteriori fit of nuisances, composition and flux to label-free summaries, many samples at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.placement.model import Model
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Fitted", "Whitened", "fit", "hessian", "jacobian", "objective", "penalty", "whiten"]

_RANK: Final = 1e-8
"""Eigenvalues of the summaries' correlation below this share of the largest are no information but rounding."""

_LEAST: Final = 4
"""Least number of simulated vertices per summary: with 4 the correction of the covariance is 4 / 3."""

_STEPS: Final = 60
_DEFINITE: Final = 0.05
"""Least eigenvalue of a step's Hessian; the priors alone give 1."""

_LONGEST: Final = 2.0
"""Longest step of one parameter, in prior standard deviations: an exponential normalisation must not run away."""

_TOLERANCE: Final = 1e-6
"""Fall of the objective, or square of a step over the posterior standard deviation, below which a fit is done."""


@dataclass(frozen=True)
class Whitened:
    """The model in summaries that are uncorrelated with variance 1 (for one frozen covariance).

    Attributes:
        model: The model.
        transform: (whitened summary, summary).
        total: (sample, 1 + mode, term, whitened summary).
    """

    model: Model
    transform: Floats
    total: Floats

    @property
    def size(self) -> int:
        """Number of independent summaries."""
        return len(self.transform)


def whiten(model: Model, theta: Floats) -> Whitened:
    """Return the model whitened with its covariance at theta (parameter,).

    The covariance is itself estimated from n simulated vertices, which makes its inverse too large by
    (n - 1) / (n - p - 2) for p summaries (Hartlap, Simon and Schneider 2007, arXiv:astro-ph/0608064): taken out here.

    Raises:
        DataError: no summary has any variance, or there are too few vertices for so many summaries.
    """
    covariance = model.covariance(theta)
    scale = np.sqrt(np.diag(covariance))
    # A summary without variance (a bin without events) holds no information.
    seen = scale > 1e-9 * np.sqrt(np.abs(model.library.event_moment).sum(axis=0).diagonal() + 1e-300)
    if not seen.any():
        raise DataError("no summary has any variance; is the simulated sample empty?")
    values, vectors = np.linalg.eigh(covariance[np.ix_(seen, seen)] / np.outer(scale[seen], scale[seen]))
    keep = values > _RANK * values[-1]
    size, vertices = int(keep.sum()), model.vertices
    if vertices < _LEAST * size:
        raise DataError(
            f"{size} independent summaries of {vertices:.0f} simulated vertices: {_LEAST} vertices per summary are "
            "needed for their covariance; take fewer columns, bins or powers, or more events."
        )
    transform = np.zeros((size, len(scale)))
    transform[:, seen] = (vectors[:, keep] / np.sqrt(values[keep])).T / scale[seen]
    transform *= np.sqrt((vertices - size - 2.0) / (vertices - 1.0))
    return Whitened(
        model=model,
        transform=transform,
        total=model.library.total @ transform.T,
    )


def jacobian(white: Whitened, theta: Floats) -> tuple[Floats, Floats]:
    """Return the expected whitened summaries (toy, summary) and their derivatives (toy, parameter, summary)."""
    model = white.model
    sample, modes, term = model.factors(theta)
    by_term = np.einsum("tc,tm,cmuj->tuj", sample, modes, white.total, optimize=True)
    parts = [model.slopes(theta) @ by_term]
    floating = np.flatnonzero(model.width)
    if len(floating):
        each = np.einsum("tm,tu,cmuj->tcj", modes, term, white.total[floating], optimize=True)
        parts.append(each * (sample * model.width)[:, floating, None])
    if model.float_modes:
        parts.append(np.einsum("tc,tu,cmuj->tmj", sample, term, white.total[:, 1:], optimize=True))
    return np.einsum("tu,tuj->tj", term, by_term), np.concatenate(parts, axis=1)


def objective(white: Whitened, observed: Floats, theta: Floats) -> Floats:
    """Return chi2 + penalty, (toy,): minus twice the log of the posterior, up to a constant.

    Args:
        white: The whitened model.
        observed: (toy or 1, whitened summary).
        theta: (toy, parameter).
    """
    sample, modes, term = white.model.factors(theta)
    weights = np.einsum("tc,tm,tu->tcmu", sample, modes, term).reshape(len(theta), -1)
    residual = observed - weights @ white.total.reshape(weights.shape[1], -1)
    return np.asarray((residual**2).sum(axis=1) + penalty(white.model, theta))


def penalty(model: Model, theta: Floats) -> Floats:
    """Return theta^T P theta, (toy,), P the inverse of the prior's covariance: theta^2 for independent nuisances."""
    return np.asarray(((theta @ model.precision) * theta).sum(axis=1))


@dataclass(frozen=True)
class Fitted:
    """Most likely parameters of each sample.

    Attributes:
        theta: (toy, parameter).
        chi2: (toy,), of the summaries.
        penalty: (toy,), what the priors add.
        converged: Bool (toy,): the fit was done before the steps ran out.
    """

    theta: Floats
    chi2: Floats
    penalty: Floats
    converged: npt.NDArray[np.bool_]

    @property
    def objective(self) -> Floats:
        """(toy,): chi2 + penalty, what was minimised."""
        return self.chi2 + self.penalty


def fit(white: Whitened, observed: Floats, start: Floats) -> Fitted:
    """Minimise the objective by Newton steps with Levenberg's damping, all samples at once.

    Args:
        white: The whitened model.
        observed: (toy, whitened summary).
        start: (toy, parameter). One-sided nuisances should not start at 0, where their slope may vanish.
    """
    theta, bounded = start.copy(), white.model.bounded
    value = objective(white, observed, theta)
    damping = np.zeros(len(theta))
    done = np.zeros(len(theta), dtype=np.bool_)
    for _ in range(_STEPS):
        expected, slopes = jacobian(white, theta)
        residual = observed - expected
        half = theta @ white.model.precision - np.einsum("tpj,tj->tp", slopes, residual)
        matrix = _curvature(white, residual, theta, slopes)
        active = bounded & (theta <= 0.0) & (half >= 0.0)
        half = np.where(active, 0.0, half)
        matrix = np.where(active[:, :, None] | active[:, None, :], np.eye(theta.shape[1]), matrix)
        diagonal = np.einsum("tpp->tp", matrix)
        damped = matrix + np.eye(theta.shape[1]) * (damping[:, None] * diagonal)[:, None, :]
        step = -np.linalg.solve(damped, half[:, :, None])[:, :, 0]
        step *= np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        trial = np.where(bounded, np.maximum(theta + step, 0.0), theta + step)
        found = objective(white, observed, trial)
        better = (found <= value + 1e-10 * np.abs(value)) & ~done
        done |= ((trial - theta) ** 2 * diagonal).max(axis=1) < _TOLERANCE
        done |= better & (value - found < _TOLERANCE)
        theta = np.where(better[:, None], trial, theta)
        value = np.where(better, found, value)
        damping = np.where(better, damping / 10.0, np.maximum(10.0 * damping, 1e-3))
        damping[damping < 1e-6] = 0.0
        if done.all():
            break
    chi2 = ((observed - jacobian(white, theta)[0]) ** 2).sum(axis=1)
    return Fitted(theta, chi2, penalty(white.model, theta), done)


def _curvature(white: Whitened, residual: Floats, theta: Floats, slopes: Floats) -> Floats:
    """Return half the second derivative of the objective, (toy, parameter, parameter).

    J^T J + P minus the residual times the second derivatives of the expectation: even responses, and products of
    nuisances, composition and flux; P is the prior's. Where that is not positive definite, J^T J + P alone.
    """
    model = white.model
    sample, modes, term = model.factors(theta)
    pulled = np.einsum("tj,cmuj->tcmu", residual, white.total, optimize=True)
    moved = np.einsum("tku,tcmu->tkcm", model.slopes(theta), pulled, optimize=True)
    plain = slopes @ slopes.transpose(0, 2, 1) + model.precision
    bend = np.zeros_like(plain)
    floating = np.flatnonzero(model.width)
    nuisances, first = len(model.library.nuisances), len(model.library.nuisances) + len(floating)
    each, which = np.arange(nuisances), nuisances + np.arange(len(floating))
    scale = (sample * model.width)[:, floating]
    bend[:, each, each] = 2.0 * np.einsum("tc,tm,tcmu->tu", sample, modes, pulled[..., 2::2], optimize=True)
    bend[:, :nuisances, nuisances:first] = np.einsum("tc,tm,tkcm->tkc", scale, modes, moved[:, :, floating])
    own = np.einsum("tm,tu,tcmu->tc", modes, term, pulled[:, floating], optimize=True)
    bend[:, which, which] = scale * model.width[floating] * own
    if model.float_modes:
        bend[:, :nuisances, first:] = np.einsum("tc,tkcm->tkm", sample, moved[..., 1:])
        bend[:, nuisances:first, first:] = np.einsum("tc,tu,tcmu->tcm", scale, term, pulled[:, floating, 1:])
    lower = np.tril_indices(theta.shape[1], -1)
    bend[:, lower[0], lower[1]] = bend[:, lower[1], lower[0]]
    full = plain - bend
    definite = np.linalg.eigvalsh(full)[:, 0] > _DEFINITE
    return np.asarray(np.where(definite[:, None, None], full, plain), dtype=np.float64)


def hessian(white: Whitened, observed: Floats, theta: Floats) -> Floats:
    """Return half the second derivative of the objective, (parameter, parameter): the inverse posterior covariance.

    Args:
        white: The whitened model.
        observed: (whitened summary,).
        theta: (parameter,).
    """
    expected, slopes = jacobian(white, theta[None])
    curvature: Floats = _curvature(white, observed - expected, theta[None], slopes)[0]
    return curvature
