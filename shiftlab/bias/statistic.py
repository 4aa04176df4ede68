"""The number whose bias is quoted: what the bias room asks of a task, and the plain mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Mean", "OfSums", "Statistic", "WithSlopes", "standard_deviation", "sums_of"]

Floats = npt.NDArray[np.float64]


class Statistic(Protocol):
    """A task as the bias room sees it; ``shiftlab.tasks.task.Task`` is one, so is ``Mean``.

    A task may also have ``references(outputs, truth, weights (event,))``, a mapping from statistic
    to (label, value of a predictor that knows nothing), and ``further(outputs, truth, weights)``,
    a mapping from the name of a further statistic to its values (replica,). ``better`` is 1 where a larger
    statistic is better and -1 where a smaller one is; ``event_loss(outputs, truth)`` (..., event) says how badly each
    event is answered, which arms are matched on. Without them nothing is called a loss, and the task is not matched.
    """

    @property
    def statistic(self) -> str:
        """Name of the statistic."""

    @property
    def unit(self) -> str:
        """Unit of the statistic, empty for a pure number."""

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the statistic of every replica, shape (..., replica).

        Args:
            outputs: (..., event, output), the head's outputs.
            truth: (event, column).
            weights: (replica, event), bootstrap times generator weights.
        """


@runtime_checkable
class OfSums(Statistic, Protocol):
    """A statistic that is a function of weighted sums over events: a mean, a ratio of sums, an F1 of summed counts.

    Such a statistic needs no event twice, so that it is computed chunk by chunk, all universes and
    replicas in one matrix product, and its error is known in closed form.
    """

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return what is summed, (..., event, term), from (..., event, output) and (event, column)."""

    def of_sums(self, sums: Floats) -> Floats:
        """Return the statistic (...) from sums (..., 1 + term): the sum of weights, then those of weight times term."""


@runtime_checkable
class WithSlopes(OfSums, Protocol):
    """A function of sums that knows its derivative in closed form."""

    def slopes(self, sums: Floats) -> Floats:
        """Return the derivative with respect to each sum, (..., 1 + term), of ``of_sums``."""


def sums_of(statistic: Statistic) -> OfSums | None:
    """Return the statistic if it is a function of sums, else None.

    A class that inherits ``terms`` but has a ``score`` of its own is another statistic than its
    terms say: it counts as none.
    """
    if not isinstance(statistic, OfSums):
        return None
    order = type(statistic).__mro__
    first = {name: next((i for i, kind in enumerate(order) if name in vars(kind)), 0) for name in ("terms", "score")}
    return statistic if first["terms"] <= first["score"] else None


@dataclass(frozen=True)
class Mean:
    """Weighted mean of one output column; for synthetic responses and scalar predictions.

    Attributes:
        column: Which output.
        unit: Unit of that output.
        statistic: Name of the statistic.
    """

    column: int = 0
    unit: str = ""
    statistic: str = "mean"

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return sum(w x) / sum(w), shape (..., replica), as one matrix product."""
        total: Floats = outputs[..., self.column] @ weights.T
        total /= weights.sum(axis=1)
        return total

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the column, (..., event, 1)."""
        return outputs[..., self.column : self.column + 1]

    def of_sums(self, sums: Floats) -> Floats:
        """Return sum(w x) / sum(w)."""
        mean: Floats = sums[..., 1] / sums[..., 0]
        return mean

    def slopes(self, sums: Floats) -> Floats:
        """Return -mean / sum(w) and 1 / sum(w)."""
        return np.stack([-self.of_sums(sums), np.ones(sums.shape[:-1])], axis=-1) / sums[..., :1]

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the weighted standard deviation of the column over events."""
        return standard_deviation(outputs[:, self.column], weight)


def standard_deviation(values: Floats, weight: Floats) -> float:
    """Return the weighted standard deviation of ``values`` (event,)."""
    mean = np.average(values, weights=weight)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
