"""Is a variation there at all: chi2 of its shift with the paired covariance, also where that is singular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Significance", "chi_square", "full_inverse", "probability", "pseudo_inverse", "significance"]

Floats = npt.NDArray[np.float64]

_RANK: Final = 1e-9
"""Eigenvalues below this part of the largest one are rounding."""

_ONE_SIDED_95: Final = 1.6449
"""95% quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Significance:
    """Test of the hypothesis that a variation does nothing.

    Attributes:
        chi2: Delta^T Cov^+ Delta; infinite where Delta is larger than zero in a direction without variance.
        ndf: rank of the covariance.
        p_value: probability of a larger chi2 without an effect; 1 when nothing moved.
        limit: 95% upper limit on the relative change of the yield, the larger of the sides; NaN for an empty sample.
    """

    chi2: float
    ndf: int
    p_value: float
    limit: float

    def numbers(self) -> dict[str, float]:
        """Return the numbers for the record."""
        return {"chi2": self.chi2, "ndf": self.ndf, "p_value": self.p_value, "yield_limit": self.limit}


def pseudo_inverse(covariance: Floats) -> tuple[Floats, int]:
    """Return the inverse of (n, n) on its range, and the rank."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _RANK * max(float(values.max(initial=0.0)), np.finfo(np.float64).tiny)
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T, int(kept.sum())


def full_inverse(covariance: Floats) -> Floats:
    """Return the inverse of (n, n), not zero, with the smallest positive eigenvalue in place of those that are zero."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _RANK * float(values.max())
    return np.asarray((vectors / np.where(kept, values, values[kept].min())) @ vectors.T)


def chi_square(delta: Floats, covariance: Floats) -> tuple[float, int, float]:
    """Return Delta^T Cov^+ Delta of (n,) and (n, n), the rank, and the probability of a larger one.

    The sum over events x of x x^T has Delta, the sum over x, in its range, so that no part of a paired shift is lost
    where the rank is below n. With few moved events chi2 is at most their number, so the test is conservative.
    """
    if not delta.any():
        return 0.0, 0, 1.0
    inverse, rank = pseudo_inverse(covariance)
    outside = delta - covariance @ (inverse @ delta)
    if float(np.abs(outside).max()) > 1e-6 * float(np.abs(delta).max()):
        return float("inf"), rank, 0.0
    value = float(delta @ inverse @ delta)
    return value, rank, probability(value, rank)


def probability(chi2: float, ndf: int) -> float:
    """Return the probability of a larger chi2 of ``ndf`` degrees of freedom; 1 where there are none."""
    from scipy.special import gammaincc

    return float(gammaincc(0.5 * ndf, 0.5 * chi2)) if ndf else 1.0


def significance(nominal: Floats, up: Floats, down: Floats, covariance: Floats) -> Significance:
    """Test both sides of one variation of one sample in one channel together.

    Args:
        nominal: (bin,) expected events.
        up: (bin,) at +1 sigma.
        down: (bin,) at -1 sigma.
        covariance: (side, bin, side, bin) paired covariance of (up - nominal, down - nominal).
    """
    delta = np.concatenate([up - nominal, down - nominal])
    matrix = covariance.reshape(len(delta), len(delta))
    value, ndf, p_value = chi_square(delta, matrix)
    total = float(nominal.sum())
    changes = np.abs([float(side.sum()) - total for side in (up, down)])
    errors = np.sqrt(np.maximum(np.einsum("pbpc->p", covariance), 0.0))
    limit = float((changes + _ONE_SIDED_95 * errors).max()) / total if total > 0.0 else float("nan")
    return Significance(value, ndf, p_value, limit)
