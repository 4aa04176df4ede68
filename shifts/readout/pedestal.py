"""Pedestal: an offset of the baseline that is left after it has been subtracted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["Pedestal"]

LARGEST: Final = 4.0
"""Standard deviations at which a channel's offset is cut: one farther off would be masked."""


class Pedestal(Effect[Cells]):
    """Charge plus ``offset + spread z``, z a normal of the readout channel, at most 4, frozen per throw.

    Empty cells have the offset too: those of the noise's list get it, and the others stay below threshold.
    """

    name: ClassVar[str] = "pedestal"
    stage: ClassVar[str] = "saturate"
    catalogue: ClassVar[tuple[str, ...]] = ("E10",)
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons", "floor")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "offset",
            0.0,
            94.0,
            "e",
            (-5000.0, 5000.0),
            identity=0.0,
            algebra="linear",
            source="a tenth of the LArPix digitiser's step of 941 e, since a pedestal is a mean of many samples",
            confidence="C",
            doc="Offset of all readout channels, in electrons at nominal gain.",
        ),
        Parameter(
            "spread",
            0.0,
            94.0,
            "e",
            (-500.0, 500.0),
            identity=0.0,
            algebra="linear",
            source="a tenth of the LArPix digitiser's step of 941 e",
            confidence="C",
            doc="Spread of the offset from channel to channel; the sign mirrors the frozen map.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Add each channel's offset."""
        self._refuse_flooding(events.floor, values)
        return self._moved(events, values, stream, 1.0)

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Take each channel's offset off."""
        return self._moved(events, values, stream, -1.0)

    @staticmethod
    def _moved(events: Cells, values: Mapping[str, Value], stream: Stream, sign: float) -> Cells:
        offset, spread = (events.per_row(sign * values[name]) for name in ("offset", "spread"))
        electrons = events.electrons + offset
        if isinstance(spread, Tensor) or spread != 0:
            z = stream.normal("channel", events.channel, per_throw=True).to(torch.float64).clamp(-LARGEST, LARGEST)
            electrons = electrons + spread * z
        return events.with_electrons(electrons)

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse an offset that lifts empty cells above threshold."""
        self._refuse_flooding(torch.tensor([floor], dtype=torch.float64), values)

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the channel of largest offset brings to ``level``."""
        return level - values["offset"] - abs(values["spread"]) * LARGEST

    @staticmethod
    def _refuse_flooding(floor: Tensor, values: Mapping[str, Value]) -> None:
        if bool(((floor > -math.inf) & (floor <= 0)).any()):
            raise ConfigError(
                f"pedestal: offset = {values['offset']} e and spread = {values['spread']} e lift empty cells above "
                "threshold; lower them or raise threshold.level."
            )
