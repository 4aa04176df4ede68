"""Longitudinal diffusion: a cloud of charge widens by sqrt(2 D t) along the drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch

from shiftlab.detector import Charge, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["DiffusionLongitudinal", "refuse_no_diffusion"]


class DiffusionLongitudinal(Effect[Charge]):
    """Widening of the cloud along the drift; charge and mean position stay."""

    name: ClassVar[str] = "diffusion_longitudinal"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("T4",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.075,
            "1",
            (0.0, 2.5),
            identity=1.0,
            algebra="multiply",
            source="MicroBooNE, 3.74 +0.28 -0.29 cm2/s at 273.9 V/cm, arXiv:2104.06551: its relative error, about "
            "the detector's constant; the BNL parametrisation (6.6) and WireCell (7.2) lie outside it",
            confidence="B",
            doc="Longitudinal diffusion constant over the detector's.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in argon with the scaled constant."""
        constant = events.medium.diffusion_longitudinal
        refuse_no_diffusion(self.name, "longitudinal", constant)
        return replace(events, medium=replace(events.medium, diffusion_longitudinal=constant * values["scale"]))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits in the argon before it was scaled.

        Raises:
            ConfigError: the scale is 0, which leaves nothing to tell the constant from.
        """
        if not bool((torch.as_tensor(values["scale"]) > 0).all()):
            raise ConfigError(f"effect {self.name} cannot be undone at scale 0: the constant is lost.")
        return self.apply(events, {"scale": 1.0 / values["scale"]}, stream)


def refuse_no_diffusion(effect: str, direction: str, constant: Value) -> None:
    """Refuse to scale a diffusion constant of 0 cm2/s, which would be a nuisance that does nothing.

    Raises:
        ConfigError: naming the effect and the detector's key.
    """
    if isinstance(constant, float | int) and constant == 0:
        raise ConfigError(
            f"effect {effect} scales the detector's {direction} diffusion, but diffusion.{direction} is 0 cm2/s "
            "(its charge is taken as already diffused). Remove the effect, or give a constant."
        )
