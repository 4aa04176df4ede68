"""Deposits made ready for a detector: everything that no universe changes, computed once per batch of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.directions import Directions, cosines
from shiftlab.detector.footprint import Footprint, footprint
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.missing import missing_fields
from shiftlab.detector.recording import Kept
from shiftlab.detector.state import Cells, Charge
from shiftlab.detector.stream import Memory
from shiftlab.detector.variation import Variations
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.units import ELECTRONS_PER_MEV, MIP_DEDX

__all__ = ["Prepared", "prepare"]

_LARGEST_EVENT = 2.0**32
_POINT = 1e-6

_AGREEMENT: Final = 1e-6
"""How well the nominal charge after recombination must meet the file's own, relative."""

Step = Callable[[Charge], Charge]
"""Some nominal stages, one after the other."""


@dataclass(frozen=True)
class Prepared:
    """A batch of events that any universe of one detector can record.

    Attributes:
        charge: deposits inside the volume; ``electrons`` are those set free, before recombination, as many as
            nominal recombination turns into the file's own where the file has electrons.
        footprint: which cells collect them.
        cells: those cells, without charge.
        dropped: int64 (event,), number of deposits outside the volume, the same in every universe.
        dropped_energy: float64 (event,), their energy in MeV.
        origin: what of the detector it was made with: geometry, diffusion constants, what nominally moves or delays
            charge, where directions come from and, where the file has electrons, nominal recombination.
        memory: event-scope draws at these cells, filled by the first universe.
        missing: fields of ``charge`` that the file does not give; no effect that needs one may be displaced.
        rows: int64 (deposit,), number in the file's deposits of each deposit of ``charge``.
        deposits: the file's deposits; universes read their labels only.
        variations: the same events by other models, prepared when a universe first asks for them.
        kept: nominal states between the effects, filled by universes, from which others start.
    """

    charge: Charge
    footprint: Footprint
    cells: Cells
    dropped: Tensor
    dropped_energy: Tensor
    origin: tuple[object, ...]
    memory: Memory
    missing: tuple[str, ...]
    rows: Tensor
    deposits: Deposits
    variations: Variations = field(default_factory=Variations)
    kept: Kept = field(default_factory=Kept, repr=False, compare=False)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.events)

    @property
    def events(self) -> EventTable:
        """The table of events, the same as in the deposits."""
        return self.charge.table

    def varied(self, name: str, taken: Tensor) -> Prepared:
        """Return the events, those where ``taken`` (event,) is True from the variation ``name``.

        Raises:
            ConfigError: there is no such variation.
            DataError: it is not of the same events.
        """
        return self.variations.mixture(name, taken) if bool(taken.any()) else self


