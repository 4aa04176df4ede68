"""Attenuation of light along the strips' fibres: what calibration does not know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Effect, Parameter, Response, Stream, Value

__all__ = ["FibreAttenuation"]


class FibreAttenuation(Effect[Response]):
    """Attenuation length of all fibres times ``scale``, while energies are corrected with the nominal one.

    Light at the distance d from the middle of its strip, towards the photomultiplier, is exp(d / length) times that
    of the middle: a shift moves energy up on one half of the strip and down on the other, and nothing in the middle.
    """

    name: ClassVar[str] = "fibre_attenuation"
    stage: ClassVar[str] = "respond"
    catalogue: ClassVar[tuple[str, ...]] = ("S5",)
    needs: ClassVar[tuple[str, ...]] = ("attenuation_length",)
    changes: ClassVar[tuple[str, ...]] = ("attenuation_length",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.05,
            "1",
            (0.2, 5.0),
            identity=1.0,
            scale="log",
            algebra="multiply",
            source="size of a residual after calibration: 1.7% of the light at the ends of the longest strips",
            confidence="C",
            doc="Attenuation length relative to nominal.",
        ),
    )

    def apply(self, events: Response, values: Mapping[str, Value], stream: Stream) -> Response:
        """Scale the attenuation length."""
        return replace(events, attenuation_length=events.attenuation_length * values["scale"])
