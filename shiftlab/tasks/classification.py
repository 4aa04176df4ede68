"""Precision, recall and F1 of classes from counts of true by called class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shiftlab.tasks.task import Floats

__all__ = [
    "best_constant",
    "class_terms",
    "confusion",
    "f1_mean",
    "f1_of_terms",
    "named_scores",
    "per_class",
    "share",
]


def share(above: Floats, below: Floats, *, empty: float = np.nan) -> Floats:
    """Return above / below; ``empty`` where nothing is below."""
    ratio = np.divide(above, below, out=np.full(np.shape(below), empty), where=np.asarray(below) > 0)
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


def class_terms(counts: Floats, side: int, *, made_up: bool) -> Floats:
    """Return what the F1 of every class is made of, in a third of the numbers.

    Args:
        counts: (..., side x side), true class (the last: none) by called class (the last: not seen).
        side: Number of classes and one.
        made_up: Whether what is of no class counts as called, a false positive of the class.

    Returns:
        (..., 3 (side - 1)): right calls, true and called of each class.
    """
    classes = side - 1
    sums = np.zeros((side, side, 3, classes))
    for one in range(classes):
        sums[one, one, 0, one] = 1.0
        sums[one, :, 1, one] = 1.0
        sums[: side if made_up else classes, one, 2, one] = 1.0
    # One product gives (term, event) in the order in which the events are summed over.
    terms: Floats = sums.reshape(side * side, -1).T @ np.swapaxes(counts, -1, -2)
    return np.swapaxes(terms, -1, -2)


def f1_of_terms(sums: Floats) -> Floats:
    """Return the mean F1 (...) from sums of ``class_terms``, (..., 3 x class); NaN where no class is there."""
    hit, true, called = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    return f1_mean(hit, true, called)
