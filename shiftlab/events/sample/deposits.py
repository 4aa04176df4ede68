"""Deposits in the project's own sample files: packed in integers or exact, with the table of true particles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.particles import PARTICLE_COLUMNS, ParticleTable
from shiftlab.events.reader import Level, Origin
from shiftlab.events.sample import packing
from shiftlab.events.sample.columns import EventColumns, Rows, column, json_attribute, read_rows, truth_columns
from shiftlab.events.sample.packing import Box, Lattice
from shiftlab.events.sample.source import SampleSource

__all__ = ["DECODING", "DECODING_EXACT", "DepositSource", "encode_deposits"]

_LABELLED: Final = (
    "semantic: shower 0, track 1, Michel 2, delta 3, low-energy 4, unknown -1. particle: gamma 0, electron 1, muon 2, "
    "pion 3, proton 4, other 5, unknown -1."
)
DECODING: Final = (
    "x, y, z: running sum of the integers modulo 2^bits, beginning anew at each event's first deposit "
    "(events/offsets); position in cm = position_origin + (sum + 0.5) * position_step. energy (MeV), length (cm), "
    "electrons: 0 if code is 0, else smallest * exp((code - 1) * log_step). direction: the integers over their length, "
    "0 where there is none. " + _LABELLED
)
DECODING_EXACT: Final = "position (x, y, z) and length in cm, energy in MeV, direction, bit for bit. " + _LABELLED
_UNITS: Final = {"position": "cm", "energy": "MeV", "length": "cm", "electrons": "electrons"}
_LOGARITHMIC: Final = ("energy", "length", "electrons")
_LABELS: Final = ("semantic", "particle")
_OPTIONAL: Final = ("direction", "electrons", "instance", "particles")


def encode_deposits(deposits: Deposits, lattice: Lattice | None) -> Rows:
    """Return the rows of deposits, packed on the lattice or, without one, bit for bit.

    Raises:
        DataError: packed electrons that are negative or not finite.
    """
    rows: dict[str, NDArray[Any]] = {}
    offsets = deposits.offsets.numpy()
    if lattice is None:
        rows["deposits/position"] = deposits.position.numpy()
    else:
        for axis, name in enumerate("xyz"):
            code = lattice.encode(deposits.position[:, axis].numpy(), axis)
            rows[f"deposits/{name}"] = packing.difference(code, offsets)
    for name in _LOGARITHMIC:
        values = getattr(deposits, name)
        if values is not None:
            rows[f"deposits/{name}"] = values.numpy() if lattice is None else _packed(name, values.numpy())
    for name in _LABELS:
        rows[f"deposits/{name}"] = getattr(deposits, name).numpy()
    if deposits.direction is not None:
        exact = deposits.direction.numpy()
        rows["deposits/direction"] = exact if lattice is None else packing.encode_direction(exact)
    if deposits.instance is not None:
        rows["deposits/instance"] = deposits.instance.numpy()
    ends = {"deposits": offsets[1:]}
    units = {f"deposits/{name}": unit for name, unit in _UNITS.items()} | {f"deposits/{axis}": "cm" for axis in "xyz"}
    if deposits.particles is not None:
        ends["particles"] = deposits.particles.offsets[1:].numpy()
        rows |= {f"particles/{name}": values.numpy() for name, values in deposits.particles.columns.items()}
        units |= {f"particles/{name}": unit for name, unit in PARTICLE_COLUMNS.items()}
    return Rows(rows, ends, {"dataset": deposits.events.dataset}, units)


def _packed(name: str, values: NDArray[np.float32]) -> NDArray[np.uint16]:
    if not np.all(values >= 0) or not np.all(np.isfinite(values)):
        raise DataError(f"{name}: only finite values that are not negative can be packed; write with exact=True.")
    return packing.encode_log(values)


class DepositSource(SampleSource):
    """An open sample of deposits, of version 1 or 2; only the rows of a slice are read and decoded."""

    holds: ClassVar[Level] = "deposits"

    def __init__(self, path: Path, file: Any, origin: Origin, version: int) -> None:
        """Look for the columns.

        Raises:
            DataError: one is missing, of another type or of another length.
        """
        super().__init__(path, file, EventColumns(path, file, version))
        self._origin = np.asarray(origin, dtype=np.float32)
        self._shifted = bool(np.any(self._origin != 0.0))
        self._lattice = _lattice(path, file, version)
        self._columns = _columns(path, file, version, self._lattice)
        self._offsets = self._table("events/offsets", self._columns)
        self._particles: dict[str, Any] = {}
        if version > 1 and "particles" in file:
            found = truth_columns(path, file, ("<f8",), "particles")
            known = [name for name in PARTICLE_COLUMNS if name in found]
            self._particles = {name: found[name] for name in [*known, *(name for name in found if name not in known)]}
            self._particle_offsets = self._table("events/particle_offsets", self._particles)
        self._missing = tuple(str(name) for name in json_attribute(path, file, "missing")) if version > 1 else ()
        if "visible_energy" not in self._events.truth:
            raise DataError(f"{path}: group 'events/truth' has no column 'visible_energy'.")

    def rows(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        particles = {"particles": self._particle_offsets.total} if self._particles else {}
        return {"deposits": self._offsets.total, **particles}

    def units(self) -> dict[str, str]:
        """Return the unit of each column that has one."""
        particles = {f"particles/{n}": PARTICLE_COLUMNS.get(n, "1") for n in self._particles}
        return {n: u for n, u in _UNITS.items() if n == "position" or n in self._columns} | particles

    def box(self) -> Box | None:
        """Return the box in whose quanta positions are packed; None where they are not, or in 32 bits."""
        if self._lattice is None or self._lattice.bits != 16:
            return None
        (x, y, z), (dx, dy, dz) = self._lattice.origin, self._lattice.step
        return (x, y, z), (x + 65536 * dx, y + 65536 * dy, z + 65536 * dz)

    def missing(self) -> tuple[str, ...]:
        """Return what deposits may have and these have not."""
        have = {*self._columns, *(("particles",) if self._particles else ())}
        return tuple(sorted({*self._missing, *(name for name in _OPTIONAL if name not in have)}))

    def read(self, events: slice) -> Deposits:
        """Return some events."""
        rows, offsets = self._offsets.read(events)
        read = read_rows(self.path, self._columns, rows)
        if self._lattice is None:
            position = read.pop("position")
        else:
            position = np.empty((len(read["energy"]), 3), dtype=np.float32)
            for axis, name in enumerate("xyz"):
                self._lattice.decode(packing.restore(read.pop(name), offsets), axis, out=position[:, axis])
            for name in _LOGARITHMIC:
                if name in read:
                    read[name] = packing.decode_log(read[name])
            if "direction" in read:
                read["direction"] = packing.decode_direction(read["direction"])
        if self._shifted:
            position -= self._origin
        tensors = {
            name: torch.from_numpy(values.view(np.int8) if name in _LABELS else values) for name, values in read.items()
        }
        return Deposits(
            offsets=torch.from_numpy(offsets),
            position=torch.from_numpy(position),
            **tensors,
            events=self._events.read(events),
            particles=self._particle_table(events),
            missing=self._missing,
        )

    def _particle_table(self, events: slice) -> ParticleTable | None:
        if not self._particles:
            return None
        rows, offsets = self._particle_offsets.read(events)
        read = read_rows(self.path, self._particles, rows)
        return ParticleTable(torch.from_numpy(offsets), {name: torch.from_numpy(one) for name, one in read.items()})


def _columns(path: Path, file: Any, version: int, lattice: Lattice | None) -> dict[str, Any]:
    """Return the datasets of the deposits by name."""
    label = ("|u1",) if version == 1 else ("|i1",)
    number = ("<f4",) if lattice is None else ("<u2",)
    if lattice is None:
        found = {"position": column(path, file, "deposits/position", ("<f4",), (3,))}
    else:
        found = {axis: column(path, file, f"deposits/{axis}", (f"<u{lattice.bits // 8}",)) for axis in "xyz"}
    found |= {name: column(path, file, f"deposits/{name}", number) for name in ("energy", "length")}
    found |= {name: column(path, file, f"deposits/{name}", label) for name in _LABELS}
    for name, types in (("electrons", number), ("instance", ("<i4",))):
        if version > 1 and name in file["deposits"]:
            found[name] = column(path, file, f"deposits/{name}", types)
    if version > 1 and "direction" in file["deposits"]:
        turn = ("<f4",) if lattice is None else ("|i1",)
        found["direction"] = column(path, file, "deposits/direction", turn, (3,))
    return found


def _lattice(path: Path, file: Any, version: int) -> Lattice | None:
    """Return how positions are packed; None where they are not.

    Raises:
        DataError: an attribute that says so is missing, or says what this version does not decode.
    """
    if version == 1:
        return Lattice((0.0, 0.0, 0.0), (packing.POSITION_STEP,) * 3, 16)
    if "position_step" not in file.attrs:
        return None
    try:
        steps = {name: float(file.attrs[name]) for name in ("log_step", "smallest")}
        corner = [float(value) for value in file.attrs["position_origin"]]
        quantum = [float(value) for value in file.attrs["position_step"]]
        bits = 8 * file["deposits/x"].dtype.itemsize
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: the attributes that say how deposits decode are not whole ({error}).") from error
    if steps != {"log_step": packing.LOG_STEP, "smallest": packing.SMALLEST} or bits not in (16, 32):
        raise DataError(
            f"{path}: packed with {steps} in {bits} bits; this version decodes log_step "
            f"{packing.LOG_STEP}, smallest {packing.SMALLEST}, 16 or 32 bits."
        )
    if len(corner) != 3 or len(quantum) != 3 or not np.isfinite([*corner, *quantum]).all():
        raise DataError(f"{path}: position_origin and position_step must be three numbers each.")
    return Lattice((corner[0], corner[1], corner[2]), (quantum[0], quantum[1], quantum[2]), bits)
