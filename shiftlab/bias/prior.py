"""Systematic covariance of the tasks under a prior in which nuisances are correlated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shiftlab.bias.covariance import Part
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["parts_covariance", "prior_covariance"]


def prior_covariance(
    odd: Floats, even: Floats, correlation: Floats, one_sided: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """Return the covariance about the mean of responses to correlated nuisances, (..., task, task).

    The response of task a is b_a = sum_k r_ka z_k + q_ka z_k^2 with z ~ N(0, C), C the correlation matrix. With R and Q
    the matrices (task, nuisance) of r and q, and ∘ the product element by element,

        Cov(b) = R C R^T + 2 Q (C∘C) Q^T.

    Proof, with the moments of a multivariate normal (Isserlis 1918): E[z_k z_l] = C_kl; odd moments vanish, so
    Cov(z_k, z_l^2) = E[z_k z_l^2] = 0 and the linear and the quadratic terms do not mix; E[z_k^2 z_l^2] = C_kk C_ll +
    2 C_kl^2, so Cov(z_k^2, z_l^2) = 2 C_kl^2. The sums of r_ka Cov(z_k, z_l) r_lb and of q_ka Cov(z_k^2, z_l^2) q_lb
    over k and l are the two terms. With C = 1 this is R R^T + 2 Q Q^T.

    A one-sided nuisance responds as d |z| (d is its ``odd``; its ``even`` is not used). With rho = C_kl:
    Cov(z_k, |z_l|) = 0, since the sign of both can be turned; Cov(z_k^2, |z_l|) = rho^2 sqrt(2/pi), since
    E[z_k^2 | z_l] = 1 + rho^2 (z_l^2 - 1) and E|z|^3 = 2 E|z|; and Cov(|z_k|, |z_l|) =
    (2/pi) (sqrt(1 - rho^2) + rho arcsin(rho) - 1) (Nabeya 1951, absolute moments of the bivariate normal), which is
    1 - 2/pi for rho = 1. The mean, sum_k q_k + d_k sqrt(2/pi), does not depend on C.

    Joint universes are clipped where a parameter would leave its physical bounds; this is the covariance without.

    Args:
        odd: (..., nuisance, task), r, or d where one-sided.
        even: (..., nuisance, task), q.
        correlation: (nuisance, nuisance), C.
        one_sided: bool (nuisance,); none by default.

    Raises:
        DataError: the matrix is not over as many nuisances as the responses.
    """
    number = odd.shape[-2]
    if correlation.shape != (number, number) or even.shape != odd.shape:
        raise DataError(
            f"responses to {number} nuisances (odd {odd.shape}, even {even.shape}) and a prior of shape "
            f"{correlation.shape} do not belong together."
        )
    side = np.zeros(number, dtype=np.bool_) if one_sided is None else one_sided
    linear, square = odd * ~side[:, None], even * ~side[:, None]
    both = correlation**2
    total = _form(linear, correlation, linear) + 2.0 * _form(square, both, square)
    if side.any():
        size = odd * side[:, None]
        mixed = np.sqrt(2.0 / np.pi) * _form(square, both, size)
        total = total + _form(size, _folded(correlation), size) + mixed + np.swapaxes(mixed, -1, -2)
    return np.asarray(total, dtype=np.float64)


def _form(left: Floats, matrix: Floats, right: Floats) -> Floats:
    """Return left^T matrix right for (..., nuisance, task)."""
    return np.asarray(np.swapaxes(left, -1, -2) @ (matrix @ right), dtype=np.float64)


def _folded(correlation: Floats) -> Floats:
    """Return Cov(|z_k|, |z_l|) of normals with these correlations."""
    rho = np.clip(correlation, -1.0, 1.0)
    return np.asarray(2.0 / np.pi * (np.sqrt(1.0 - rho**2) + rho * np.arcsin(rho) - 1.0), dtype=np.float64)


def parts_covariance(parts: Sequence[Part], correlation: Floats) -> Floats:
    """Return the systematic covariance of the tasks, summed over nuisances, (1 + replica, task, task).

    What a nuisance gives alone is its ``Part.covariance``, so that independent nuisances give exactly the sum of these.
    What two correlated ones give together is taken from the mean response over throws: their frozen maps are drawn
    apart, so that only what all maps have in common moves with the other nuisance.

    Args:
        parts: Response to each nuisance.
        correlation: (part, part), prior correlation of their nuisances, ``Design.prior_among``.

    Raises:
        DataError: there is no part, or the matrix is not over the parts.
    """
    if not parts:
        raise DataError("no nuisance has universes at one sigma, so there is no systematic covariance.")
    own = np.sum([part.covariance for part in parts], axis=0)
    if np.array_equal(correlation, np.eye(len(parts))):
        return np.asarray(own, dtype=np.float64)
    odd, even = (np.stack([side.mean(axis=1) for side in sides], axis=1) for sides in _sides(parts))
    one_sided = np.array([part.one_sided for part in parts])
    together = prior_covariance(odd, even, correlation, one_sided)
    return np.asarray(own + together - prior_covariance(odd, even, np.eye(len(parts)), one_sided), dtype=np.float64)


def _sides(parts: Sequence[Part]) -> tuple[list[Floats], list[Floats]]:
    return [part.odd for part in parts], [part.even for part in parts]
