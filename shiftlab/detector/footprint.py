"""Diffusion as exact charge sharing: the part of each deposit's charge that each lattice cell collects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from shiftlab.detector.geometry import Geometry
from shiftlab.detector.state import Charge, true_rows

__all__ = ["CHARGE_UNIT", "WEIGHT_UNIT", "Footprint", "footprint"]

WEIGHT_UNIT: Final = 2.0**-18
"""Shares are whole numbers of this unit and add up to one exactly."""

CHARGE_UNIT: Final = 2.0**-12
"""Deposits' charge is rounded to this many electrons before it is shared."""

SMALLEST_SHARE: Final = 1e-3
"""Smaller shares are dropped and the others enlarged, so that the charge is kept."""

_BLOCK = 8192


@dataclass(frozen=True)
class Footprint:
    """Shares of deposits in cells as a sparse matrix (cell, deposit) of whole numbers.

    Charge is summed in whole numbers (units of 2^-30 electrons, up to 2^33 electrons a cell), so
    that no order, batch or device changes a bit.

    Attributes:
        start: int64 (cell + 1,), first contribution of each cell.
        deposit: int32 (contribution,), row of the deposit.
        share: int64 (contribution,), units of ``WEIGHT_UNIT``.
        deposits: number of deposits.
    """

    start: Tensor
    deposit: Tensor
    share: Tensor
    deposits: int

    @cached_property
    def _matrix(self) -> Any:
        arrays = (self.share.numpy(), self.deposit.numpy(), self.start.numpy().astype(np.int32))
        return sparse.csr_array(arrays, shape=(len(self.start) - 1, self.deposits))

    @cached_property
    def _cell(self) -> Tensor:
        rows = torch.arange(len(self.start) - 1, device=self.start.device)
        return torch.repeat_interleave(rows, self.start[1:] - self.start[:-1])

    def collect(self, electrons: Tensor) -> Tensor:
        """Return float64 (cell,): electrons collected from deposits' ``electrons`` (deposit,).

        Where gradients are asked for, the same sum is done in floating point (equal to rounding).
        """
        if electrons.requires_grad:
            parts = electrons[self.deposit] * (self.share.to(torch.float64) * WEIGHT_UNIT)
            return torch.zeros(len(self.start) - 1, dtype=torch.float64, device=parts.device).index_add(
                0, self._cell, parts
            )
        whole = torch.round(electrons / CHARGE_UNIT).to(torch.int64)
        if whole.device.type == "cpu":
            total = torch.from_numpy(self._matrix @ whole.numpy())
        else:
            total = torch.zeros(len(self.start) - 1, dtype=torch.int64, device=whole.device)
            total.index_add_(0, self._cell, whole[self.deposit] * self.share)
        return total.to(torch.float64) * (WEIGHT_UNIT * CHARGE_UNIT)


