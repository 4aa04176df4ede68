"""The evaluated events of a task, and the statistical error of what is computed from them, by the jackknife."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCKS", "Sample"]

Floats = npt.NDArray[np.float64]

BLOCKS: Final = 20
"""Blocks of vertices of the jackknife; its error of an error is 1 / sqrt(2 x 19) = 16%."""


@dataclass(frozen=True)
class Sample:
    """The evaluated events of a task.

    Attributes:
        index: int64 (event,), their places in the dataset.
        truth: (event, truth column).
        weights: (1 + block, event): generator weights, then the same with one block of vertices left out.
    """

    index: npt.NDArray[np.int64]
    truth: Floats
    weights: Floats

    @classmethod
    def of_events(
        cls,
        evaluated: npt.NDArray[np.bool_],
        truth: Floats,
        weight: Floats,
        vertex: npt.NDArray[np.int64],
    ) -> Sample:
        """Return the evaluated ones of all events, with vertices dealt to the blocks of the jackknife in turn."""
        index = np.flatnonzero(evaluated)
        _, rank = np.unique(vertex[index], return_inverse=True)
        left_out = (rank % BLOCKS) == np.arange(BLOCKS)[:, None]
        every = np.concatenate([np.ones((1, len(index))), ~left_out]) * weight[index]
        return cls(index, truth[index], every)

    def error(self, statistic: Floats) -> Floats:
        """Return the delete-a-block jackknife error, (...), of values (..., 1 + block).

        sqrt((g - 1) / g sum_b (T_b - mean)^2), g the number of blocks; blocks without a value, as an AUC without an
        event of one class, are left out (Efron and Tibshirani, An Introduction to the Bootstrap, section 11.5).
        """
        blocks = statistic[..., 1:]
        there = np.isfinite(blocks)
        count = np.maximum(there.sum(axis=-1, keepdims=True), 1)
        kept = np.where(there, blocks, 0.0)
        apart = np.where(there, kept - kept.sum(axis=-1, keepdims=True) / count, 0.0)
        error: Floats = np.sqrt((count[..., 0] - 1) / count[..., 0] * (apart**2).sum(axis=-1))
        return error
