"""Deposits made ready for a detector: everything that no universe changes, computed once per batch of events."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.detector.footprint import Footprint, footprint
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.state import Cells, Charge
from shiftlab.detector.stream import Memory
from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.units import ELECTRONS_PER_MEV

__all__ = ["Prepared", "prepare"]

_LARGEST_EVENT = 2.0**32
_POINT = 1e-6


@dataclass(frozen=True)
class Prepared:
    """A batch of events that any universe of one detector can record.

    Attributes:
        charge: deposits inside the volume; ``electrons`` are those set free, before recombination.
        footprint: which cells collect them.
        cells: those cells, without charge.
        dropped: int64 (event,), number of deposits outside the volume, the same in every universe.
        dropped_energy: float64 (event,), their energy in MeV.
        origin: geometry and diffusion constants that it was made with.
        memory: event-scope draws at these cells, filled by the first universe.
    """

    charge: Charge
    footprint: Footprint
    cells: Cells
    dropped: Tensor
    dropped_energy: Tensor
    origin: tuple[Geometry, tuple[float, float]]
    memory: Memory

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.events)

    @property
    def events(self) -> EventTable:
        """The table of events, the same as in the deposits."""
        return self.charge.table


def prepare(deposits: Deposits, geometry: Geometry, diffusion: tuple[float, float]) -> Prepared:
    """Return ``deposits`` made ready: outside ones dropped and counted, the others shared among cells.

    Deposits are taken at their midpoints; readers split steps longer than a cell. Path lengths below
    1e-6 cm count as points.

    Raises:
        DataError: a position, energy or length is NaN, infinite or negative, or an event is beyond 100 GeV.
    """
    _refuse_bad(deposits)
    event = deposits.event_index
    inside = geometry.inside(deposits.position)
    outside = event[~inside]
    lost = torch.zeros(len(deposits), dtype=torch.float64, device=event.device)
    lost.index_add_(0, outside, deposits.energy[~inside].to(torch.float64))
    rows = torch.nonzero(inside).squeeze(1)
    event, position = event[rows], deposits.position[rows]
    energy = deposits.energy[rows].to(torch.float64)
    length = deposits.length[rows].to(torch.float64)
    dedx = torch.where(length > _POINT, energy / torch.clamp(length, min=_POINT), 0.0)
    electrons = energy * ELECTRONS_PER_MEV
    _refuse_huge(deposits.events, event, electrons)
    charge = Charge(geometry, deposits.events, event, position, energy, dedx, electrons)
    shares, cell_event, cell = footprint(position, event, geometry, diffusion)
    key = deposits.events.key[cell_event]
    empty = torch.zeros(len(cell), dtype=torch.float64, device=cell.device)
    floor = torch.full((len(deposits),), float("-inf"), dtype=torch.float64, device=cell.device)
    return Prepared(
        charge=charge,
        footprint=shares,
        cells=Cells(geometry, deposits.events, cell_event, key, cell, empty, floor),
        dropped=torch.bincount(outside, minlength=len(deposits)),
        dropped_energy=lost,
        origin=(geometry, diffusion),
        memory=Memory(lasting=(key, cell)),
    )


def _refuse_bad(deposits: Deposits) -> None:
    columns = {
        "position": deposits.position.isfinite().all(dim=1),
        "energy": deposits.energy.isfinite() & (deposits.energy >= 0),
        "length": deposits.length.isfinite() & (deposits.length >= 0),
    }
    for name, good in columns.items():
        if not bool(good.all()):
            row = int(torch.nonzero(~good)[0])
            event = int(deposits.event_index[row])
            value = getattr(deposits, name)[row].tolist()
            raise DataError(
                f"deposit {row} (event {event}, key {int(deposits.events.key[event])}): {name} = {value}; "
                "positions must be finite, energies and lengths finite and not negative."
            )


def _refuse_huge(table: EventTable, event: Tensor, electrons: Tensor) -> None:
    total = torch.zeros(len(table), dtype=torch.float64, device=event.device).index_add_(0, event, electrons)
    # Half of what 63 bits hold in one cell: recombination far from nominal may still enlarge the charge.
    if len(total) and float(total.max()) >= _LARGEST_EVENT:
        worst = int(total.argmax())
        raise DataError(
            f"event {worst} (key {int(table.key[worst])}) deposits {float(total[worst]) / ELECTRONS_PER_MEV:.0f} MeV; "
            f"at most {_LARGEST_EVENT / ELECTRONS_PER_MEV:.0f} MeV an event is allowed."
        )
