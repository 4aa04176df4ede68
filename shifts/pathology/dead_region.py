"""Dead region: a strip of the anode without read-out, say a gap between modules or a shorted row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value

__all__ = ["DeadRegion"]

_Z: Final = 0.0


class DeadRegion(Effect[Cells]):
    """Charge of pixels in the strip is lost; a pixel that is partly inside loses the covered part."""

    name: ClassVar[str] = "dead_region"
    stage: ClassVar[str] = "mask"
    catalogue: ClassVar[tuple[str, ...]] = ("P3",)
    readout = "pixels"
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "width",
            0.6,
            0.15,
            "cm",
            (0.0, 100.0),
            identity=0.0,
            algebra="nest",
            source="a judgement: a gap of two pixels, known to half a pixel",
            confidence="C",
            doc="Width of the strip.",
        ),
        Parameter(
            "centre",
            0.0,
            0.0,
            "cm",
            (-1e4, 1e4),
            source="how the detector is built",
            confidence="C",
            doc="Middle of the strip, from the middle of the anode.",
        ),
        Parameter(
            "axis",
            _Z,
            0.0,
            "1",
            (0.0, 1.0),
            two_sided=False,
            choices=("z", "y"),
            source="how the detector is built",
            confidence="C",
            doc="Which coordinate the strip bounds: a gap in z, along y, or the other way round.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Keep what lies outside the strip."""
        width, centre, axis = (
            torch.as_tensor(events.per_row(values[name]), dtype=torch.float64, device=events.electrons.device)
            for name in ("width", "centre", "axis")
        )
        _, across, along = events.geometry.shape
        index = torch.where(axis == _Z, events.cell % along, events.cell // along % across)
        edge = torch.where(axis == _Z, along, across).to(torch.float64)
        alive = 1.0 - _covered(index - 0.5 * edge, width, centre, events.geometry.pitch)
        return events.with_electrons(events.electrons * alive).keep(alive > 0)


def _covered(left: Tensor, width: Tensor, centre: Tensor, pitch: float) -> Tensor:
    """Return the part (row,) of a pixel, from ``left`` to ``left + 1`` pitches, that lies in the strip."""
    # A pixel that lies inside up to rounding is inside.
    first, last = ((centre + sign * 0.5 * width) / pitch for sign in (-1, 1))
    part = (torch.minimum(left + 1.0, last) - torch.maximum(left, first)).clamp(0.0, 1.0)
    return torch.where(part > 1.0 - 1e-9, 1.0, torch.where(part < 1e-9, 0.0, part))
