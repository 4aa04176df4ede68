"""Mechanism of a shared body: how much of the tasks' correlated bias is the displacement of the features they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.multiway import CROSSED, Estimate, estimate, sum_blocks
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Mechanism", "fraction_interval", "mechanism", "mechanism_table", "predicted_bias"]

_NORM: Final = 2.5
"""Stretch of the error over universes of a ratio of norms, 1 + 2.5 / sqrt(blocks), from pseudo-experiments."""


@dataclass(frozen=True)
class Mechanism:
    """Systematic covariance of the tasks against what the heads make of the displaced features.

    Attributes:
        explained: 1 - ||S - S_pred|| / ||S||, Frobenius norms: 1 where the displacement of the shared features explains
            all, 0 where it explains nothing, negative where the heads would move more or otherwise than they do. Take
            its interval from ``fraction_interval`` too. A norm scatters more over few universes than they show, so
            that the error over universes is stretched by 1 + 2.5 / sqrt(universes). Then 68% and 95% intervals cover
            0.80 and 0.97 at 16 universes, 0.71 to 0.79 and 0.94 to 0.98 at 64 and, too little, 0.67 and 0.93 where the
            tasks hardly correlate (``shiftlab validate statistics``, 2,000 pseudo-experiments); without the stretch
            0.63 and 0.92 at 16, 0.63 to 0.67 and 0.90 to 0.94 at 64.
        explained_total: 1 - E |b - W d|^2 / E |b|^2 over universes, all tasks; take its interval from
            ``fraction_interval``, which covers as it claims from 16 universes on.
        explained_task: (task,), 1 - E (b - W d)^2 / E b^2: the same of each task's own bias.
        slope: (task,), regression of b on W d through 0; 1 for a head that is linear over the displacement.
        covariance: (task, task), S, freed of event noise.
        predicted: (task, task), S_pred = W Cov(d) W^T, likewise.
    """

    explained: Estimate
    explained_total: Estimate
    explained_task: tuple[Estimate, ...]
    slope: tuple[Estimate, ...]
    covariance: Floats
    predicted: Floats


def predicted_bias(displacement: Floats, weights: Floats) -> Floats:
    """Return the first-order bias W d_u of every head, (..., universe, task).

    d_u = E[phi(x_u) - phi(x)] is the mean displacement of the features over the same events. For a head that is not
    linear W is its mean gradient at nominal. For another statistic than a mean W is the mean over events of the
    gradient of the statistic's influence, event by event; then hand in the mean of the product as d and 1 as W.

    Args:
        displacement: (..., universe, feature).
        weights: (task, feature), in the tasks' currency.
    """
    return np.asarray(displacement @ weights.T, dtype=np.float64)


def mechanism(
    bias: Floats,
    displacement: Floats,
    weights: Floats,
    *,
    block: npt.NDArray[np.int64] | None = None,
    tasks: Sequence[str] | None = None,
) -> Mechanism:
    """Compare the biases with what the shared features' displacement makes of them. Defined for a shared body only.

    Both matrices come from the same universes and events, so a head that is linear is explained in full whatever the
    events are. Event noise that b and W d do not share is taken off both by the bootstrap, 2 S - mean S(replica).
    Intervals are over events and, where ``block`` says that the universes are draws, over universes.

    Args:
        bias: (1 + replica, row, task), in one currency; rows are universes, or ``excess.unisim_rows`` of a catalogue
            (linear in the displacement, so features can be put into the same rows); replica 0 the sample itself.
        displacement: (1 + replica, row, feature), with the same event weights.
        weights: (task, feature), the heads' weights in the same currency.
        block: int (row,), the block of draws of a row; None for a catalogue.
        tasks: Names of the tasks, for messages.

    Raises:
        DataError: shapes differ, a value is not finite, or nothing moves.
    """
    _check(bias, displacement, weights, tasks)
    predicted = predicted_bias(displacement, weights)
    number = bias.shape[1]
    joint = np.concatenate([bias, predicted], axis=2)
    row_square = joint[:, :, :, None] * joint[:, :, None, :]
    noise = row_square[1:].mean(axis=0) - row_square[0]
    row_square[0] -= noise
    row_square[1:] -= 2.0 * noise
    total = row_square.sum(axis=1)
    whole = _read(total)
    left = None
    if block is not None:
        few = 1 + CROSSED
        left = _read(total[:few, None] - sum_blocks(row_square[:few], block))
        # A norm is made larger by the universes' scatter: Quenouille's correction takes that off to first order.
        whole = whole + (left.shape[1] - 1) * (whole[0] - left[0].mean(axis=0))
    split = bias.shape[2]

    def of(which: int) -> Estimate:
        if left is None:
            return estimate(whole[None, :, which])
        stretch = 1.0 + (_NORM / np.sqrt(left.shape[1]) if which == 0 else 0.0)
        return estimate(whole[None, :, which], left[None, :, :, which], stretch=stretch)

    scale = 1.0 if block is None else float(number)
    return Mechanism(
        explained=of(0),
        explained_total=of(1),
        explained_task=tuple(of(2 + t) for t in range(split)),
        slope=tuple(of(2 + split + t) for t in range(split)),
        covariance=total[0, :split, :split] / scale,
        predicted=total[0, split:, split:] / scale,
    )


def _check(bias: Floats, displacement: Floats, weights: Floats, tasks: Sequence[str] | None) -> None:
    shapes = f"{bias.shape}, {displacement.shape} and {weights.shape}"
    wrong = bias.ndim != 3 or displacement.ndim != 3 or bias.shape[:2] != displacement.shape[:2]
    if wrong or weights.shape != (bias.shape[2], displacement.shape[2]):
        raise DataError(
            "the mechanism test needs biases (replica, row, task), displacements (replica, row, feature) of the same "
            f"replicas and rows, and head weights (task, feature); given were {shapes}."
        )
    for what, values in (("biases", bias), ("feature displacements", displacement), ("head weights", weights)):
        bad = ~np.isfinite(values)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(f"{int(bad.sum())} {what} are not finite, the first at {place} of {values.shape}.")
    still = ~bias[0].any(axis=0)
    if still.any():
        names = tasks or [f"number {t}" for t in range(bias.shape[2])]
        listed = ", ".join(f"'{name}'" for name, stands in zip(names, still, strict=True) if stands)
        raise DataError(f"task {listed}: the bias is 0 in all universes, so there is nothing to explain; leave it out.")


def _read(joint: Floats) -> Floats:
    """Return the fractions explained (matrix, total, by task) and the slopes, from second moments of (b, W d) together.

    Args:
        joint: (..., 2 task, 2 task).

    Returns:
        (..., 2 + 2 task).
    """
    tasks = joint.shape[-1] // 2
    own, cross, predicted = joint[..., :tasks, :tasks], joint[..., :tasks, tasks:], joint[..., tasks:, tasks:]
    difference = np.linalg.norm(own - predicted, axis=(-2, -1))
    explained = 1.0 - difference / np.linalg.norm(own, axis=(-2, -1))
    variance, covariance, size = (np.einsum("...tt->...t", part) for part in (own, cross, predicted))
    unexplained = variance - 2.0 * covariance + size
    by_task = 1.0 - np.divide(unexplained, variance, out=np.full(variance.shape, np.nan), where=variance > 0.0)
    total = variance.sum(axis=-1)
    share = unexplained.sum(axis=-1)
    together = 1.0 - np.divide(share, total, out=np.full(total.shape, np.nan), where=total > 0.0)
    slope = np.divide(covariance, size, out=np.full(size.shape, np.nan), where=size > 0.0)
    return np.concatenate([explained[..., None], together[..., None], by_task, slope], axis=-1)


def fraction_interval(fraction: Estimate, half: float = HALF_68) -> tuple[float, float]:
    """Return the interval of a fraction explained f, symmetric in log(1 - f), so that its upper end stays below 1.

    Where nothing is unexplained, or less than a tenth of the interval's width (also less than nothing, after event
    noise is taken off), it is that of f itself.

    Over events alone, of a catalogue of universes, 68% and 95% intervals cover 0.71 and 0.97 where the event noise of
    a bias is 0.36 of what is unexplained of it (root mean square), 0.87 and 0.99 where it is 0.73, and 0.84 and 0.89
    where it is as large: the last, where the events no longer tell the fraction, claims too much at 95%. 2,000
    experiments each.
    """
    left = 1.0 - fraction.value
    low, high = fraction.interval(half)
    if not left > max(1e-9 * (1.0 + abs(fraction.value)), (high - low) / 10.0):
        return low, high
    reach = np.exp((high - low) / 2.0 / left)
    return float(1.0 - left * reach), float(1.0 - left / reach)


def mechanism_table(found: Mechanism, tasks: Sequence[str]) -> pd.DataFrame:
    """Return the fractions explained (of the covariance matrix, of all tasks, of each) and slopes, with intervals."""
    rows: list[dict[str, object]] = []
    whole = (("covariance matrix", found.explained), ("all", found.explained_total))
    for task, fraction in (*whole, *zip(tasks, found.explained_task, strict=True)):
        low, high = fraction_interval(fraction)
        low95, high95 = fraction_interval(fraction, HALF_95)
        ends = {"explained_lo": low, "explained_hi": high, "explained_lo95": low95, "explained_hi95": high95}
        rows.append({"task": task, "explained": fraction.value, **ends})
    for row, slope in zip(rows[len(whole) :], found.slope, strict=True):
        row |= slope.columns("slope")
    return pd.DataFrame(rows)
