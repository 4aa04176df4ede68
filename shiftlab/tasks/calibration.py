"""Calibration: how far the stated probability of a called class lies from the share of calls that are right."""

from __future__ import annotations

from typing import Final

import numpy as np
from torch import Tensor

from shiftlab.tasks.task import Booleans, Floats

__all__ = ["BINS", "accuracy", "binned_excess", "calibration_error", "expected_error"]

BINS: Final = 15
"""Bins of equal width in the probability, as in Guo et al., arXiv:1706.04599, section 4."""


def expected_error(excess: Floats, count: Floats) -> Floats:
    """Return the expected calibration error, sum over bins |sum(probability - right)| / count.

    This is sum_b (n_b / n) |accuracy_b - confidence_b| of Guo et al., arXiv:1706.04599, equation 3. It is not negative,
    so that a small sample gives more than 0 to a model that is calibrated.

    Args:
        excess: (..., bin), weighted sum of probability less right (1 or 0).
        count: (...), summed weight of all calls.

    Returns:
        float64 (...); NaN without calls.
    """
    total = np.abs(excess).sum(axis=-1)
    error: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return error


def calibration_error(probability: Floats, right: Booleans, weights: Floats) -> Floats:
    """Return the expected calibration error of calls.

    Args:
        probability: (event,), stated probability of the called class.
        right: (event,), whether the call is right.
        weights: (replica, event).

    Returns:
        float64 (replica,).
    """
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    excess = np.zeros((len(probability), BINS))
    excess[np.arange(len(probability)), place] = probability - right
    return expected_error(weights @ excess, weights.sum(axis=1))


def accuracy(right: Booleans, weights: Floats) -> Floats:
    """Return float64 (replica,): weighted share of right calls (event,)."""
    share: Floats = weights @ right.astype(np.float64) / weights.sum(axis=1)
    return share


def binned_excess(
    probability: Tensor, right: Tensor, event: Tensor, events: int, asked: Tensor | None = None
) -> Tensor:
    """Return float64 (event, bin): sum of probability less right over the calls of each event.

    Of these sums, and of the number of calls, the calibration error of any set of weighted events can be made.

    Args:
        probability: float (call,).
        right: bool (call,).
        event: int64 (call,), event of each call.
        events: Number of events.
        asked: bool (call,), the calls that count; None for all.
    """
    excess = probability.double() - right.double()
    place = (probability * BINS).long().clamp_(max=BINS - 1).add_(event, alpha=BINS)
    excess = excess if asked is None else excess * asked
    # ``bincount`` adds weights on a graphics card in no fixed order.
    return excess.new_zeros(events * BINS).index_add_(0, place, excess).view(events, BINS)
