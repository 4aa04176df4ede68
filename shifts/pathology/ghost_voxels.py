"""Voxels that reconstruction makes up, and voxels that it loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["GhostVoxels", "LostVoxels"]


class GhostVoxels(Effect[Cells]):
    """Some recorded cells appear a second time, with the same charge, at another place of the same drift layer.

    So do ambiguous matches of hits at one time. A ghost that would fall outside the anode or on a recorded cell does
    not appear; of two at one place the one of the first cell does.
    """

    name: ClassVar[str] = "ghost_voxels"
    stage: ClassVar[str] = "calibrate"
    order: ClassVar[int] = -1
    catalogue: ClassVar[tuple[str, ...]] = ("C6",)
    readout = "pixels"
    needs: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            0.01,
            0.005,
            "1",
            (0.0, 1.0),
            identity=0.0,
            scope="event",
            source="a judgement: 1% of the voxels",
            confidence="C",
            doc="Ghosts per recorded cell.",
        ),
        Parameter(
            "reach",
            10.0,
            0.0,
            "1",
            (1.0, 1000.0),
            source="a judgement",
            confidence="C",
            doc="Largest distance of a ghost from its cell along either side of the anode, in pixels.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Add the ghosts."""
        fraction = values["fraction"]
        if not isinstance(fraction, Tensor) and fraction == 0:
            return events
        chosen = stream.uniform("ghost", events.key, events.cell) < events.per_row(fraction)
        parent = events.keep(chosen)
        cell = self._places(parent, parent.per_row(values["reach"]), stream)
        inside = cell >= 0
        event, cell, charge = parent.event[inside], cell[inside], parent.electrons[inside]
        address, order = torch.sort(event * events.geometry.cells + cell, stable=True)
        first = torch.ones_like(address, dtype=torch.bool)
        first[1:] = address[1:] != address[:-1]
        first &= ~torch.isin(address, events.address)
        order = order[first]
        return events.insert(event[order], cell[order], charge[order])

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse a reach that is not a whole number of pixels."""
        if values["reach"] != int(values["reach"]):
            raise ConfigError(f"ghost_voxels: reach = {values['reach']:g} is not a whole number of pixels.")

    @staticmethod
    def _places(parent: Cells, reach: Value, stream: Stream) -> Tensor:
        """Return the lattice index (row,) of each cell's ghost; -1 outside the anode."""
        _, across, along = parent.geometry.shape
        moved = [
            torch.floor(stream.uniform(name, parent.key, parent.cell) * (2 * reach + 1)).to(torch.int64)
            - torch.as_tensor(reach, device=parent.cell.device).to(torch.int64)
            for name in ("across", "along")
        ]
        y, z = parent.cell // along % across + moved[0], parent.cell % along + moved[1]
        outside = (y < 0) | (y >= across) | (z < 0) | (z >= along)
        return torch.where(outside, -1, (parent.layer * across + y) * along + z)


class LostVoxels(Effect[Cells]):
    """Some recorded cells are lost on the way to the image."""

    name: ClassVar[str] = "lost_voxels"
    stage: ClassVar[str] = "calibrate"
    order: ClassVar[int] = -2
    catalogue: ClassVar[tuple[str, ...]] = ("C6",)
    needs: ClassVar[tuple[str, ...]] = ("key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            0.01,
            0.005,
            "1",
            (0.0, 1.0),
            identity=0.0,
            scope="event",
            algebra="nest",
            source="a judgement: 1% of the voxels",
            confidence="C",
            doc="Probability that a recorded cell is lost.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Keep the cells that are not lost."""
        draw = stream.uniform("cell", events.key, events.cell)
        return events.keep(draw >= events.per_row(values["fraction"]))
