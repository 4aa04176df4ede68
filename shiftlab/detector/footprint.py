"""Diffusion as exact charge sharing: the part of each deposit's charge that each lattice cell collects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from shiftlab.detector.geometry import Geometry
from shiftlab.detector.state import Charge

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
        deposit: int64 (contribution,), row of the deposit.
        share: int64 (contribution,), units of ``WEIGHT_UNIT``.
        deposits: number of deposits.
    """

    start: Tensor
    deposit: Tensor
    share: Tensor
    deposits: int

    @cached_property
    def _matrix(self) -> Any:
        arrays = (self.share.numpy(), self.deposit.numpy().astype(np.int32), self.start.numpy().astype(np.int32))
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
    parts = [
        _block(place[rows], time[rows], (constants[0][rows], constants[1][rows]), charge.event[rows], i, geometry)
        for i in range(0, max(len(place), 1), _BLOCK)
        for rows in [slice(i, i + _BLOCK)]
    ]
    address, deposit, share = (torch.cat(column) for column in zip(*parts, strict=True))
    address, order = torch.sort(address)
    unique, counts = torch.unique_consecutive(address, return_counts=True)
    start = torch.zeros(len(unique) + 1, dtype=torch.int64, device=unique.device)
    torch.cumsum(counts, 0, out=start[1:])
    shares = Footprint(start=start, deposit=deposit[order], share=share[order], deposits=len(place))
    return shares, unique // geometry.cells, unique % geometry.cells


def _block(
    place: Tensor, time: Tensor, diffusion: tuple[Tensor, Tensor], event: Tensor, first: int, geometry: Geometry
) -> tuple[Tensor, Tensor, Tensor]:
    """Return address, deposit and share of each contribution of a block of deposits."""
    cell, cloud = geometry.shares(place, time, diffusion)
    share = _whole_shares(cloud)
    address = cell + (event * geometry.cells)[:, None, None]
    row = torch.arange(first, first + len(place), device=place.device)[:, None, None].expand_as(share)
    taken = torch.nonzero(share.flatten()).squeeze(1)
    return address.flatten()[taken], row.flatten()[taken], share.flatten()[taken]


def _whole_shares(cloud: Tensor) -> Tensor:
    """Round shares (deposit, group, n) to whole units; each group that has any adds up to one.

    The largest share takes the remainder; what lies outside the lattice is spread over what lies inside.
    """
    unit = round(1.0 / WEIGHT_UNIT)
    whole = torch.round(cloud * unit).to(torch.int64)
    whole = torch.where(cloud >= SMALLEST_SHARE, whole, 0)
    total = whole.sum(dim=2, keepdim=True)
    whole = whole * unit // total.clamp(min=1)
    rest = torch.where(total > 0, unit - whole.sum(dim=2, keepdim=True), 0)
    return whole.scatter_add(2, whole.argmax(dim=2, keepdim=True), rest)
