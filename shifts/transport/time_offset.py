"""Time offset: all charge of an event arrives a little later than its time zero says, and seems farther away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value

__all__ = ["TimeOffset"]


class TimeOffset(Effect[Charge]):
    """A common error of the event's time zero: the drift coordinate moves by velocity times offset.

    Charge that then seems to come from before the anode or behind the cathode is lost, as by a read-out window that
    is as long as the drift.
    """

    name: ClassVar[str] = "time_offset"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("E15",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    parameters = (
        Parameter(
            "offset",
            0.0,
            0.5,
            "us",
            (-10.0, 10.0),
            identity=0.0,
            source="one tick of a 2 MHz digitiser",
            confidence="C",
            doc="Added to the arrival time of all charge.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits with all charge delayed."""
        return replace(events, medium=replace(events.medium, offset=events.medium.offset + values["offset"]))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits with all charge as much earlier."""
        return self.apply(events, {"offset": -1.0 * values["offset"]}, stream)
