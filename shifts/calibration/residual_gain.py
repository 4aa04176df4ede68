"""Residual of the energy scale: the factor by which calibration misses the energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Medium, Parameter, Stream, Value

__all__ = ["ResidualGain"]


class ResidualGain(Effect[Cells]):
    """Charge times ``scale`` after the threshold, so that no cell comes or goes, unlike with the gain."""

    name: ClassVar[str] = "residual_gain"
    stage: ClassVar[str] = "calibrate"
    catalogue: ClassVar[tuple[str, ...]] = ("C7",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("scale", "gain_scale", "the prior of a calibrated gain is its calibration's residual"),
        ("scale", "w_value_w", "calibration measures gain over W, and leaves one residual"),
    )
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.02,
            "1",
            (0.8, 1.2),
            identity=1.0,
            algebra="multiply",
            source="a judgement",
            confidence="C",
            doc="Reconstructed over true energy.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by the scale."""
        return events.with_electrons(events.electrons * events.per_row(values["scale"]))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by the scale."""
        return events.with_electrons(events.electrons / events.per_row(values["scale"]))

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the scale brings to ``level``."""
        return level / values["scale"]

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the scale in every layer: exact constants leave no residual."""
        return torch.full_like(drift_time, values["scale"])
