"""Regions of interest: samples of each wire put side by side in one buffer, filtered there, and put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from shiftlab.detector.wires.response import Taps

if TYPE_CHECKING:
    from shiftlab.detector.state import Cells

__all__ = ["Regions", "by_cell", "filtered", "in_groups", "regions"]

Floats = npt.NDArray[np.float64]

_GROUP: Final = 65536
"""Rows worked on at a time where events allow: what stays near the core."""

_BLOCK: Final = 16384
"""Samples filtered at a time: what fits in a core's cache."""


@dataclass(frozen=True)
class Regions:
    """Runs of neighbouring ticks, each of one wire in one event, ordered by (channel, event, tick).

    Attributes:
        channel: int64 (run,).
        event: int64 (run,).
        first: int64 (run,), first tick.
        length: int64 (run,), ticks.
        start: int64 (run,), place in the buffer of the first tick; unused places lie between runs.
        size: places in the buffer.
        order: int64 (row,), row of the cells, in the order of the buffer.
        place: int64 (row,), place in the buffer of the rows of ``order``.
    """

    channel: Tensor
    event: Tensor
    first: Tensor
    length: Tensor
    start: Tensor
    size: int
    order: Tensor
    place: Tensor

    def laid(self, values: Tensor) -> Tensor:
        """Return the buffer (size,) with ``values`` (row,) at the places of their cells, 0 elsewhere."""
        buffer = torch.zeros(self.size, dtype=values.dtype, device=values.device)
        return buffer.index_copy(0, self.place, values.index_select(0, self.order))

    def taken(self, buffer: Tensor) -> Tensor:
        """Return the values (row,) of a buffer at the places of the cells, in the cells' order."""
        values = torch.empty(len(self.order), dtype=buffer.dtype, device=buffer.device)
        return values.index_copy(0, self.order, buffer.index_select(0, self.place))

    def run_of(self) -> Tensor:
        """Return int64 (size,): the run of each place; one that is unused counts to the run after it."""
        ends = self.start + self.length
        lengths = torch.diff(ends, prepend=torch.zeros(1, dtype=torch.int64, device=ends.device))
        runs = torch.repeat_interleave(torch.arange(len(ends), device=ends.device), lengths)
        rest = self.size - len(runs)
        return torch.cat([runs, torch.full((rest,), max(len(ends) - 1, 0), dtype=torch.int64, device=ends.device)])


def regions(cells: Cells, *, before: int = 0, after: int = 0, gap: int = 0) -> Regions:
    """Return the runs of the cells' ticks, widened by ``before`` and ``after`` ticks within the readout window.

    Args:
        cells: of a wire read-out.
        before: ticks added in front of each charge.
        after: ticks added behind; runs that then touch are one.
        gap: unused places in front of each run and behind the last, so that no filter reaches from run to run.
    """
    ticks, channels = cells.geometry.shape[0], cells.geometry.channels
    base, events = _span(cells.event)
    line = (cells.event - base) * ticks + cells.layer
    order, line, channel = _transposed(line, cells.channel, events * ticks, channels)
    event = line // ticks
    tick = line - event * ticks
    new = torch.ones_like(tick, dtype=torch.bool)
    new[1:] = (channel[1:] != channel[:-1]) | (event[1:] != event[:-1]) | (line.diff() > before + after + 1)
    opening = torch.nonzero(new).squeeze(1)
    closing = torch.cat([opening[1:] - 1, torch.full_like(opening[:1], len(tick) - 1)])
    first = torch.clamp(tick[opening] - before, min=0)
    length = torch.clamp(tick[closing] + after, max=ticks - 1) - first + 1
    start = torch.cumsum(length + gap, 0) - length
    size = int(length.sum()) + gap * (len(length) + 1)
    shift = torch.repeat_interleave(start - first, closing - opening + 1)
    return Regions(channel[opening], event[opening] + base, first, length, start, size, order, tick + shift)


