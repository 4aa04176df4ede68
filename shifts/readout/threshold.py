"""Read-out threshold: cells with less charge than a level are not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value

__all__ = ["Threshold"]


class Threshold(Effect[Cells]):
    """Zero suppression after gain, in electrons at nominal gain; kept charge is left as it is."""

    name: ClassVar[str] = "threshold"
    stage: ClassVar[str] = "threshold"
    catalogue: ClassVar[tuple[str, ...]] = ("E11",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("level", "noise_enc", "a threshold scan cannot tell a higher threshold from smaller noise"),
    )
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "level",
            3000.0,
            60.0,
            "e",
            (0.0, 20000.0),
            identity=0.0,
            algebra="nest",
            source="6 times the noise of a LArPix channel; 2% is what threshold calibration leaves",
            confidence="C",
            doc="Smallest charge that is recorded; 0 records every cell.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Keep the cells at or above the level."""
        level = events.per_row(values["level"])
        return events.keep((events.electrons >= level) | (events.electrons * 0 + level == 0))

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the level itself, or what lies behind it where that is larger."""
        return max(level, values["level"]) if values["level"] > 0 else level
