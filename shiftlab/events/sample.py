"""The project's own sample format: deposits packed in integers, in HDF5 that plain h5py reads.

Layout: group ``deposits`` with x, y, z (uint16, differences within the event), energy and length (uint16,
logarithmic), semantic and particle (uint8; 255 is unknown); group ``events`` with offsets, key, vertex,
weight, sample (index into the file attribute ``samples``) and the group ``truth``. The file's attributes
say how the integers decode and how the sample was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events import packing
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.hdf5 import open_hdf5
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.provenance import write_whole

__all__ = ["SampleReader", "read_attributes", "write_sample"]

FORMAT = "shiftlab sample 1"
_DECODING = (
    "x, y, z: running sum of uint16 modulo 65536, beginning anew at each event's first deposit (events/offsets); "
    "position in cm = (sum + 0.5) * position_step. energy (MeV), length (cm): 0 if code is 0, else "
    "smallest * exp((code - 1) * log_step). semantic: shower 0, track 1, Michel 2, delta 3, low-energy 4. "
    "particle: gamma 0, electron 1, muon 2, pion 3, proton 4, other 5."
)
_DEPOSITS = ("x", "y", "z", "energy", "length", "semantic", "particle")
_EVENTS = ("offsets", "key", "vertex", "weight", "sample", "truth")
_CHUNK = 65536


class SampleReader(Reader):
    """Reader of ``write_sample``'s files."""

    name: ClassVar[str] = "sample"
    summary: ClassVar[str] = "the project's packed samples"

    def accepts(self, path: Path) -> bool:
        """Say whether the file's attribute ``format`` is this format's."""
        if not h5py.is_hdf5(path):
            return False
        with open_hdf5(path) as file:
            return str(file.attrs.get("format", "")).startswith("shiftlab sample")

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: the format's version is another, or a column is missing.
        """
        with open_hdf5(path) as file:
            if file.attrs["format"] != FORMAT:
                raise DataError(f"{path}: format '{file.attrs['format']}'; this version reads '{FORMAT}'.")
            _require(path, file, "deposits", _DEPOSITS)
            _require(path, file, "events", _EVENTS)
            yield SampleSource(path, file, origin)


class SampleSource(Source):
    """An open sample; only the rows of a slice are read and decoded."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Keep the open file."""
        super().__init__(path)
        self._file, self._origin = file, origin

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._file["events/key"])

    def describe(self) -> Description:
        """Return what is in the file."""
        rows = {"deposits": len(self._file["deposits/energy"]), "events": len(self)}
        units = {"position": "cm", "energy": "MeV", "length": "cm"}
        return Description("sample", "", "deposits", len(self), rows, units)

    def read(self, events: slice) -> Deposits:
        """Return some events."""
        return _read(self._file, np.asarray(self._origin, dtype=np.float32), events)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a sample file: how it was made, and its limits."""
    with open_hdf5(path) as file:
        return {name: value.item() if hasattr(value, "item") else value for name, value in file.attrs.items()}


def _require(path: Path, file: Any, group: str, names: tuple[str, ...]) -> None:
    have = file.get(group, {})
    for name in names:
        if name not in have:
            raise DataError(
                f"{path}: group '{group}' has no column '{name}'. It has {', '.join(sorted(have)) or 'none'}."
            )


def _read(file: Any, origin: NDArray[np.float32], events: slice | None) -> Deposits:
    table, group = file["events"], file["deposits"]
    offsets = table["offsets"][...].astype(np.int64)
    if np.any(np.diff(offsets) < 0) or any(len(group[name]) != offsets[-1] for name in _DEPOSITS):
        raise DataError(f"{file.filename}: events/offsets does not fit the lengths of the columns of 'deposits'.")
    chosen = np.arange(len(offsets) - 1)[events if events is not None else slice(None)]
    if len(chosen) and not np.array_equal(chosen, np.arange(chosen[0], chosen[-1] + 1)):
        raise DataError(f"{file.filename}: events are read as a slice of step 1; take others with Deposits.take.")
    first, last = (chosen[0], chosen[-1] + 1) if len(chosen) else (0, 0)
    rows, here = slice(offsets[first], offsets[last]), offsets[first : last + 1] - offsets[first]
    position = [packing.decode_position(packing.restore(group[axis][rows], here)) for axis in "xyz"]
    names = json.loads(file.attrs["samples"])
    truth = {name: column[first:last].astype(np.float64) for name, column in table["truth"].items()}
    return Deposits(
        offsets=torch.from_numpy(here),
        position=torch.from_numpy(np.stack(position, axis=1) - origin),
        energy=torch.from_numpy(packing.decode_log(group["energy"][rows])),
        length=torch.from_numpy(packing.decode_log(group["length"][rows])),
        semantic=torch.from_numpy(group["semantic"][rows].view(np.int8)),
        particle=torch.from_numpy(group["particle"][rows].view(np.int8)),
        events=EventTable(
            key=torch.from_numpy(table["key"][first:last]),
            vertex=torch.from_numpy(table["vertex"][first:last]),
            weight=torch.from_numpy(table["weight"][first:last].astype(np.float64)),
            sample=tuple(names[i] for i in table["sample"][first:last]),
            truth={name: torch.from_numpy(column) for name, column in truth.items()},
            selected=torch.ones(len(chosen), dtype=torch.bool),
        ),
    )


def write_sample(path: Path, deposits: Deposits, attributes: Mapping[str, str | float | int]) -> None:
    """Write events whole or not at all; positions must lie in [0, 230.4) cm.

    Args:
        path: The file.
        deposits: The events.
        attributes: What made them; stored as attributes of the file.

    Raises:
        DataError: a deposit lies outside the virtual detector.
        RunError: the file cannot be written.
    """
    position = deposits.position.numpy().astype(np.float64)
    if len(position) and (position.min() < 0.0 or position.max() >= 65536 * packing.POSITION_STEP):
        raise DataError(f"{path}: deposits lie outside the virtual detector of 230.4 cm; crop them first.")
    names = list(dict.fromkeys(deposits.events.sample))
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        _write_deposits(file.create_group("deposits"), deposits, position)
        _write_events(file.create_group("events"), deposits, names)
        file.attrs.update({"format": FORMAT, "samples": json.dumps(names), "decoding": _DECODING})
        file.attrs.update(
            {"position_step": packing.POSITION_STEP, "log_step": packing.LOG_STEP, "smallest": packing.SMALLEST}
        )
        file.attrs.update(attributes)


def _store(group: Any, name: str, data: NDArray[Any]) -> None:
    chunks = (min(_CHUNK, len(data)),) if len(data) else None
    options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if chunks else {}
    group.create_dataset(name, data=data, chunks=chunks, **options)


def _write_deposits(group: Any, deposits: Deposits, position: NDArray[np.float64]) -> None:
    offsets = deposits.offsets.numpy()
    for axis, name in enumerate("xyz"):
        _store(group, name, packing.difference(packing.encode_position(position[:, axis]), offsets))
    _store(group, "energy", packing.encode_log(deposits.energy.numpy().astype(np.float64)))
    _store(group, "length", packing.encode_log(deposits.length.numpy().astype(np.float64)))
    _store(group, "semantic", deposits.semantic.numpy().view(np.uint8))
    _store(group, "particle", deposits.particle.numpy().view(np.uint8))


def _write_events(group: Any, deposits: Deposits, names: list[str]) -> None:
    events = deposits.events
    _store(group, "offsets", deposits.offsets.numpy().astype(np.uint32))
    _store(group, "key", events.key.numpy())
    _store(group, "vertex", events.vertex.numpy())
    _store(group, "weight", events.weight.numpy().astype(np.float32))
    _store(group, "sample", np.array([names.index(name) for name in events.sample], dtype=np.uint8))
    truth = group.create_group("truth")
    for name, column in events.truth.items():
        _store(truth, name, column.numpy().astype(np.float32))
