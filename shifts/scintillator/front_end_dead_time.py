"""Dead time of the front end: chips that are busy with earlier activity and miss the event's hits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shiftlab.detector import Effect, Hits, Parameter, Stream, Value
from shifts.scintillator.photomultipliers import CHIP, pixel

__all__ = ["FrontEndDeadTime"]


class FrontEndDeadTime(Effect[Hits]):
    """Each chip of 16 strips is busy in each event with the probability ``busy``; all its hits are then lost.

    What keeps chips busy, other activity of the same spill, is no part of the sample, so that its rate stands for it.
    """

    name: ClassVar[str] = "front_end_dead_time"
    stage: ClassVar[str] = "couple"
    catalogue: ClassVar[tuple[str, ...]] = ("S6",)
    needs: ClassVar[tuple[str, ...]] = ("key", "plane", "strip")
    changes: ClassVar[tuple[str, ...]] = ("event", "plane", "strip", "owner", "expected", "count", "energy", "along")
    parameters = (
        Parameter(
            "busy",
            0.01,
            0.005,
            "1",
            (0.0, 1.0),
            identity=0.0,
            algebra="nest",
            source="size of the inefficiency quoted for MINERvA's low-energy beam; to be confirmed",
            confidence="C",
            doc="Probability that a chip misses an event; chips are independent, the same ones stay busy at a larger "
            "value.",
        ),
    )

    def apply(self, events: Hits, values: Mapping[str, Value], stream: Stream) -> Hits:
        """Drop the hits of busy chips."""
        tube, place = pixel(events.strip)
        chip = (events.plane * events.geometry.strips + tube) * CHIP + place // CHIP
        return events.where(stream.uniform("busy", events.key[events.event], chip) >= events.per_row(values["busy"]))
