"""What the tasks share whose answer is an energy, MeV: the mean and the spread of reco over true."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shiftlab.tasks.quantiles import most_probable, quantile_range, spread
from shiftlab.tasks.task import Floats, Task

__all__ = ["EnergyTask", "robust_spread"]


class EnergyTask(Task):
    """An energy; the first truth column is the true one, the only output the reconstructed one."""

    statistic = "mean(reco/true - 1)"
    unit = "1"
    kind = "regression"
    output_scale = "positive"
    empty = (0.0,)

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the weighted mean of reco/true - 1, (..., replica)."""
        residual = outputs[..., 0] / truth[:, 0] - 1.0
        mean: Floats = residual @ weights.T / weights.sum(axis=1)
        return mean

    def terms(self, outputs: Floats, truth: Floats) -> Floats:
        """Return reco/true - 1, (..., event, 1): the statistic is a function of its weighted sum."""
        residual = outputs[..., :1] / truth[:, :1]
        residual -= 1.0
        return residual

    def of_sums(self, sums: Floats) -> Floats:
        """Return the mean (...) from sums (..., 2) of weight and of weight times term."""
        mean: Floats = sums[..., 1] / sums[..., 0]
        return mean

    def observable(self, outputs: Floats) -> Floats:
        """Return the reconstructed energy, MeV."""
        return outputs[..., 0]

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the square of reco/true - 1, (..., event)."""
        return np.asarray((outputs[..., 0] / truth[:, 0] - 1.0) ** 2, dtype=np.float64)

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the weighted spread of reco/true: what one event is uncertain by."""
        return float(spread(outputs[:, 0] / truth[:, 0], weight[None])[0])

    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return the same statistics of answering the mean energy for every event."""
        constant = np.full((len(truth), 1), np.average(truth[:, 0], weights=weights))
        return self.reached("mean predictor", constant, truth, weights)


def robust_spread(ratio: Floats, weights: Floats) -> dict[str, Floats]:
    """Return the interquartile range and the most probable value of reco/true, (replica,) each, by name.

    Args:
        ratio: (event,).
        weights: (replica, event).
    """
    return {"IQR of reco/true": quantile_range(ratio, weights), "MPV of reco/true": most_probable(ratio, weights)}
