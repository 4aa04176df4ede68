"""Saturation: the largest signal that the read-out can follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value

__all__ = ["Saturation"]


class Saturation(Effect[Cells]):
    """Charge above the ceiling is recorded as the ceiling."""

    name: ClassVar[str] = "saturation"
    stage: ClassVar[str] = "saturate"
    order: ClassVar[int] = 2
    catalogue: ClassVar[tuple[str, ...]] = ("E13",)
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "ceiling",
            217_500.0,
            0.02,
            "e",
            (1000.0, float("inf")),
            identity=float("inf"),
            scale="log",
            source="LArPix: 231 steps of 941 e above the pedestal (larnd-sim detector_properties/2x2.yaml); 2% is a "
            "judgement",
            confidence="C",
            doc="Largest charge of one cell, in electrons at nominal gain.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Cut each cell's charge at the ceiling."""
        ceiling = torch.as_tensor(
            events.per_row(values["ceiling"]), dtype=torch.float64, device=events.electrons.device
        )
        return events.with_electrons(torch.minimum(events.electrons, ceiling))
