"""Area under the ROC curve as the Mann-Whitney probability, with ties, for many sets of event weights."""

from __future__ import annotations

import numpy as np

from shiftlab.tasks.task import Booleans, Floats

__all__ = ["weighted_auc"]


def weighted_auc(score: Floats, positive: Booleans, weights: Floats) -> Floats:
    """Return P(score of a positive > score of a negative) + P(equal)/2 for each set of weights.

    Args:
        score: (..., event); larger means more like the positive class.
        positive: (event,), the events of the positive class.
        weights: (replica, event), not negative.

    Returns:
        float64 (..., replica); NaN where a class has no weight.

    Source: Mann and Whitney, Ann. Math. Stat. 18 (1947) 50; equal scores count one half.
    """
    flat = np.reshape(score, (-1, score.shape[-1]))
    plus, minus = np.where(positive, weights, 0.0), np.where(positive, 0.0, weights)
    pairs = plus.sum(axis=-1) * minus.sum(axis=-1)
    area = np.full((flat.shape[0], weights.shape[0]), np.nan)
    for row, values in enumerate(flat):
        order = np.argsort(values, kind="stable")
        first = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
        won = np.add.reduceat(plus[:, order], first, axis=1)
        lost = np.add.reduceat(minus[:, order], first, axis=1)
        below = np.cumsum(lost, axis=1) - lost / 2
        np.divide((won * below).sum(axis=1), pairs, out=area[row], where=pairs > 0)
    return area.reshape(*score.shape[:-1], weights.shape[0])
