"""Residual of the lifetime correction: calibration assumes another electron lifetime than the argon has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Medium, Parameter, Stream, Value

__all__ = ["ResidualLifetime"]


def _factor(drift_time: Tensor, rate: Value) -> Tensor:
    """Return exp(t r) for drift times in us and rates in 1/ms."""
    return torch.exp(drift_time * 1e-3 * rate)


class ResidualLifetime(Effect[Cells]):
    """Charge times exp(t (1/tau_used - 1/tau_true)), t the drift time that calibration takes a cell to have."""

    name: ClassVar[str] = "residual_lifetime"
    stage: ClassVar[str] = "calibrate"
    catalogue: ClassVar[tuple[str, ...]] = ("C7",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("rate", "lifetime_tau", "the prior of a measured lifetime is its correction's residual"),
    )
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "rate",
            0.0,
            0.00833,
            "1/ms",
            (-1.0, 1.0),
            identity=0.0,
            source="5% of a lifetime of 6 ms, what calibration within a run leaves (spread over ICARUS runs)",
            confidence="C",
            doc="Loss rate 1/tau that the correction assumes, less the true one; rates of two errors add.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by the error of its correction."""
        return events.with_electrons(events.electrons * self._of_rows(events, values["rate"]))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by the error of its correction."""
        return events.with_electrons(events.electrons / self._of_rows(events, values["rate"]))

    @staticmethod
    def _of_rows(events: Cells, rate: Value) -> Tensor:
        time = events.geometry.layer_times(events.cell.device)[events.layer]
        return _factor(time, events.per_row(rate))

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the largest factor, after 100 ms or at the anode, brings to ``level``."""
        longest = torch.tensor([1e5], dtype=torch.float64)
        return level / max(1.0, float(_factor(longest, values["rate"])))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the factor per layer: exact constants leave no residual."""
        return _factor(drift_time, values["rate"])
