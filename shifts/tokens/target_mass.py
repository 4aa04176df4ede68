"""Mass of the target: the number of nuclei that can interact, so a weight that all events share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.weighting import weighted

__all__ = ["TargetMass"]


class TargetMass(Effect[Tokens]):
    """Every event's weight times ``scale``: a pure normalisation. The size is that of a hydrocarbon target.

    MAT-MINERvA has 0.5% for carbon, 1% for iron, 0.5% for lead, 2% for water.
    """

    name: ClassVar[str] = "target_mass"
    stage: ClassVar[str] = "weigh"
    catalogue: ClassVar[tuple[str, ...]] = ("M11",)
    needs: ClassVar[tuple[str, ...]] = ("events", "weight")
    changes: ClassVar[tuple[str, ...]] = ("weight",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.014,
            "1",
            (0.8, 1.2),
            identity=1.0,
            algebra="multiply",
            source="ch_err 1.4% (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h, docdb 6016-v7)",
            confidence="A",
            doc="Mass of the scintillator target relative to the assumed one.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Multiply the weights."""
        if idle(self, values):
            return events
        return weighted(events, values["scale"])