def footprint(charge: Charge, geometry: Geometry) -> tuple[Footprint, Tensor, Tensor]:
    """Return the footprint of deposits where the read-out takes them to be, and event and index of its cells.

    Cells are ascending in (event, cell). Charge that arrives outside the lattice is lost.

    Args:
        charge: deposits after all stages that move or delay them; their electrons do not matter.
        geometry: lattice.
    """
    place = charge.position.to(torch.float64)
    place = torch.cat([charge.arrival[:, None], place[:, 1:]], dim=1)
    time = torch.clamp(charge.drift_time, min=0.0)
    constants = [
        torch.as_tensor(charge.per_row(one), dtype=torch.float64, device=place.device).expand(len(place))
        for one in charge.medium.diffusion
    ]
    origin = charge.event * geometry.cells
    parts = []
    for first, last in _groups(charge.event):
        blocks = [
            _block(place[rows], time[rows], (constants[0][rows], constants[1][rows]), origin[rows], i, geometry)
            for i in range(first, max(last, first + 1), _BLOCK)
            for rows in [slice(i, min(i + _BLOCK, last))]
        ]
        parts.append(_sorted(*_joined(blocks)))
    address, deposit, share, counts = _joined(parts)
    start = torch.zeros(len(address) + 1, dtype=torch.int64, device=address.device)
    torch.cumsum(counts, 0, out=start[1:])
    events = torch.arange(len(charge.table) + 1, device=address.device)
    edges = torch.searchsorted(address, events * geometry.cells)
    event = torch.repeat_interleave(events[:-1], edges[1:] - edges[:-1], output_size=len(address))
    shares = Footprint(start=start, deposit=deposit, share=share, deposits=len(place))
    return shares, event, address - event * geometry.cells


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return the columns of all parts, one after the other."""
    return parts[0] if len(parts) == 1 else tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _groups(event: Tensor) -> list[tuple[int, int]]:
    """Return first and last row of groups of whole events, each of about ``_BLOCK`` deposits or one larger event.

    Groups can be sorted one by one; on a CPU a small one stays in the cache, on a GPU one is best.
    """
    if event.device.type != "cpu" or len(event) == 0:
        return [(0, len(event))]
    ends = [*(np.flatnonzero(np.diff(event.numpy())) + 1).tolist(), len(event)]
    groups = []
    first = 0
    for end, following in pairwise([*ends, 2 * len(event) + _BLOCK]):
        if following - first > _BLOCK:
            groups.append((first, end))
            first = end
    return groups


def _block(
    place: Tensor, time: Tensor, diffusion: tuple[Tensor, Tensor], origin: Tensor, first: int, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """Return address, deposit and share of each contribution of a block of deposits, numbered from ``first``."""
    cell, cloud = (part.movedim(0, -1) for part in geometry.shares(place, time, diffusion))
    share = _whole_shares(cloud).flatten()
    row = torch.arange(first, first + len(place), dtype=torch.int32, device=place.device).expand(cell.shape)
    taken = true_rows(share > 0)
    address = (cell + origin).flatten().index_select(0, taken)
    return address, row.flatten().index_select(0, taken), share.index_select(0, taken).to(torch.int64)


def _sorted(address: Tensor, deposit: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the cells' addresses, ascending, the contributions in that order, and how many each cell has."""
    address, order = torch.sort(address)
    fresh = torch.ones_like(address, dtype=torch.bool)
    torch.ne(address[1:], address[:-1], out=fresh[1:])
    first = true_rows(fresh)
    counts = torch.diff(first, append=first.new_tensor([len(address)]))
    return address.index_select(0, first), deposit.index_select(0, order), share.index_select(0, order), counts


def _whole_shares(cloud: Tensor) -> Tensor:
    """Round shares (group, n, deposit) to whole units; each group that has any adds up to one.

    The largest share takes the remainder; what lies outside the lattice is spread over what lies inside.
    """
    # Whole numbers below 2^37 in float64: the quotients differ from the next whole number by 2^-18 at least, so that
    # rounding down is exact, as it would be for integers, and faster.
    unit = round(1.0 / WEIGHT_UNIT)
    whole = torch.where(cloud >= SMALLEST_SHARE, torch.round(cloud * unit), 0.0)
    total = whole.sum(dim=1, keepdim=True)
    whole = whole.mul_(unit).div_(total.clamp(min=1.0)).floor_()
    rest = torch.where(total > 0, unit - whole.sum(dim=1, keepdim=True), 0.0)
    return whole.scatter_add_(1, _largest(whole), rest)


def _largest(whole: Tensor) -> Tensor:
    """Return int64 (group, 1, deposit): where the largest of whole numbers (group, n, deposit) is, the first of equals.

    ``argmax`` along a dimension that is not the last walks through memory in strides; a maximum does not.
    """
    n = whole.shape[1]
    rank = torch.arange(n - 1, -1, -1, dtype=whole.dtype, device=whole.device)[:, None]
    top = torch.add(rank, whole, alpha=n).amax(dim=1, keepdim=True)
    return n - 1 - top.remainder_(n).to(torch.int64)
