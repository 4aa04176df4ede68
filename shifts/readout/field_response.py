"""Field response of the wires: how the current of one electron runs in time while it passes the planes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Cells, Effect, Electronics, Parameter, Stream, Value

__all__ = ["FieldResponse"]


class FieldResponse(Effect[Cells]):
    """Field response between a nominal model and an alternative: slower in front of the wire, faster behind it.

    Both are one-dimensional (``field_current``): a collected electron induces 1 e, one that passes 0. The alternative
    stands for another bias of the planes, as ICARUS's two tunings of its front induction plane do. Signal processing
    goes on to assume the nominal model.
    """

    name: ClassVar[str] = "field_response"
    stage: ClassVar[str] = "shape"
    catalogue: ClassVar[tuple[str, ...]] = ("E6",)
    readout = "wires"
    needs: ClassVar[tuple[str, ...]] = ("electronics",)
    changes: ClassVar[tuple[str, ...]] = ("electronics",)
    parameters = (
        Parameter(
            "mix",
            0.0,
            1.0,
            "1",
            (0.0, 1.0),
            identity=0.0,
            two_sided=False,
            source="a two-point comparison as ICARUS makes (icaruscode, field responses bin 0 and bin 14); the model "
            "of the alternative is a judgement",
            confidence="C",
            doc="Share of the alternative field response; 1 is the alternative itself.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Mix the response with which signals will be formed."""
        record = events.electronics or Electronics()
        return replace(events, electronics=replace(record, mix=record.mix + values["mix"]))
