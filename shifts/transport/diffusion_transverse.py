"""Transverse diffusion: a cloud of charge widens by sqrt(2 D t) across the drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value
from shifts.transport.diffusion_longitudinal import refuse_no_diffusion

__all__ = ["DiffusionTransverse"]


class DiffusionTransverse(Effect[Charge]):
    """Widening of the cloud across the drift; charge and mean position stay.

    Measurements and simulations give 7.5 to 12.0 cm2/s about 8.8, which is not symmetric. The prior is symmetric in
    the logarithm of the constant, with half the logarithmic width of that interval (a factor 1.265): 7.0 to 11.1.
    """

    name: ClassVar[str] = "diffusion_transverse"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("T5",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.265,
            "1",
            (0.1, 1.85),
            identity=1.0,
            scale="log",
            algebra="multiply",
            source="7.5 cm2/s (ICARUS, arXiv:2407.12969) to 12.0 (WireCell) about SBN's 8.8; up to larsim's 16.3",
            confidence="B",
            doc="Transverse diffusion constant over the detector's.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in argon with the scaled constant."""
        constant = events.medium.diffusion_transverse
        refuse_no_diffusion(self.name, "transverse", constant)
        return replace(events, medium=replace(events.medium, diffusion_transverse=constant * values["scale"]))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in the argon before it was scaled."""
        return self.apply(events, {"scale": 1.0 / values["scale"]}, stream)
