"""Significance of biases: each cell's z and p, control of many cells at once, and all tasks of a shift jointly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Joint", "holm", "joint", "p_values", "q_values", "z_values"]

_SAME: Final = 1e-10
"""Share of the largest variance, of tasks in units of their errors, below which a combination does not vary."""


def z_values(size: Floats, error: Floats) -> Floats:
    """Return size / error; 0 where both are 0, as in a universe equal to the nominal, infinite where only the error."""
    alone = np.where(size == 0.0, 0.0, np.copysign(np.inf, size))
    return np.asarray(np.divide(size, error, out=alone, where=error > 0.0), dtype=np.float64)


def p_values(z: Floats, degrees: int | None = None) -> Floats:
    """Return the two-sided p-values of z.

    Args:
        z: Bias over its error, any shape.
        degrees: Degrees of freedom of the error, one less than the replicas that it is the spread
            of: z then follows Student's t. None for an error that is known, as from influence
            values: z is normal.
    """
    tail = stats.norm.sf(np.abs(z)) if degrees is None else stats.t.sf(np.abs(z), degrees)
    return np.asarray(2.0 * tail, dtype=np.float64)


def q_values(p: Floats) -> Floats:
    """Return the q-values of a family of p-values (cell,).

    Of the cells with q < x at most the share x is expected to be false, for cells that are
    independent or positively dependent.

    Source: Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57, 289; Benjamini and Yekutieli 2001.
    """
    return np.asarray(stats.false_discovery_control(p, method="bh"), dtype=np.float64)


def holm(p: Floats) -> Floats:
    """Return p-values (cell,) adjusted for their number: the chance of any false cell below x is at most x.

    Holds under any dependence. The k-th smallest of m is multiplied by m - k + 1 and made no
    smaller than those before it.

    Source: Holm 1979, Scand. J. Stat. 6, 65.
    """
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * steps))
    return adjusted


@dataclass(frozen=True)
class Joint:
    """One shift's biases of several tasks against no bias at all.

    Attributes:
        statistic: T^2 = b^T Cov^-1 b; infinite where a combination of tasks moves without error.
        freedom: Independent combinations of tasks, the degrees of freedom of chi2.
        p: Probability of a larger value where no task is biased.
    """

    statistic: float
    freedom: int
    p: float


def joint(bias: Floats, covariance: Floats, degrees: int | None = None) -> Joint:
    """Return T^2 of the tasks of one shift, which counts what tasks share once.

    With a known covariance T^2 follows chi2 of H degrees; with one estimated from n + 1 replicas,
    T^2 (n - H + 1) / (n H) follows F(H, n - H + 1), H the independent combinations of tasks. Tasks
    without variance and copies of other tasks are not independent; where they move all the same,
    the bias is certain.

    Args:
        bias: (task,).
        covariance: (task, task), statistical covariance of the biases.
        degrees: n, one less than the number of replicas; None for a covariance that is known, as from influence values.

    Raises:
        DataError: there are fewer replicas than tasks need.

    Source: Hotelling 1931, Ann. Math. Stat. 2, 360.
    """
    root = np.sqrt(np.diag(covariance))
    moves = root > 0.0
    certain = bool((bias[~moves] != 0.0).any())
    scale = root[moves]
    values, vectors = np.linalg.eigh(covariance[np.ix_(moves, moves)] / np.outer(scale, scale))
    along = vectors.T @ (bias[moves] / scale)
    varies = values > _SAME * values.max(initial=0.0)
    certain |= bool((np.abs(along[~varies]) > np.sqrt(_SAME) * np.linalg.norm(along)).any())
    freedom = int(varies.sum())
    if degrees is not None and len(scale) > degrees:
        raise DataError(
            f"the joint significance of {len(scale)} tasks needs at least {len(scale) + 1} bootstrap replicas, "
            f"not {degrees + 1}; more are better."
        )
    if certain:
        return Joint(float("inf"), freedom, 0.0)
    if not freedom:
        return Joint(0.0, 0, 1.0)
    statistic = float((along[varies] ** 2 / values[varies]).sum())
    if degrees is None:
        return Joint(statistic, freedom, float(stats.chi2.sf(statistic, freedom)))
    ratio = statistic * (degrees - freedom + 1) / (degrees * freedom)
    return Joint(statistic, freedom, float(stats.f.sf(ratio, freedom, degrees - freedom + 1)))
