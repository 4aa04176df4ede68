"""Misalignment: the read-out stands a little beside where reconstruction takes it to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value

__all__ = ["Misalignment", "rigid_motion"]


def rigid_motion(
    position: Tensor, shift: tuple[Tensor, Tensor, Tensor], angle: Tensor, centre: tuple[float, float]
) -> Tensor:
    """Return float64 (point, 3), cm: points turned about the drift axis through ``centre``, then shifted.

    Args:
        position: (point, 3), cm.
        shift: along x, y and z, float64 (point,) or (1,) each, cm.
        angle: float64 (point,) or (1,), rad, from y towards z.
        centre: y and z of the axis, cm.
    """
    x, y, z = position.to(torch.float64).unbind(dim=1)
    across, along = y - centre[0], z - centre[1]
    cosine, sine = torch.cos(angle), torch.sin(angle)
    turned = (x, centre[0] + across * cosine - along * sine, centre[1] + across * sine + along * cosine)
    return torch.stack([place + away for place, away in zip(turned, shift, strict=True)], dim=1)


class Misalignment(Effect[Charge]):
    """A rigid motion of all charge relative to the read-out, about the centre of the anode.

    It acts after distortions of the drift field. Charge that is moved out of the lattice is lost. A shift along the
    drift counts as drift time for the lifetime, too, which is 0.02% of charge for 0.22 cm.
    """

    name: ClassVar[str] = "misalignment"
    stage: ClassVar[str] = "displace"
    order: ClassVar[int] = 1
    catalogue: ClassVar[tuple[str, ...]] = ("C1",)
    needs: ClassVar[tuple[str, ...]] = ("position",)
    changes: ClassVar[tuple[str, ...]] = ("position",)
    parameters = (
        *(
            Parameter(
                axis,
                0.0,
                0.22,
                "cm",
                (-0.44, 0.44),
                identity=0.0,
                source="half of a pixel's pitch, and the whole pitch as bounds: ranges of a scan (larnd-sim-jax "
                "optimize/ranges.py), not the error of a survey",
                confidence="C",
                doc=doc,
            )
            for axis, doc in (
                ("x", "How much farther from the anode all charge seems to be."),
                ("y", "Shift of all charge along y."),
                ("z", "Shift of all charge along z."),
            )
        ),
        Parameter(
            "rotation",
            0.0,
            1.0,
            "mrad",
            (-5.0, 5.0),
            identity=0.0,
            source="judgement: 0.1 cm at the edge of an anode of 2 m",
            confidence="C",
            doc="Rotation of all charge about the drift axis through the anode's centre, from y towards z.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where the misaligned read-out takes them to be."""
        if all(not isinstance(value, Tensor) and value == 0 for value in values.values()):
            return events
        shift, angle, centre = _motion(events, values)
        return replace(events, position=rigid_motion(events.position, shift, angle, centre).to(torch.float32))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where they were: first shifted back, then turned back."""
        (x, y, z), angle, centre = _motion(events, values)
        still, none = torch.zeros_like(angle), torch.zeros_like(x)
        back = rigid_motion(events.position, (-x, -y, -z), still, centre)
        return replace(events, position=rigid_motion(back, (none, none, none), -angle, centre).to(torch.float32))


def _motion(
    events: Charge, values: Mapping[str, Value]
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, tuple[float, float]]:
    """Return shift (cm), angle (rad) and centre of the rotation (cm) for each deposit."""
    rows = {
        name: torch.as_tensor(events.per_row(value), dtype=torch.float64, device=events.position.device).reshape(-1)
        for name, value in values.items()
    }
    _, height, depth = events.geometry.size
    return (rows["x"], rows["y"], rows["z"]), 1e-3 * rows["rotation"], (0.5 * height, 0.5 * depth)
