"""Gain of the read-out: one factor for all channels and a frozen spread from channel to channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Medium, Parameter, Stream, Value

__all__ = ["Gain"]

LARGEST_NORMAL: Final = 6.2
"""No keyed normal draw is larger."""


class Gain(Effect[Cells]):
    """Charge times ``scale (1 + spread z)``, z a standard normal of the readout channel, frozen per throw."""

    name: ClassVar[str] = "gain"
    stage: ClassVar[str] = "amplify"
    catalogue: ClassVar[tuple[str, ...]] = ("E1", "E3")
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.02,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="size of a calibration residual",
            confidence="C",
            doc="Gain common to all readout channels, relative to nominal.",
        ),
        Parameter(
            "spread",
            0.0,
            0.01,
            "1",
            (-0.15, 0.15),
            identity=0.0,
            algebra="linear",
            source="what pulser calibration leaves of the raw 5.4% (ProtoDUNE pulser map in sbndcode)",
            confidence="C",
            doc="Relative channel-to-channel spread; the sign mirrors the frozen map.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by its channel's gain."""
        scale, spread = events.per_row(values["scale"]), events.per_row(values["spread"])
        electrons = events.electrons * scale
        if isinstance(spread, Tensor) or spread != 0:
            z = stream.normal("channel", events.channel, per_throw=True).to(torch.float64)
            electrons = electrons * (1.0 + spread * z)
        return events.with_electrons(electrons)

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by its channel's gain."""
        ones = events.with_electrons(torch.ones_like(events.electrons))
        return events.with_electrons(events.electrons / self.apply(ones, values, stream).electrons)

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the channel of largest gain brings to ``level``."""
        return level / (values["scale"] * (1.0 + abs(values["spread"]) * LARGEST_NORMAL))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the nominal gain in every layer."""
        return torch.full_like(drift_time, values["scale"])
