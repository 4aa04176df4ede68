"""Resolution of a hit's time, which spreads the times of tokens about the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Effect, Parameter, Response, Stream, Value

__all__ = ["HitTimeResolution"]


class HitTimeResolution(Effect[Response]):
    """Spread of one hit's time; that of a token is the mean of its clusters', smaller by the root of their number."""

    name: ClassVar[str] = "hit_time_resolution"
    stage: ClassVar[str] = "respond"
    catalogue: ClassVar[tuple[str, ...]] = ("S7",)
    needs: ClassVar[tuple[str, ...]] = ("time_resolution",)
    changes: ClassVar[tuple[str, ...]] = ("time_resolution",)
    parameters = (
        Parameter(
            "width",
            3.4,
            0.34,
            "ns",
            (0.0, 100.0),
            source="vertical slice test (J. Chvojka and H. Budd); the error of 10% is a judgement",
            confidence="C",
            doc="Standard deviation of one hit's time; the draw stays, so that widths compare hit by hit.",
        ),
    )

    def apply(self, events: Response, values: Mapping[str, Value], stream: Stream) -> Response:
        """Put the width into the response."""
        return replace(events, time_resolution=values["width"])
