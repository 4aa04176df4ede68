"""Precision, recall and F1 of classes from counts of true by called class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shiftlab.tasks.task import Floats

__all__ = ["best_constant", "confusion", "f1_mean", "named_scores", "per_class", "share"]


def share(above: Floats, below: Floats) -> Floats:
    """Return above / below; NaN where nothing is below."""
    ratio = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
    return np.asarray(ratio, dtype=np.float64)


def confusion(counts: Floats, side: int) -> Floats:
    """Return counts of true by called class, (..., side, side), from (..., side x side)."""
    return counts.reshape(*counts.shape[:-1], side, side)


def best_constant(counts: Floats, statistics: Callable[[Floats], Mapping[str, Floats]]) -> dict[str, tuple[str, float]]:
    """Return label and value of each statistic for calling everything the one class that does best in it.

    Args:
        counts: (side, side), true class by called class; the last column, what was not seen, stays as it is.
        statistics: Gives the statistics of such counts; one without a value counts as 0.
    """
    every = []
    for called in range(counts.shape[1] - 1):
        constant = np.zeros_like(counts)
        constant[:, called] = counts[:, :-1].sum(axis=1)
        constant[:, -1] = counts[:, -1]
        every.append(statistics(constant))
    # No comparison with NaN is true, so that it is never the largest.
    return {name: ("best constant", max(0.0, *(float(one[name]) for one in every))) for name in every[0]}


def per_class(hit: Floats, true: Floats, called: Floats) -> dict[str, Floats]:
    """Return precision hit / called, recall hit / true, F1 and IoU of each class; NaN where it has no value.

    Args:
        hit: (..., class), right calls.
        true: (..., class), all that are of the class, lost or not.
        called: (..., class), all that are called it.
    """
    return {
        "precision": share(hit, called),
        "recall": share(hit, true),
        "F1": share(2 * hit, true + called),
        "IoU": share(hit, true + called - hit),
    }


def named_scores(names: Sequence[str], hit: Floats, true: Floats, called: Floats) -> dict[str, Floats]:
    """Return F1, precision and recall of each named class, (...), from what ``per_class`` takes."""
    own = per_class(hit, true, called)
    return {
        f"{what} of {name}": own[what][..., place]
        for place, name in enumerate(names)
        for what in ("F1", "precision", "recall")
    }


def f1_mean(hit: Floats, true: Floats, called: Floats) -> Floats:
    """Return the mean of F1 over the classes that are there or called, (...); NaN where none is."""
    score = per_class(hit, true, called)["F1"]
    there = np.isfinite(score)
    return share(np.where(there, score, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))
