"""Nonlinearity of amplifier and digitiser: the gain changes a little with the size of the signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value

__all__ = ["Nonlinearity", "bend", "unbend"]


def bend(charge: Tensor, bending: Value, full_scale: Value) -> Tensor:
    """Return charge q (1 + a q / q_fs), any shape; with the factor 1 below 0 and 1 + a above full scale.

    Monotone for a > -1/2; 0 stays 0.

    Args:
        charge: float64, electrons.
        bending: a, relative deviation at full scale.
        full_scale: q_fs, electrons.
    """
    scale = torch.as_tensor(full_scale, dtype=charge.dtype, device=charge.device)
    return charge * (1.0 + bending * (charge / scale).clamp(0.0, 1.0))


def unbend(charge: Tensor, bending: Value, full_scale: Value) -> Tensor:
    """Return the charge that ``bend`` turns into ``charge``: its inverse for a > -1/2; arguments as there."""
    a = torch.as_tensor(bending, dtype=charge.dtype, device=charge.device)
    part = (charge / full_scale).clamp(min=0.0)
    root = torch.sqrt(torch.clamp(1.0 + 4.0 * a * part, min=0.0))
    inside = charge * (2.0 / (1.0 + root))
    return torch.where(part < 1.0 + a, inside, charge / (1.0 + a))


class Nonlinearity(Effect[Cells]):
    """Charge q becomes q (1 + a q / q_fs), after the gain and before the digitiser's ceiling."""

    name: ClassVar[str] = "nonlinearity"
    stage: ClassVar[str] = "saturate"
    order: ClassVar[int] = 1
    catalogue: ClassVar[tuple[str, ...]] = ("E14",)
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "bending",
            0.0,
            0.01,
            "1",
            (-0.25, 0.25),
            identity=0.0,
            algebra="linear",
            source="integral nonlinearity of digitisers below 1% of full scale",
            confidence="C",
            doc="Relative deviation of the charge at full scale.",
        ),
        Parameter(
            "full_scale",
            217_500.0,
            0.0,
            "e",
            (1000.0, 1e7),
            source="LArPix: 231 steps of 941 e above the pedestal (larnd-sim detector_properties/2x2.yaml)",
            confidence="A",
            doc="Charge at full scale, in electrons at nominal gain.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Bend each cell's charge."""
        bending, scale = events.per_row(values["bending"]), events.per_row(values["full_scale"])
        return events.with_electrons(bend(events.electrons, bending, scale))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Unbend each cell's charge."""
        bending, scale = events.per_row(values["bending"]), events.per_row(values["full_scale"])
        return events.with_electrons(unbend(events.electrons, bending, scale))

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that is bent to ``level``."""
        charge = torch.tensor([level], dtype=torch.float64)
        return float(unbend(charge, values["bending"], values["full_scale"]))