def prepare(
    deposits: Deposits,
    geometry: Geometry,
    diffusion: tuple[float, float],
    place: Step | None = None,
    recombine: Step | None = None,
    origin: tuple[object, ...] | None = None,
    directions: Directions = "file",
) -> Prepared:
    """Return ``deposits`` made ready: outside ones dropped and counted, the others shared among cells.

    Deposits are taken at their midpoints; readers split steps longer than a cell. Path lengths below
    1e-6 cm count as points. Deposits of a file without lengths get the dE/dx of a minimum-ionising muon,
    2.1 MeV/cm, at which calibration returns their energy.

    Args:
        deposits: of the file.
        geometry: volume and lattice.
        diffusion: longitudinal and transverse constants, cm2/s.
        place: nominal stages that move or delay charge; None moves nothing.
        recombine: nominal recombination; where the deposits have electrons, it is undone, so that the
            nominal detector finds the file's own. None keeps the file's.
        origin: record of what it was made with; geometry and diffusion when None.
        directions: where the directions of steps come from (``directions.cosines``).

    Raises:
        DataError: a position, energy, length or number of electrons is NaN, infinite or negative, an event is
            beyond 100 GeV, or no charge before recombination gives the file's electrons.
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
    missing = missing_fields(deposits, directions)
    length = deposits.length[rows].to(torch.float64)
    dedx = torch.full_like(energy, MIP_DEDX) if "dedx" in missing else _dedx(energy, length)
    cosine = cosines(deposits, directions)
    medium = geometry.medium(diffusion)
    start = energy * ELECTRONS_PER_MEV
    angle = None if cosine is None else cosine[rows]
    charge = Charge(geometry, deposits.events, event, position, energy, dedx, start, medium, angle)
    if deposits.electrons is not None:
        charge = _undo(charge, deposits.electrons[rows].to(torch.float64), recombine, rows)
    _refuse_huge(deposits.events, event, charge.electrons)
    shares, cell_event, cell = footprint(charge if place is None else place(charge), geometry)
    key = deposits.events.key[cell_event]
    empty = torch.zeros(len(cell), dtype=torch.float64, device=cell.device)
    floor = torch.full((len(deposits),), float("-inf"), dtype=torch.float64, device=cell.device)
    return Prepared(
        charge=charge,
        footprint=shares,
        cells=Cells(geometry, deposits.events, cell_event, key, cell, empty, floor),
        dropped=torch.bincount(outside, minlength=len(deposits)),
        dropped_energy=lost,
        origin=(geometry, diffusion) if origin is None else origin,
        memory=Memory(lasting=(key, cell)),
        missing=missing,
        rows=rows,
        deposits=deposits,
    )


def _dedx(energy: Tensor, length: Tensor) -> Tensor:
    """Return float64 (deposit,): MeV/cm of steps of ``energy`` (MeV) and ``length`` (cm); 0 for points."""
    return torch.where(length > _POINT, energy / torch.clamp(length, min=_POINT), 0.0)


def _undo(charge: Charge, escaped: Tensor, recombine: Step | None, rows: Tensor) -> Charge:
    """Return the charge that nominal recombination turns into ``escaped`` (deposit,), electrons of the file.

    Recombination multiplies the charge by a fraction R(dE/dx), which is found with one electron per deposit;
    the charge is ``escaped / R``. Where R is 0, none may have escaped, and the charge is that of the energy.

    Raises:
        DataError: electrons escaped where nominally none do.
        ConfigError: an effect of the stage does more than multiply the charge.
    """
    if recombine is None:
        return charge.with_electrons(escaped)
    one = torch.ones_like(escaped)
    fraction = recombine(charge.with_electrons(one)).electrons
    _refuse_other_than_factors(recombine(charge.with_electrons(2.0 * one)).electrons, 2.0 * fraction)
    blocked = fraction <= 0
    wrong = torch.nonzero(blocked & (escaped > 0)).squeeze(1)
    if len(wrong):
        worst = int(wrong[0])
        raise DataError(
            f"deposit {int(rows[worst])} (event {int(charge.event[worst])}): {float(escaped[worst]):g} electrons "
            f"escaped recombination in the file, but none do at {float(charge.dedx[worst]):g} MeV/cm in the nominal "
            "detector."
        )
    start = torch.where(blocked, charge.electrons, escaped / torch.where(blocked, 1.0, fraction))
    result = charge.with_electrons(start)
    _refuse_other_than_factors(recombine(result).electrons, escaped)
    return result


def _refuse_other_than_factors(found: Tensor, wanted: Tensor) -> None:
    if bool(((found - wanted).abs() > _AGREEMENT * wanted).any()):
        raise ConfigError(
            "the effects of stage recombine do more than multiply the charge, so that the electrons of the file "
            "cannot be traced back through them."
        )


def _refuse_bad(deposits: Deposits) -> None:
    columns = {
        "position": deposits.position.isfinite().all(dim=1),
        "energy": deposits.energy.isfinite() & (deposits.energy >= 0),
        "length": deposits.length.isfinite() & (deposits.length >= 0),
    }
    if deposits.electrons is not None:
        columns["electrons"] = deposits.electrons.isfinite() & (deposits.electrons >= 0)
    for name, good in columns.items():
        if not bool(good.all()):
            row = int(torch.nonzero(~good)[0])
            event = int(deposits.event_index[row])
            value = getattr(deposits, name)[row].tolist()
            raise DataError(
                f"deposit {row} (event {event}, key {int(deposits.events.key[event])}): {name} = {value}; "
                "positions must be finite, energies, lengths and electrons finite and not negative."
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
