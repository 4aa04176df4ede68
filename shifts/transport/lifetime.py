"""Electron lifetime: charge lost to impurities during the drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Medium, Oracle, Parameter, Stream, Value, numbers

__all__ = ["Lifetime", "LifetimeOracle", "survival"]


def survival(drift_time: Tensor, tau: Value) -> Tensor:
    """Return the fraction exp(-t / tau) of charge left after ``drift_time``; both in us, any shape."""
    return torch.exp(-drift_time / tau)


class Lifetime(Effect[Charge]):
    """Exponential loss of charge with drift time."""

    name: ClassVar[str] = "lifetime"
    stage: ClassVar[str] = "drift"
    catalogue: ClassVar[tuple[str, ...]] = ("T3",)
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

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits with the charge that was lost."""
        tau = events.per_row(values["tau"])
        return events.with_electrons(events.electrons / survival(events.drift_time, tau))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the survival per drift layer."""
        return survival(drift_time, values["tau"])


class LifetimeOracle(Oracle):
    """Survival after a drift, and SPINE's correction of it, which must undo it."""

    name: ClassVar[str] = "lifetime"
    inputs: ClassVar[tuple[str, ...]] = ("tau_us", "v_cm_us", "distance_cm")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        "t_us": (1e-6, 0.0),
        "survival": (1e-6, 0.0),
        "spine_correction": (1e-6, 0.0),
        "roundtrip": (0.0, 1e-6),
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return drift time, survival, its inverse, and our survival times SPINE's correction less 1."""
        tau, velocity, distance = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        left = survival(distance / velocity, tau).numpy()
        trip = left * numbers(table["spine_correction"]) - 1.0
        return {
            "t_us": (distance / velocity).numpy(),
            "survival": left,
            "spine_correction": 1 / left,
            "roundtrip": trip,
        }
