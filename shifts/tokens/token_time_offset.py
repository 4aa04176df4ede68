"""Time zero of the detector relative to the beam: added to the time of every token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.token_kinematics import per_token, require_tokens, with_columns
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle

__all__ = ["TokenTimeOffset"]


class TokenTimeOffset(Effect[Tokens]):
    """Times become t + ``offset``; tokens without a time stay."""

    name: ClassVar[str] = "token_time_offset"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M16",)
    order: ClassVar[int] = 51
    needs: ClassVar[tuple[str, ...]] = ("features", "valid")
    changes: ClassVar[tuple[str, ...]] = ("features",)
    parameters = (
        Parameter(
            "offset",
            0.0,
            1.0,
            "ns",
            (-500.0, 500.0),
            identity=0.0,
            source="judgement: a third of a hit's resolution of 3.4 ns (Chvojka, Budd)",
            confidence="C",
            doc="Time zero of the detector, late when positive.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Shift the column of times, ns/10000."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "t", kinds=False)
        device = events.features.device
        offset = torch.as_tensor(
            per_token(events, torch.as_tensor(values["offset"], dtype=torch.float64, device=device))
        )
        time = events.column("t").double() + offset / 1e4
        return with_columns(events, torch.ones_like(events.particle, dtype=torch.bool) & (offset != 0), {"t": time})
