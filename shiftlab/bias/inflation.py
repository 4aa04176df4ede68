"""How much larger the error of a combination of tasks is than if the tasks moved independently."""

from __future__ import annotations

import numpy as np

from shiftlab.bias.joint_moments import Moments
from shiftlab.bias.statistic import Floats
from shiftlab.bias.universe_interval import LEVEL_68, Limits, positive_interval
from shiftlab.errors import DataError

__all__ = ["inflation", "inflation_interval"]


def inflation(covariance: Floats, weights: Floats) -> Floats:
    """Return kappa = w^T S w / sum_h w_h^2 S_hh, shape (...): 1 for independent tasks, H for H copies of equal weight.

    It is a ratio of variances: the error of the combined result is sqrt(kappa) times what tasks taken as
    independent would give. Below 1 the moves of the tasks cancel.

    Args:
        covariance: (..., task, task), of the tasks' biases in one currency.
        weights: (task,) of the combined result in the same currency; for a fit, d mu / d n times each task's unit.

    Raises:
        DataError: the weights are not one finite number per task, or all zero.
    """
    if weights.shape != covariance.shape[-1:] or not np.isfinite(weights).all() or not weights.any():
        raise DataError(
            f"weights of shape {weights.shape} with {int(np.count_nonzero(weights))} non-zero and "
            f"{int((~np.isfinite(weights)).sum())} non-finite values; one finite weight for each of "
            f"{covariance.shape[-1]} tasks is needed, not all zero."
        )
    together = np.einsum("a,...ab,b->...", weights, covariance, weights)
    alone = np.einsum("a,...aa->...", weights**2, covariance)
    return np.asarray(np.divide(together, alone, out=np.full_like(alone, np.nan), where=alone > 0.0), dtype=np.float64)


def inflation_interval(moments: Moments, weights: Floats, level: float = LEVEL_68) -> Limits:
    """Return kappa with its interval over events, universes (where they are a sample) and seeds; one cell.

    The logarithm is the pivot, or kappa itself cut off at 0 where a subset of universes or replica gives none above 0.

    Raises:
        DataError: the weights are not one finite number per task, or no weighted task moves beyond event noise.
    """
    kappa = inflation(moments.estimate, weights)
    if not np.isfinite(kappa).all():
        raise DataError("no task with a weight has a variance beyond event noise; there is nothing to combine.")
    return positive_interval(moments, lambda matrices: inflation(matrices, weights)[..., None], level)
