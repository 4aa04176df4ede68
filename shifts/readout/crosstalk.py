"""Cross-talk: a readout channel induces part of its charge in the channels beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value, WireGeometry

__all__ = ["Crosstalk", "coupling"]

SMALLEST: Final = 1e-6
"""Electrons below which a cell counts as empty after the coupling was undone."""


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
        for stride, period in _axes(events):
            events = _couple(events, values["fraction"], stride, period, _channels(events, period))
        return events

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Return the charge that each channel collected; cells with less than ``SMALLEST`` get no row.

        Every row of channels that has a cell is solved as a whole: meant for tests and corrections of single events.
        """
        for stride, period in reversed(_axes(events)):
            events = _uncouple(events, values["fraction"], stride, period)
        return events


def _axes(events: Cells) -> list[tuple[int, int]]:
    """Return (stride, period) in lattice indices of each axis along which channels couple."""
    _, across, along = events.geometry.shape
    if isinstance(events.geometry, WireGeometry):
        return [(1, along)]
    return [(1, along), (along, across)]


def _channels(events: Cells, period: int) -> int | Tensor:
    """Return the number of channels of each row of them: of a side of the anode, or of each cell's plane."""
    geometry = events.geometry
    if isinstance(geometry, WireGeometry):
        return torch.tensor(geometry.wires, device=events.cell.device)[events.channel // period]
    return period


def _uncouple(events: Cells, fraction: Value, stride: int, period: int) -> Cells:
    """Return cells before coupling to the neighbours ``stride`` lattice indices away."""
    block = stride * period
    address, cells = events.address, events.geometry.cells
    first = address // block * block + address % stride
    start, line = torch.unique(first, return_inverse=True)
    seen = torch.zeros(len(start), period, dtype=torch.float64, device=address.device)
    seen[line, address // stride % period] = events.electrons
    each = torch.as_tensor(fraction, dtype=torch.float64).expand(len(events.table)).to(address.device)[start // cells]
    counts = torch.full((len(address),), period, device=address.device)
    counts = counts.copy_(torch.as_tensor(_channels(events, period)))
    count = torch.zeros_like(start).scatter_(0, line, counts)
    for value, number in torch.unique(torch.stack([each, count.to(torch.float64)], dim=1), dim=0).tolist():
        own = (each == value) & (count == number)
        matrix = coupling(int(number), value).to(address.device)
        seen[own, : int(number)] = torch.linalg.solve(matrix, seen[own, : int(number)].T).T
    line, place = torch.nonzero(seen.abs() >= SMALLEST, as_tuple=True)
    address, order = torch.sort(start[line] + place * stride)
    empty = events.keep(torch.zeros_like(events.cell, dtype=torch.bool))
    return empty.insert(address // cells, address % cells, seen[line, place][order])


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
