"""Precision, recall and F1 of classes from counts of true by called class."""

from __future__ import annotations

import numpy as np

from shiftlab.tasks.task import Floats

__all__ = ["f1_mean", "per_class", "share"]


def share(above: Floats, below: Floats) -> Floats:
    """Return above / below; NaN where nothing is below."""
    ratio = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
    return np.asarray(ratio, dtype=np.float64)


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


def f1_mean(hit: Floats, true: Floats, called: Floats) -> Floats:
    """Return the mean of F1 over the classes that are there or called, (...); NaN where none is."""
    score = per_class(hit, true, called)["F1"]
    there = np.isfinite(score)
    return share(np.where(there, score, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))
