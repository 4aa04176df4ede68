"""Photostatistics: the spread of a strip's signal about its mean, at a given mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Effect, Parameter, Response, Stream, Value

__all__ = ["Photostatistics"]


class Photostatistics(Effect[Response]):
    """Photoelectrons as the statistics count them, relative to those of the light yield.

    The signal keeps its mean mu and has the variance mu / yield, in photoelectrons; for an energy E the variance
    is E / (yield times the light yield). 1 is Poisson's law; the spread of a photomultiplier's gain from one
    photoelectron to the next makes it smaller, its inverse is the excess noise factor. The light yield itself,
    which moves the mean, is another effect.
    """

    name: ClassVar[str] = "photostatistics"
    stage: ClassVar[str] = "respond"
    catalogue: ClassVar[tuple[str, ...]] = ("S4",)
    needs: ClassVar[tuple[str, ...]] = ("statistics",)
    changes: ClassVar[tuple[str, ...]] = ("statistics",)
    parameters = (
        Parameter(
            "yield",
            1.0,
            0.10,
            "1",
            (0.1, 10.0),
            identity=1.0,
            scale="log",
            algebra="multiply",
            source="size of the excess noise of a dynode chain, and of what yields quoted for such strips differ by",
            confidence="C",
            doc="Effective over nominal number of photoelectrons, in the variance alone.",
        ),
    )

    def apply(self, events: Response, values: Mapping[str, Value], stream: Stream) -> Response:
        """Scale the number of photoelectrons that the statistics count."""
        return replace(events, statistics=events.statistics * values["yield"])
