"""Drift of the gain in time: a factor for each period of data taking between two calibrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["GainDrift"]

LARGEST: Final = 3.0
"""Standard deviations at which a period's gain is cut: one farther off would be noticed and calibrated at once."""


class GainDrift(Effect[Cells]):
    """Charge times ``1 + spread z``, z a normal of the period that the event was taken in, at most 3.

    An event's key decides its period, the same in every universe; z is frozen per throw. One period is a common gain.
    """

    name: ClassVar[str] = "gain_drift"
    stage: ClassVar[str] = "amplify"
    catalogue: ClassVar[tuple[str, ...]] = ("E4",)
    needs: ClassVar[tuple[str, ...]] = ("key", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "spread",
            0.0,
            0.01,
            "1",
            (-0.15, 0.15),
            identity=0.0,
            scope="event",
            algebra="linear",
            source="a judgement: 1% between calibrations",
            confidence="C",
            doc="Relative spread of the gain from period to period; the sign mirrors the frozen history.",
        ),
        Parameter(
            "periods",
            16.0,
            0.0,
            "1",
            (1.0, 1e6),
            source="a judgement",
            confidence="C",
            doc="Number of periods, equally long, that the events are spread over.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply all charge of an event by the gain of its period."""
        if not isinstance(values["spread"], Tensor) and values["spread"] == 0:
            return events
        return events.with_electrons(events.electrons * self._factor(events, values, stream))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide all charge of an event by the gain of its period."""
        return events.with_electrons(events.electrons / self._factor(events, values, stream))

    @staticmethod
    def _factor(events: Cells, values: Mapping[str, Value], stream: Stream) -> Tensor:
        period = torch.floor(stream.uniform("period", events.table.key) * values["periods"]).to(torch.int64)
        z = stream.normal("gain", period, per_throw=True).to(torch.float64).clamp(-LARGEST, LARGEST)
        return (1.0 + values["spread"] * z)[events.event]

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse a number of periods that is not whole."""
        if values["periods"] != int(values["periods"]):
            raise ConfigError(f"gain_drift: periods = {values['periods']:g} is not a whole number.")

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the period of largest gain brings to ``level``."""
        return level / (1.0 + abs(values["spread"]) * LARGEST)
