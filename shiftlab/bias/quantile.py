"""Quantiles and widths of any output column as statistics, exact for every replica at the cost of a mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.bootstrap import HALF_68
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError

__all__ = ["Quantile", "Width68", "weighted_quantiles"]

_SIGMAS: Final = 6.0
"""Half width of the window around a quantile, in standard errors of a share of events; wider where that fails."""


@dataclass(frozen=True)
class _OfColumn:
    """A number about the distribution over events of one output column.

    Attributes:
        column: Which output.
        relative_to: Truth column that the output is divided by, less 1, as reco/true - 1; None for the output itself.
        unit: Unit of the quantity.
    """

    column: int = 0
    relative_to: int | None = None
    unit: str = ""

    def values(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the quantity (..., event) from (..., event, output)."""
        column = outputs[..., self.column]
        return column if self.relative_to is None else column / truth[:, self.relative_to] - 1.0


@dataclass(frozen=True)
class Quantile(_OfColumn):
    """Weighted quantile of one output column; the median by default.

    Attributes:
        level: Share of the weight that lies below, between 0 and 1.

    Raises:
        ConfigError: the level is not between 0 and 1.
    """

    level: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a level that is no share."""
        if not 0.0 < self.level < 1.0:
            raise ConfigError(f"quantile level {self.level}: allowed is a number between 0 and 1.")

    @property
    def statistic(self) -> str:
        """Name of the statistic."""
        return "median" if self.level == 0.5 else f"{100.0 * self.level:g}% quantile"

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the quantile, (..., replica)."""
        return weighted_quantiles(self.values(outputs, truth), weights, (self.level,))[0]

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return half the central 68% width over events."""
        return _half_width(self.values(outputs, truth), weight)


@dataclass(frozen=True)
class Width68(_OfColumn):
    """Half the width of the central 68% of one output column: the resolution, which tails do not move."""

    @property
    def statistic(self) -> str:
        """Name of the statistic."""
        return "68% half-width"

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return half the distance of the 84.1% and the 15.9% quantile, (..., replica)."""
        low, high = weighted_quantiles(self.values(outputs, truth), weights, (0.5 - HALF_68, 0.5 + HALF_68))
        return np.asarray((high - low) / 2.0, dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the same at nominal: what one event is uncertain by."""
        return _half_width(self.values(outputs, truth), weight)


def _half_width(values: Floats, weight: Floats) -> float:
    low, high = weighted_quantiles(values, weight[None], (0.5 - HALF_68, 0.5 + HALF_68))
    return float(high[0] - low[0]) / 2.0


def weighted_quantiles(values: Floats, weights: Floats, levels: tuple[float, ...]) -> tuple[Floats, ...]:
    """Return weighted quantiles of each row of values for each set of weights.

    A quantile is interpolated between the events whose weight, counted up to their middle, brackets
    the level; events without weight do not exist. Only the events near it need to be put in order
    for each set of weights: the weight of all that lie below is one matrix product. The window is
    widened for those sets whose quantile it does not hold, so that the result is exact.

    Args:
        values: (..., event).
        weights: (replica, event), not negative.
        levels: Each between 0 and 1.

    Returns:
        For each level float64 (..., replica); NaN where there is no weight.
    """
    flat = values.reshape(-1, values.shape[-1])
    total = weights.sum(axis=1)
    some: npt.NDArray[np.int64] = np.flatnonzero(total > 0)
    mean = weights.mean(axis=0)
    # A standard error of the share of weight below a value, for the replica with the fewest events.
    error = np.sqrt(((weights**2).sum(axis=1)[some] / total[some] ** 2).max(initial=0.0))
    found = np.full((len(levels), len(flat), len(weights)), np.nan)
    for row, one in enumerate(flat):
        order = np.argsort(one, kind="stable")
        below = np.cumsum(mean[order])
        for place, level in enumerate(levels):
            left, width = some, _SIGMAS * error * np.sqrt(level * (1.0 - level))
            while len(left):
                edges = np.searchsorted(below, np.array([level - width, level + width]) * below[-1], side="left")
                first, last = max(0, int(edges[0]) - 1), min(len(one), int(edges[1]) + 2)
                own, held = _inside(one, order, slice(first, last), weights, total, left, level)
                found[place, row, left[held]] = own[held]
                left, width = left[~held], 4.0 * width
    shape = (*values.shape[:-1], len(weights))
    return tuple(part.reshape(shape) for part in found)


def _inside(
    values: Floats,
    order: npt.NDArray[np.int64],
    window: slice,
    weights: Floats,
    total: Floats,
    replicas: npt.NDArray[np.int64],
    level: float,
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the quantile (replica,) of some sets of weights from the events of one window, and whether it holds it."""
    under = np.zeros(len(order))
    under[order[: window.start]] = 1.0
    rows = weights if len(replicas) == len(weights) else weights[replicas]
    inside = order[window]
    near, ordered = rows[:, inside], values[inside]
    middle = np.cumsum(near, axis=1)
    middle += (rows @ under)[:, None] - near / 2.0
    middle /= total[replicas][:, None]
    found = np.full(len(replicas), np.nan)
    held = np.full(len(replicas), window.start == 0 and window.stop == len(order))
    for i, (place, weight) in enumerate(zip(middle, near, strict=True)):
        there = weight > 0
        at = place[there]
        if not len(at):
            continue
        held[i] |= (window.start == 0 or at[0] <= level) and (window.stop == len(order) or at[-1] >= level)
        found[i] = np.interp(level, at, ordered[there])
    return found, held
