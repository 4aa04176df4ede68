"""Posterior of the parameters around their most likely values, and weighted quantiles of what depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.placement.fit import Whitened, hessian, objective
from shiftlab.bias.statistic import Floats

__all__ = ["Posterior", "posterior", "quantiles"]

ENDS: Final[Floats] = 0.5 + np.array([-HALF_95, -HALF_68, HALF_68, HALF_95])
"""Probabilities at the ends of the central 95% and 68% intervals."""

_DRAWS: Final = 4096
_INFLATED: Final = 1.1
"""Factor on the standard deviations of the proposal: tails heavier than the Hessian's are still drawn."""

_ENOUGH: Final = 0.3
"""Share of effective draws below which the weighted draws only start Markov chains."""

_CHAINS: Final = 512
_UPDATES: Final = 500
"""Updates of every chain; the second half is kept. Ten times as many move no end of an interval by 0.05 sigma."""

_JUMP: Final = 0.1
"""Share of the updates that take whole differences, by which chains pass from one minimum to another."""


@dataclass(frozen=True)
class Posterior:
    """Weighted draws of the parameters.

    Attributes:
        theta: (draw, parameter).
        weight: (draw,), adding up to 1.
        hessian: (parameter, parameter), half the second derivative at the most likely values.
        effective: 1 / sum of squared weights over the number of draws of the normal that the Hessian gives; near 1
            where that is the posterior. Below 0.3 the draws are those of Markov chains.
    """

    theta: Floats
    weight: Floats
    hessian: Floats
    effective: float

    @property
    def covariance(self) -> Floats:
        """(parameter, parameter): covariance of the weighted draws."""
        centred = self.theta - self.weight @ self.theta
        return np.asarray((centred * self.weight[:, None]).T @ centred)


def posterior(white: Whitened, observed: Floats, best: Floats, seed: int = 0) -> Posterior:
    """Draw from the normals that the Hessians give and weigh by the exact objective.

    The weights are the correction for even responses: without them the intervals are the Hessian's. One-sided
    nuisances are cut at 0. Where even responses bend the posterior so much that few draws count, chains go on from
    there.

    Args:
        white: The whitened model.
        observed: (whitened summary,).
        best: (minimum, parameter), the most likely values and any others that cannot be told apart, the best first.
        seed: Of the draws.
    """
    curvatures = [hessian(white, observed, theta) for theta in best]
    centres: list[Floats] = list(best)
    covariances: list[Floats] = [_inverse(curvature) * _INFLATED**2 for curvature in curvatures]
    normal = _normals(len(best), best.shape[1], seed)
    found = _weighed(white, observed, normal, centres, covariances, curvatures[0])
    return found if found.effective >= _ENOUGH else _chains(white, observed, found, seed)


def _chains(white: Whitened, observed: Floats, found: Posterior, seed: int) -> Posterior:
    """Return draws of Markov chains that propose differences of each other (Ter Braak, Stat. Comput. 16 (2006) 239).

    Half of the chains move at a time, along differences of the other half, which keeps detailed balance. They start
    at the weighted draws, each draw at most once, so that they are spread out where a few have all the weight.
    """
    rng = np.random.default_rng(seed + 1)
    allowed = np.flatnonzero(found.weight > 0.0)
    least = np.sort(found.weight[allowed])[-min(len(allowed), _CHAINS)]
    share = np.minimum(found.weight[allowed], max(least, 1e-12)) + 1e-15
    theta = found.theta[rng.choice(allowed, _CHAINS, replace=len(allowed) < _CHAINS, p=share / share.sum())]
    bounded, half = white.model.bounded, _CHAINS // 2
    value = objective(white, observed[None], theta)
    kept = []
    for update in range(2 * _UPDATES):
        moved, others = (slice(0, half), slice(half, None)) if update % 2 else (slice(half, None), slice(0, half))
        first = rng.integers(half, size=half)
        second = (first + rng.integers(1, half, size=half)) % half
        factor = np.where(rng.random(half) < _JUMP, 1.0, 2.38 / np.sqrt(2.0 * theta.shape[1]))[:, None]
        step = factor * (theta[others][first] - theta[others][second])
        trial = theta[moved] + step + 1e-4 * rng.standard_normal(step.shape)
        new = objective(white, observed[None], trial)
        new[(trial[:, bounded] < 0.0).any(axis=1)] = np.inf
        accepted = np.log(rng.random(half)) < (value[moved] - new) / 2.0
        theta[moved] = np.where(accepted[:, None], trial, theta[moved])
        value[moved] = np.where(accepted, new, value[moved])
        if update >= _UPDATES and update % (2 * _UPDATES // 16) == 0:
            kept.append(theta.copy())
    drawn = np.concatenate(kept)
    return Posterior(drawn, np.full(len(drawn), 1.0 / len(drawn)), found.hessian, found.effective)


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _normals(minima: int, parameters: int, seed: int) -> Floats:
    """Return antithetic standard normals, (minimum, draw, parameter)."""
    half = np.random.default_rng(seed).standard_normal((minima, _DRAWS // (2 * minima), parameters))
    return np.concatenate([half, -half], axis=1)


def _weighed(
    white: Whitened,
    observed: Floats,
    normal: Floats,
    centres: list[Floats],
    covariances: list[Floats],
    curvature: Floats,
) -> Posterior:
    roots = [np.asarray(np.linalg.cholesky(one), dtype=np.float64) for one in covariances]
    theta = np.concatenate([centre + one @ root.T for centre, root, one in zip(centres, roots, normal, strict=True)])
    density = np.stack([_log_normal(theta - centre, root) for centre, root in zip(centres, roots, strict=True)])
    log = -objective(white, observed[None], theta) / 2.0 - logsumexp(density, axis=0)
    log[(theta[:, white.model.bounded] < 0.0).any(axis=1)] = -np.inf
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    return Posterior(theta, weight, curvature, float(1.0 / (weight**2).sum() / len(weight)))


def _log_normal(difference: Floats, root: Floats) -> Floats:
    """Return the log density of a normal with Cholesky factor ``root`` up to a constant, (draw,)."""
    scaled = solve_triangular(root, difference.T, lower=True)
    return np.asarray(-(scaled**2).sum(axis=0) / 2.0 - np.log(np.diag(root)).sum())


def quantiles(values: Floats, weight: Floats, wanted: Floats = ENDS) -> Floats:
    """Return weighted quantiles, (wanted, ...); by default low95, low68, high68, high95 of the central intervals.

    Args:
        values: (draw, ...).
        weight: (draw,), adding up to 1.
        wanted: (wanted,), probabilities.
    """
    order = np.argsort(values, axis=0, kind="stable")
    flat = np.take_along_axis(values, order, axis=0).reshape(len(values), -1)
    cumulated = np.cumsum(weight[order], axis=0).reshape(len(values), -1)
    middle = cumulated - weight[order].reshape(len(values), -1) / 2.0
    found = [np.interp(wanted, middle[:, i], flat[:, i]) for i in range(flat.shape[1])]
    return np.stack(found, axis=1).reshape(len(wanted), *values.shape[1:])
