"""Reader of edep-sim events in the HDF5 form that larnd-sim reads: one table ``segments`` (cm, MeV, us)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.assembly import assemble
from shiftlab.events.deposits import Deposits
from shiftlab.events.hdf5 import columns, event_rows, open_hdf5, overlap, refuse_values, table
from shiftlab.events.keys import identities, identity
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.events.steps import Steps, subdivide
from shiftlab.events.tracks import species

__all__ = ["EdepSimReader"]

_ENDS = tuple(f"{axis}_{end}" for end in ("start", "end") for axis in "xyz")
_SEGMENTS = ("eventID", "trackID", "pdgId", "dE", "dx", *_ENDS, "t_start")
_TELLING = ("eventID", "trackID", "pdgId", "dx", "dEdx")


class EdepSimReader(Reader):
    """Files without parentage: the semantic class is unknown (-1), the particle id is that of the step's own track."""

    name: ClassVar[str] = "edepsim"
    summary: ClassVar[str] = "edep-sim's HDF5 table segments as larnd-sim reads it (eventID, trackID, dE, dx, ...)"

    def accepts(self, path: Path) -> bool:
        """Say whether most of the columns that only this dialect has are in ``segments``."""
        return overlap(path, "segments", _TELLING) > 0.5

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, or a table is missing.
        """
        with open_hdf5(path) as file:
            yield EdepSimSource(path, file, origin)


class EdepSimSource(Source):
    """An open file; its events are those that have segments, by ascending number."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Keep the open file and the numbers of its events."""
        super().__init__(path)
        self._dataset, self._origin = table(file, "segments"), origin
        self._numbers = np.unique(columns(self._dataset, ["eventID"])["eventID"])
        if len(self._numbers) == 0:
            raise DataError(f"{path}: table 'segments' is empty.")

    def __len__(self) -> int:
        """Return the number of events that have segments."""
        return len(self._numbers)

    def describe(self) -> Description:
        """Return what is in the file."""
        units = {"position": "cm", "energy": "MeV", "length": "cm", "time": "us"}
        return Description("edepsim", "", "deposits", len(self), {"segments": len(self._dataset)}, units)

    def read(self, events: slice) -> Deposits:
        """Return the events that have segments, by ascending number; visible energy is all that the file holds.

        Raises:
            DataError: a column is missing, a value is not allowed, or there is no event.
        """
        dataset, origin = self._dataset, self._origin
        uid = _uid(dataset)
        numbers = self._numbers[events]
        block = columns(dataset, _SEGMENTS, event_rows(dataset, "eventID", int(numbers[0]), int(numbers[-1])))
        mine = (block["eventID"] >= numbers[0]) & (block["eventID"] <= numbers[-1])
        order = np.flatnonzero(mine)[np.argsort(block["eventID"][mine], kind="stable")]
        block = {name: column[order] for name, column in block.items()}
        refuse_values(dataset, block, block["eventID"], positive=("dE", "dx"))
        parts, source = subdivide(_steps(block, numbers))
        pieces = np.bincount(source, minlength=len(order))
        key = identities(uid, numbers)
        return assemble(
            parts,
            (block["dx"].astype(np.float64) / pieces)[source],
            np.full(len(parts), -1, dtype=np.int8),
            species(block["pdgId"].astype(np.int64))[source],
            key=key,
            vertex=key,
            weight=np.ones(len(numbers)),
            sample=("edepsim",) * len(numbers),
            truth={
                "neutrino_pdg": np.zeros(len(numbers)),
                "neutrino_energy": np.full(len(numbers), np.nan),
                "em_class": np.full(len(numbers), np.nan),
            },
            origin=origin,
        )


def _uid(dataset: Any) -> str:
    """Return a name of the table's content: its length and its first and last thousand rows."""
    return f"edepsim/{identity(len(dataset), dataset[:1000].tobytes().hex(), dataset[-1000:].tobytes().hex())}"


def _steps(block: dict[str, NDArray[Any]], numbers: NDArray[Any]) -> Steps:
    return Steps(
        event=np.searchsorted(numbers, block["eventID"]).astype(np.int64),
        track=block["trackID"].astype(np.int64),
        start=np.stack([block[name] for name in _ENDS[:3]], axis=1).astype(np.float64),
        end=np.stack([block[name] for name in _ENDS[3:]], axis=1).astype(np.float64),
        energy=block["dE"].astype(np.float64),
        time=block["t_start"].astype(np.float64),
    )
