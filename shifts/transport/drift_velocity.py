"""Drift velocity: charge arrives sooner or later than reconstruction assumes, so that the drift coordinate scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value

__all__ = ["DriftVelocity"]


class DriftVelocity(Effect[Charge]):
    """A drift velocity that differs from the one that the read-out assumes, at the same field.

    The drift coordinate is multiplied by assumed over true velocity, so that the anode stays. The charge changes only
    with the drift time, through lifetime and diffusion.
    """

    name: ClassVar[str] = "drift_velocity"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("T2",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("scale", "drift_field_scale", "the drift field moves the velocity too"),
        ("scale", "argon_temperature_shift", "the temperature of the argon moves the velocity too"),
    )
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.01,
            "1",
            (0.81, 1.19),
            identity=1.0,
            algebra="multiply",
            source="spread of four parametrisations at 0.5 kV/cm; bounds from larnd-sim-jax optimize/ranges.py",
            confidence="A",
            doc="True velocity over the nominal velocity, which reconstruction assumes.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in argon in which charge drifts at the scaled velocity."""
        medium = events.medium
        return replace(events, medium=replace(medium, drift_velocity=medium.drift_velocity * values["scale"]))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in the argon before it was scaled."""
        return self.apply(events, {"scale": 1.0 / values["scale"]}, stream)
