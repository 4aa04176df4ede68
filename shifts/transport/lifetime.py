"""Electron lifetime: charge lost to impurities during the drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Medium, Parameter, Stream, Value

__all__ = ["Lifetime", "survival"]


def survival(drift_time: Tensor, tau: Value) -> Tensor:
    """Return the fraction exp(-t / tau) of charge left after ``drift_time``; both in us, any shape."""
    return torch.exp(-drift_time / tau)


class Lifetime(Effect[Charge]):
    """Exponential loss of charge with drift time."""

    name: ClassVar[str] = "lifetime"
    stage: ClassVar[str] = "drift"
    needs: ClassVar[tuple[str, ...]] = ("position", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "tau",
            6000.0,
            0.05,
            "us",
            (400.0, math.inf),
            identity=math.inf,
            algebra="rate",
            scale="log",
            source="nominal within ICARUS run 2 (3.8 to 9.2 ms); 5% is what calibration within a run leaves",
            confidence="C",
            doc="Time after which 1/e of the drifting charge is left.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by its survival."""
        tau = events.per_row(values["tau"])
        return events.with_electrons(events.electrons * survival(events.drift_time, tau))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the survival per drift layer."""
        return survival(drift_time, values["tau"])