def by_cell(regions: Regions, ticks: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return event, cell and place in the buffer of every tick of every run, int64 (sample,), as cells are ordered."""
    before = torch.cumsum(regions.length, 0) - regions.length
    number = torch.arange(int(regions.length.sum()), device=before.device)

    def spread(values: Tensor) -> Tensor:
        return torch.repeat_interleave(values, regions.length)

    base, events = _span(regions.event)
    line = spread((regions.event - base) * ticks + regions.first - before) + number
    order, channel, line = _transposed(spread(regions.channel), line, channels, events * ticks)
    place = (spread(regions.start - before) + number).index_select(0, order)
    event = line // ticks
    return event + base, (line - event * ticks) * channels + channel, place


def _span(event: Tensor) -> tuple[int, int]:
    """Return the first event that has rows, and how many there are from it to the last."""
    if not len(event):
        return 0, 1
    low, high = (int(one) for one in torch.aminmax(event))
    return low, high - low + 1


def _transposed(major: Tensor, minor: Tensor, majors: int, minors: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the order by (minor, major) of rows that are in the order of (major, minor), and both numbers in it.

    On the CPU the transposition of a sparse matrix, which takes linear time.
    """
    if major.device.type != "cpu":
        order = torch.argsort(minor * majors + major)
        return order, major[order], minor[order]
    start = np.zeros(majors + 1, dtype=np.int32)
    np.cumsum(np.bincount(major.numpy(), minlength=majors), out=start[1:])
    rows = np.arange(len(major), dtype=np.int32)
    matrix = sparse.csr_array((rows, minor.numpy().astype(np.int32), start), shape=(majors, minors)).tocsc()
    numbers = np.repeat(np.arange(minors, dtype=np.int64), np.diff(matrix.indptr))
    columns = (matrix.data.astype(np.int64), matrix.indices.astype(np.int64), numbers)
    order, first, second = (torch.from_numpy(column) for column in columns)
    return order, first, second


def filtered(buffer: Tensor, taps: Taps) -> Tensor:
    """Return float64 (place,): ``buffer`` filtered, zeros beyond its ends.

    Each output is the sum of the products in the order of the taps, each product and sum rounded on its own, so that
    neither its place in the buffer nor the device changes a bit.
    """
    before, after = max(taps.last, 0), max(-taps.first, 0)
    padded = torch.nn.functional.pad(buffer, (before, after))
    weights, size = taps.weight.tolist(), buffer.shape[0]
    if buffer.device.type == "cpu" and not buffer.requires_grad:
        return torch.from_numpy(_in_blocks(padded.numpy(), weights, before - taps.first, size))
    result = torch.zeros_like(buffer)
    for k, weight in enumerate(weights):
        result = result + padded[before - taps.first - k :][:size] * weight
    return result


def _in_blocks(padded: Floats, weights: list[float], begin: int, size: int) -> Floats:
    """Return the sum of weight k times ``padded`` from place ``begin - k`` on; blocks stay in the cache."""
    result = np.zeros(size)
    product = np.empty(min(_BLOCK, size))
    for first in range(0, size, _BLOCK):
        last = min(first + _BLOCK, size)
        out, part = result[first:last], product[: last - first]
        for k, weight in enumerate(weights):
            np.multiply(padded[begin + first - k : begin + last - k], weight, out=part)
            np.add(out, part, out=out)
    return result


def in_groups(cells: Cells, work: Callable[[Cells], Cells]) -> Cells:
    """Return ``work`` done on groups of whole events, which changes no bit and, on a CPU, is faster."""
    bounds = torch.searchsorted(cells.event, torch.arange(len(cells.table) + 1, device=cells.event.device)).tolist()
    if cells.event.device.type != "cpu" or bounds[-1] <= _GROUP:
        return work(cells)
    parts, begin = [], 0
    for end, following in pairwise([*bounds[1:], bounds[-1] + _GROUP]):
        if following - begin > _GROUP and end > begin:
            rows = slice(begin, end)
            parts.append(work(_part(cells, rows)))
            begin = end
    return replace(
        cells,
        event=torch.cat([part.event for part in parts]),
        key=torch.cat([part.key for part in parts]),
        cell=torch.cat([part.cell for part in parts]),
        electrons=torch.cat([part.electrons for part in parts]),
    )


def _part(cells: Cells, rows: slice) -> Cells:
    return replace(
        cells,
        event=cells.event[rows],
        key=cells.key[rows],
        cell=cells.cell[rows],
        electrons=cells.electrons[rows],
    )
