"""Field cage: near its walls and at a bent cathode the drift field is distorted, and zero farther away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value, undisplaced

__all__ = ["FieldCage", "boundary_displacement", "fading"]


def fading(distance: Tensor, reach: Value) -> Tensor:
    """Return float64, the shape of ``distance``: (1 - distance / reach)^2, and exactly 0 beyond ``reach``, both cm."""
    left = torch.clamp(1.0 - distance.to(torch.float64) / torch.as_tensor(reach, dtype=torch.float64), min=0.0)
    return left * left


def boundary_displacement(
    position: Tensor, size: tuple[float, float, float], edge: Value, cathode: Value, reach: Value
) -> Tensor:
    """Return float64 (point, 3), cm: how charge near the boundary seems displaced.

    Charge near a wall (a face along y or z) moves inwards, in proportion to the drift; charge near the cathode moves
    towards the anode, most at the cathode's centre and not at its frame, as where the cathode bows.

    Args:
        position: (point, 3), cm.
        size: of the volume, cm; the cathode is at x = size[0].
        edge: cm, at the wall for charge from the cathode, one number or (point,).
        cathode: cm, at the cathode's centre, one number or (point,).
        reach: cm, from the boundary, beyond which nothing moves, one number or (point,).
    """
    x, y, z = position.to(torch.float64).unbind(dim=1)
    length, height, depth = size
    bow = (1.0 - (2.0 * y / height - 1.0) ** 2) * (1.0 - (2.0 * z / depth - 1.0) ** 2)
    inwards = [
        (x / length) * (fading(p, reach) - fading(edge_at - p, reach)) for p, edge_at in ((y, height), (z, depth))
    ]
    return torch.stack([-cathode * bow * fading(length - x, reach), edge * inwards[0], edge * inwards[1]], dim=1)


class FieldCage(Effect[Charge]):
    """What correction leaves of distortions at the boundary of the drift volume; a declared shape, not a measured map.

    Only positions change: the field's strength does so in second order.
    """

    name: ClassVar[str] = "field_cage"
    stage: ClassVar[str] = "displace"
    catalogue: ClassVar[tuple[str, ...]] = ("T7",)
    needs: ClassVar[tuple[str, ...]] = ("position",)
    changes: ClassVar[tuple[str, ...]] = ("position",)
    parameters = (
        Parameter(
            "edge",
            0.0,
            0.3,
            "cm",
            (-3.0, 3.0),
            identity=0.0,
            source="judgement: a tenth of the inward pull of some cm seen before correction",
            confidence="C",
            doc="Inward displacement at the walls of charge from the cathode.",
        ),
        Parameter(
            "cathode",
            0.0,
            0.2,
            "cm",
            (-3.0, 3.0),
            identity=0.0,
            source="judgement: a tenth of the bending of some cm that ICARUS simulates (cathodebending)",
            confidence="C",
            doc="Displacement towards the anode of charge from the cathode's centre.",
        ),
        Parameter(
            "reach",
            20.0,
            0.0,
            "cm",
            (7.0, 100.0),
            source="declared: of the order of the distance between electrodes and boundary",
            confidence="C",
            doc="Distance from the boundary beyond which nothing moves.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where they seem to be."""
        if all(not isinstance(values[name], Tensor) and values[name] == 0 for name in ("edge", "cathode")):
            return events
        rows = [events.per_row(values[name]) for name in ("edge", "cathode", "reach")]
        displacement = boundary_displacement(events.position, events.geometry.size, *rows)
        return replace(events, position=(events.position.to(torch.float64) + displacement).to(torch.float32))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where they were; found by iteration.

        Raises:
            ConfigError: the displacement is too steep to be undone.
        """
        rows = [events.per_row(values[name]) for name in ("edge", "cathode", "reach")]
        place = undisplaced(events.position, lambda place: boundary_displacement(place, events.geometry.size, *rows))
        return replace(events, position=place.to(torch.float32))
