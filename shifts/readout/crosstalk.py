"""Cross-talk: a readout channel induces part of its charge in the channels beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value, WireGeometry

__all__ = ["Crosstalk", "coupling"]


def coupling(channels: int, fraction: float) -> Tensor:
    """Return float64 (channel, channel): what a row of readout channels shows of the charge that each collects.

    The kernel [f, 1 - 2f, f]; the first and the last channel have one neighbour and keep 1 - f, so that each column
    adds up to one. Two such matrices commute, and their product is that of the convolved kernels away from the ends.
    The eigenvalues are 1 - 4 f sin^2(k pi / 2n): for f < 1/4 all are positive and the inverse exists.
    """
    if channels == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    step = torch.ones(channels - 1, dtype=torch.float64)
    neighbours = torch.diag(step, 1) + torch.diag(step, -1)
    return torch.eye(channels, dtype=torch.float64) + fraction * (neighbours - torch.diag(neighbours.sum(dim=0)))


class Crosstalk(Effect[Cells]):
    """Each channel gives the fraction f of its charge to either neighbour; charge is kept.

    Pixels couple along both sides of the anode, one after the other; wires couple within their plane. Neighbours that
    had no charge get a row.
    """

    name: ClassVar[str] = "crosstalk"
    stage: ClassVar[str] = "shape"
    catalogue: ClassVar[tuple[str, ...]] = ("E12",)
    needs: ClassVar[tuple[str, ...]] = ("event", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "fraction",
            0.005,
            0.0025,
            "1",
            (0.0, 0.2),
            identity=0.0,
            source="a judgement: between none and 1%",
            confidence="C",
            doc="Part of a channel's charge that appears in each of its two neighbours along an axis.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Move the coupled charge, along y and z for pixels, from wire to wire for wires."""
        geometry, fraction = events.geometry, values["fraction"]
        _, across, along = geometry.shape
        if isinstance(geometry, WireGeometry):
            wires = torch.tensor(geometry.wires, device=events.cell.device)
            return _couple(events, fraction, 1, along, wires[events.channel // along])
        events = _couple(events, fraction, 1, along, along)
        return _couple(events, fraction, along, across, across)


def _couple(events: Cells, fraction: Value, stride: int, period: int, channels: int | Tensor) -> Cells:
    """Return cells after coupling to the neighbours ``stride`` lattice indices away.

    Args:
        events: cells.
        fraction: that each neighbour gets, one number or (event,).
        stride: distance of neighbours in lattice indices.
        period: after how many strides the next row of channels begins.
        channels: how many of them there are, one number or (row,).
    """
    index = events.cell // stride % period
    given = events.electrons * events.per_row(fraction)
    left = (index > 0) & (given != 0)
    right = (index < channels - 1) & (given != 0)
    if not bool((left | right).any()):
        return events
    cells = events.geometry.cells
    address = events.address
    target = torch.cat([address[left] - stride, address[right] + stride])
    own = events.electrons - torch.where(left, given, 0.0) - torch.where(right, given, 0.0)
    new = torch.unique(target)
    place = torch.searchsorted(address, new).clamp(max=len(address) - 1)
    new = new[address[place] != new]
    after = events.with_electrons(own).insert(new // cells, new % cells, torch.zeros_like(new, dtype=torch.float64))
    # At most one neighbour gives from either side, so that two plain sums in this order have no order of their own.
    electrons = after.electrons
    for side, part in ((left, given[left]), (right, given[right])):
        step = -stride if side is left else stride
        where = torch.searchsorted(after.address, address[side] + step)
        electrons = electrons.index_add(0, where, part)
    return after.with_electrons(electrons)
