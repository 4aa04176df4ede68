"""Drift field: recombination, drift velocity and diffusion all follow the strength of one field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value
from shifts.transport.mobility import medium_at

__all__ = ["DriftField"]


class DriftField(Effect[Charge]):
    """A stronger or weaker field in the whole drift volume, as one nuisance in all that depends on it.

    Velocity and diffusion change by the ratio of their parametrisation (arXiv:1508.07059) at the new and the nominal
    field, so that the detector's own nominal constants stay; recombination reads the new field itself.
    """

    name: ClassVar[str] = "drift_field"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("T1",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.017,
            "1",
            (0.8, 1.2),
            identity=1.0,
            algebra="multiply",
            source="ICARUS, 492.6 +- 8.4 V/cm; bounds from larnd-sim-jax optimize/ranges.py",
            confidence="B",
            doc="Field over the nominal field.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in argon at the scaled field."""
        return replace(events, medium=medium_at(events.medium, efield=events.medium.efield * values["scale"]))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in the argon before it was scaled."""
        return self.apply(events, {"scale": 1.0 / values["scale"]}, stream)
