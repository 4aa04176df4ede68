"""Hadronic model of the particle transport: the same vertices carried by another list of Geant4's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from shiftlab.detector import Effect, Parameter, Prepared, Stream, Value

__all__ = ["HadronicModel", "taken"]


def taken(vertex: Tensor, share: Value, stream: Stream) -> Tensor:
    """Return bool (event,): which vertices are taken from the other model, each with probability ``share``.

    A vertex has one keyed uniform number for all universes, arms and throws, so that a larger share takes the
    vertices of a smaller one and more. The mean of any per-event quantity is the linear interpolation between
    the two models.

    Args:
        vertex: int64 (event,), uid of the generator vertex.
        share: probability in [0, 1], one number or (event,).
        stream: the effect's keyed draws.
    """
    return stream.uniform("vertex", vertex) < share


class HadronicModel(Effect[Prepared]):
    """Two-point variation of hadron transport, say FTFP_BERT against QGSP_BIC, from a paired file of the same vertices.

    The nominal file has one model, the paired file (``data.variations.hadronic_model``) the other. There is no
    physics between two models: a fractional strength is a mixture of events of both, vertex by vertex.
    """

    name: ClassVar[str] = "hadronic_model"
    stage: ClassVar[str] = "generate"
    catalogue: ClassVar[tuple[str, ...]] = ("GEN1",)
    needs: ClassVar[tuple[str, ...]] = ("variations",)
    changes: ClassVar[tuple[str, ...]] = (
        *("charge", "footprint", "cells", "dropped", "dropped_energy", "memory", "rows", "deposits", "variations"),
    )
    parameters = (
        Parameter(
            "model",
            0.0,
            1.0,
            "1",
            (0.0, 1.0),
            identity=0.0,
            two_sided=False,
            source="full difference of two lists of the Geant4 reference set, as one sigma (two-point); "
            "Allison et al., NIM A 835 (2016) 186, on the lists",
            confidence="C",
            doc="Share of vertices that the paired file's model carries: 0 is the nominal file, 1 the paired one.",
        ),
    )

    def apply(self, events: Prepared, values: Mapping[str, Value], stream: Stream) -> Prepared:
        """Return the events with the chosen vertices from the paired file.

        Raises:
            ConfigError: there is no paired file and a vertex is to be taken from it.
        """
        return events.varied(self.name, taken(events.events.vertex, values["model"], stream))
