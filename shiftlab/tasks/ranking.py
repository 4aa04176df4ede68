"""The ROC curve for many sets of event weights: its area as the Mann-Whitney probability, and single points."""

from __future__ import annotations

import numpy as np

from shiftlab.tasks.task import Booleans, Floats

__all__ = ["true_rate", "weighted_auc"]


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


def true_rate(score: Floats, positive: Booleans, weights: Floats, false_rate: float) -> Floats:
    """Return the share of positives kept by the loosest cut on the score that keeps at most ``false_rate`` negatives.

    Events of equal score are kept or cut together.

    Args:
        score: (event,); larger means more like the positive class.
        positive: (event,), the events of the positive class.
        weights: (replica, event), not negative.
        false_rate: Largest share of negatives that are kept.

    Returns:
        float64 (replica,); NaN where a class has no weight.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.nan) != 0)
    plus, minus = np.where(positive, weights, 0.0)[:, order], np.where(positive, 0.0, weights)[:, order]
    kept, spoiled = (np.cumsum(part, axis=1)[:, last] for part in (plus, minus))
    zero = np.zeros((len(weights), 1))
    kept, spoiled = np.hstack([zero, kept]), np.hstack([zero, spoiled])
    # A rounding in the last bit must not decide.
    allowed = spoiled <= false_rate * spoiled[:, -1:] * (1.0 + 1e-12)
    best = np.where(allowed, kept, 0.0).max(axis=1)
    rate = np.full(len(weights), np.nan)
    np.divide(best, kept[:, -1], out=rate, where=(kept[:, -1] > 0) & (spoiled[:, -1] > 0))
    return rate
