"""The number whose bias is quoted: what the bias room asks of a task, and the plain mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Mean", "Statistic"]

Floats = npt.NDArray[np.float64]


class Statistic(Protocol):
    """A task as the bias room sees it; ``shiftlab.tasks.task.Task`` is one, so is ``Mean``.

    A task may also have ``references(outputs, truth, weights (event,))``, a mapping from statistic
    to (label, value of a predictor that knows nothing), and ``further(outputs, truth, weights)``,
    a mapping from the name of a further statistic to its values (replica,).
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
