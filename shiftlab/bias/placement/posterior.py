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

_DRAWS: Final = 4096
_INFLATED: Final = 1.1
"""Factor on the standard deviations of the proposal: tails heavier than the Hessian's are still drawn."""

_ADAPT: Final = 0.5
"""Share of effective draws below which the proposal is moved to the weighted moments, once."""


@dataclass(frozen=True)
class Posterior:
    """Weighted draws of the parameters.

    Attributes:
        theta: (draw, parameter).
        weight: (draw,), adding up to 1.
        hessian: (parameter, parameter), half the second derivative at the most likely values.
        effective: 1 / sum of squared weights over the number of draws; near 1 where the posterior is a normal, near 0
            where even responses bend it so much that intervals are rough.
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
    nuisances are cut at 0.

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
    # Too few effective draws would make the moments rougher than the Hessian.
    if len(best) == 1 and 10 * best.shape[1] / _DRAWS < found.effective < _ADAPT:
        centre = np.asarray(found.weight @ found.theta)
        covariance = np.asarray(found.covariance * _INFLATED**2)
        again = _weighed(white, observed, normal, [centre], [covariance], curvatures[0])
        return max(found, again, key=lambda one: one.effective)
    return found


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


def quantiles(values: Floats, weight: Floats) -> Floats:
    """Return the ends of the central 95% and 68% intervals, (4, ...): low95, low68, high68, high95.

    Args:
        values: (draw, ...).
        weight: (draw,), adding up to 1.
    """
    wanted = 0.5 + np.array([-HALF_95, -HALF_68, HALF_68, HALF_95])
    order = np.argsort(values, axis=0, kind="stable")
    flat = np.take_along_axis(values, order, axis=0).reshape(len(values), -1)
    cumulated = np.cumsum(weight[order], axis=0).reshape(len(values), -1)
    middle = cumulated - weight[order].reshape(len(values), -1) / 2.0
    found = [np.interp(wanted, middle[:, i], flat[:, i]) for i in range(flat.shape[1])]
    return np.stack(found, axis=1).reshape(4, *values.shape[1:])
