"""Direction of the beam: all momenta are measured from it, so an error of it turns every token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.rederive import rederived
from shiftlab.detector.scintillator.token_kinematics import (
    FourMomentum,
    four_momentum,
    per_token,
    require_tokens,
    with_columns,
    with_four_momentum,
)
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle

__all__ = ["BeamAngle", "turned"]


def turned(momentum: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return momenta turned by ``x`` towards +x, then by ``y`` towards +y; both float64 (token,) rad.

    A rotation about the y axis, then one about the x axis; those about one axis add.

    Args:
        momentum: float64 (token, 3), beam along z.
        x: angle in the plane of x and z.
        y: angle in the plane of y and z.
    """
    px, py, pz = momentum.unbind(1)
    px, pz = px * x.cos() + pz * x.sin(), pz * x.cos() - px * x.sin()
    py, pz = py * y.cos() + pz * y.sin(), pz * y.cos() - py * y.sin()
    return torch.stack([px, py, pz], dim=1)


class BeamAngle(Effect[Tokens]):
    """All tokens' momenta turned by ``x`` and ``y``; |p|, E and every invariant mass stay, and so do places."""

    name: ClassVar[str] = "beam_angle"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M10",)
    order: ClassVar[int] = 60
    needs: ClassVar[tuple[str, ...]] = ("features",)
    changes: ClassVar[tuple[str, ...]] = ("features", "globals", "global_valid")
    parameters = tuple(
        Parameter(
            axis,
            0.0,
            sigma,
            "mrad",
            (-10.0, 10.0),
            identity=0.0,
            source="beamThetaX_Err, beamThetaY_Err (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h, docdb 11550)",
            confidence="A",
            doc=f"Angle of the beam in {axis}, about the nominal one.",
        )
        for axis, sigma in (("x", 1.0), ("y", 0.9))
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Turn all tokens of the events whose angle is not 0."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E", kinds=False)
        x, y = (
            torch.as_tensor(
                per_token(events, torch.as_tensor(values[axis], dtype=torch.float64, device=events.features.device))
            ).expand(len(events.particle))
            / 1000.0
            for axis in "xy"
        )
        momentum, energy = four_momentum(events)
        rows = ((x != 0) | (y != 0)) & (momentum.norm(dim=1) > 0)
        new = with_four_momentum(events, rows, FourMomentum(turned(momentum, x, y), energy))
        return rederived(events, with_columns(new, rows, {"log_E": events.column("log_E").double()}))
