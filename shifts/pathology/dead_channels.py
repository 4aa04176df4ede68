"""Dead read-out: single channels, and whole chips, that record nothing during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value, broken

__all__ = ["DeadChannels", "DeadChips"]


class DeadChannels(Effect[Cells]):
    """Single readout channels without signal; the nominal map is known, the nuisance is what is not."""

    name: ClassVar[str] = "dead_channels"
    stage: ClassVar[str] = "mask"
    catalogue: ClassVar[tuple[str, ...]] = ("P1",)
    needs: ClassVar[tuple[str, ...]] = ("cell",)
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            0.007,
            0.0027,
            "1",
            (0.0, 1.0),
            identity=0.0,
            algebra="nest",
            source="42 of 15360 channels unresponsive in ProtoDUNE-SP, arXiv:2002.01782, as the unknown part",
            confidence="B",
            doc="Fraction of readout channels that are dead one by one.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Remove the cells of dead channels."""
        known = self.parameter("fraction").nominal
        return events.keep(~broken(events.channel, events.per_row(values["fraction"]), known, stream))


class DeadChips(Effect[Cells]):
    """Whole chips without signal: squares of neighbouring readout channels."""

    name: ClassVar[str] = "dead_chips"
    stage: ClassVar[str] = "mask"
    catalogue: ClassVar[tuple[str, ...]] = ("P2",)
    needs: ClassVar[tuple[str, ...]] = ("cell",)
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            0.003,
            0.001,
            "1",
            (0.0, 1.0),
            identity=0.0,
            algebra="nest",
            source="a judgement; MicroBooNE lost 4.8% of its channels to whole chips, arXiv:1705.07341",
            confidence="C",
            doc="Fraction of chips that are dead.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Remove the cells of dead chips."""
        known = self.parameter("fraction").nominal
        chip = events.geometry.chip_of(events.channel)
        return events.keep(~broken(chip, events.per_row(values["fraction"]), known, stream))
