"""Diffusion as exact charge sharing: the part of each deposit's charge that each lattice cell collects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from shiftlab.detector.geometry import Geometry

__all__ = ["CHARGE_UNIT", "WEIGHT_UNIT", "Footprint", "axis_shares", "diffusion_width", "footprint"]

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


def diffusion_width(constant: Tensor | float, drift_time: Tensor) -> Tensor:
    """Return the cloud's standard deviation sqrt(2 D t) in cm, D in cm2/s and t in us, any shape."""
    return torch.sqrt(2.0e-6 * constant * drift_time)


def axis_shares(fraction: Tensor, sigma: Tensor) -> Tensor:
    """Return float64 (..., 3): a Gaussian's shares of the cell below, the cell itself and the one above.

    Args:
        fraction: position within its cell, 0 to 1, in units of the pitch.
        sigma: width in units of the pitch, not negative.

    The integral of the Gaussian over each cell; what lies beyond the three cells is shared among them.
    """
    scale = torch.clamp(sigma, min=1e-9) * 2.0**0.5
    edges = [torch.erf((k - fraction) / scale) for k in (-1, 0, 1, 2)]
    below, here, above = (high - low for low, high in pairwise(edges))
    total = below + here + above
    return torch.stack([below / total, here / total, above / total], dim=-1)


def footprint(
    position: Tensor, event: Tensor, geometry: Geometry, diffusion: tuple[float, float]
) -> tuple[Footprint, Tensor, Tensor]:
    """Return the footprint of deposits, and the event and lattice index of its cells (ascending).

    Args:
        position: float32 (deposit, 3), cm, inside the volume.
        event: int64 (deposit,), ascending.
        geometry: volume and lattice.
        diffusion: longitudinal and transverse constants in cm2/s; sigma = sqrt(2 D t).
    """
    parts = [
        _block(position[i : i + _BLOCK], event[i : i + _BLOCK], i, geometry, diffusion)
        for i in range(0, max(len(position), 1), _BLOCK)
    ]
    address, deposit, share = (torch.cat(column) for column in zip(*parts, strict=True))
    address, order = torch.sort(address)
    unique, counts = torch.unique_consecutive(address, return_counts=True)
    start = torch.zeros(len(unique) + 1, dtype=torch.int64, device=unique.device)
    torch.cumsum(counts, 0, out=start[1:])
    shares = Footprint(start=start, deposit=deposit[order], share=share[order], deposits=len(position))
    return shares, unique // geometry.cells, unique % geometry.cells


def _block(
    position: Tensor, event: Tensor, first: int, geometry: Geometry, diffusion: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return address, deposit and share of each contribution of a block of deposits."""
    index = geometry.index(position)
    fraction = position.to(torch.float64) / geometry.pitch - index
    constants = torch.tensor([diffusion[0], diffusion[1], diffusion[1]], dtype=torch.float64, device=position.device)
    sigma = diffusion_width(constants, geometry.drift_time(position)[:, None]) / geometry.pitch
    along = axis_shares(fraction, sigma)
    step = torch.tensor([-1, 0, 1], device=position.device)
    neighbour = index[:, :, None] + step
    shape = torch.tensor(geometry.shape, device=position.device)[:, None]
    along = torch.where((neighbour >= 0) & (neighbour < shape), along, 0.0)
    x, y, z = along[:, 0, :, None, None], along[:, 1, None, :, None], along[:, 2, None, None, :]
    cube = (x * y * z).reshape(-1, 27)
    share = _whole_shares(cube)
    _, ny, nz = geometry.shape
    offset = (step[:, None, None] * ny + step[None, :, None]) * nz + step[None, None, :]
    address = (event * geometry.cells + geometry.cell(position))[:, None] + offset.reshape(27)
    share = share.flatten()
    taken = torch.nonzero(share).squeeze(1)
    deposit = torch.arange(first, first + len(position), device=position.device)[:, None].expand(-1, 27).flatten()
    return address.flatten()[taken], deposit[taken], share[taken]


def _whole_shares(cube: Tensor) -> Tensor:
    """Round shares (deposit, 27) to whole units that add up to one; the central cell takes the remainder."""
    unit = round(1.0 / WEIGHT_UNIT)
    whole = torch.round(cube * unit).to(torch.int64)
    whole = torch.where(cube >= SMALLEST_SHARE, whole, 0)
    whole = whole * unit // whole.sum(dim=1, keepdim=True)
    whole[:, 13] += unit - whole.sum(dim=1)
    return whole
