"""Reader of edep-sim events in HDF5: table ``segments``, with or without ``trajectories`` and ``vertices``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.assembly import assemble
from shiftlab.events.deposits import Deposits
from shiftlab.events.edepsim.truth import Trajectories, Vertices, assemble_truth
from shiftlab.events.hdf5.file import columns_of, open_hdf5, overlap, reading, recognised, table
from shiftlab.events.hdf5.linkage import (
    LARGEST,
    attributes_of,
    check_parents,
    event_bounds,
    event_of_rows,
    refuse_long_steps,
    rows_of_tracks,
)
from shiftlab.events.hdf5.tables import Block, EventRows
from shiftlab.events.keys import identities, identity
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import species

__all__ = ["EdepSimReader"]

_ENDS = tuple(f"{axis}_{end}" for end in ("start", "end") for axis in "xyz")
_VERTEX = ("x_vert", "y_vert", "z_vert")
_SEGMENTS = {
    **dict.fromkeys(("event", "track", "pdg"), "integer"),
    **dict.fromkeys(("dE", "dx", *_ENDS, "t_start"), "real"),
}
_TRAJECTORIES = {
    **dict.fromkeys(("event", "track", "parent", "pdg", "start_process", "start_subprocess"), "integer"),
    **dict.fromkeys(("pxyz_start", "xyz_start"), "vector"),
}
_VERTICES = {"event": "integer", **dict.fromkeys(_VERTEX, "real")}
_SPELLINGS = {
    "event": ("eventID", "event_id"),
    "track": ("trackID", "traj_id"),
    "pdg": ("pdgId", "pdg_id"),
    "parent": ("parentID", "parent_id"),
    "vertex": ("vertexID", "vertex_id"),
}
_UNITS = {"position": "cm", "energy": "MeV", "length": "cm", "time": "us"}
_TELLING = ("eventID", "trackID", "pdgId", "dx", "dEdx")
_TELLING_TRUTH = ("segment_id", "vertex_id", "file_traj_id", "dx", "dEdx")


class EdepSimReader(Reader):
    """Files of three dialects, told apart by their tables and columns, whatever the order of these.

    ``larndsim`` and ``larndsim_t0`` (with columns t0) have segments only: the semantic class is unknown (-1) and the
    particle id is that of the step's own track. ``truth`` has trajectories and vertices: labels come from parentage.
    """

    name: ClassVar[str] = "edepsim"
    summary: ClassVar[str] = "edep-sim's HDF5 table segments (eventID or event_id, dE, dx, ...), trajectories, vertices"

    def accepts(self, path: Path) -> bool:
        """Say whether the columns that only edep-sim's ``segments`` have are there, most of them of either spelling."""
        return recognised(path, self.accepts_hdf5)

    def accepts_hdf5(self, file: Any) -> bool:
        """Say the same of an open file."""
        have = columns_of(file, "segments")
        return overlap(have, _TELLING) > 0.5 or overlap(have, _TELLING_TRUTH) >= 0.4

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, a table or column is missing or of a wrong type, or the events of ``segments``
                (of ``vertices``, where there are any) are not in ascending order.
        """
        with open_hdf5(path) as file:
            with reading(path):
                truth = "trajectories" in file and "vertices" in file
            yield TruthSource(path, file, origin) if truth else SegmentsSource(path, file, origin)


class SegmentsSource(Source):
    """An open file without parentage; its events are those that have segments."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Check the table and list its events, which takes one pass through it, block by block.

        Raises:
            DataError: a column is missing or of a wrong type, the events are not in order, or there is none.
        """
        super().__init__(path)
        self._file, self._origin = file, origin
        self._segments = _rows(file, "segments", _SEGMENTS)
        self._numbers = self._segments.events()
        if len(self._numbers) == 0:
            raise DataError(f"{path}: table 'segments' is empty.")
        self._uid = f"edepsim/{identity(*_extract(self._segments))}"

    def __len__(self) -> int:
        """Return the number of events that have segments."""
        return len(self._numbers)

    def describe(self) -> Description:
        """Return what is in the file."""
        dialect = "larndsim_t0" if "t0_start" in self._segments.columns else "larndsim"
        rows = {"segments": len(self._segments)}
        attributes = attributes_of(self._file)
        return Description("edepsim", dialect, "deposits", len(self), rows, _UNITS, _MISSING, attributes=attributes)

    def read(self, events: slice) -> Deposits:
        """Return the events that have segments, by ascending number; visible energy is all that the file holds.

        Raises:
            DataError: a value is not allowed.
        """
        numbers = self._numbers[events]
        block = self._segments.between(*event_bounds(self._numbers, events))
        number = block.integers("track", least=-1, most=LARGEST)
        steps, length = _steps(block, event_of_rows(block, numbers, "segments"), number)
        key, nothing = identities(self._uid, numbers.tolist()), np.full(len(numbers), np.nan)
        return assemble(
            steps,
            length,
            np.full(len(steps), -1, dtype=np.int8),
            species(block.integers("pdg")),
            instance=number.astype(np.int32),
            key=key,
            vertex=key,
            weight=np.ones(len(numbers)),
            sample=("edepsim",) * len(numbers),
            truth={"neutrino_pdg": np.zeros(len(numbers)), "neutrino_energy": nothing, "em_class": nothing},
            origin=self._origin,
            missing=_MISSING,
        )


class TruthSource(Source):
    """An open file with parentage; its events are those of ``vertices``, also where they left no deposit."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Check the tables and list the events of ``vertices``; the other tables are read where events are.

        Raises:
            DataError: a table or column is missing or of a wrong type, or the vertices are not in order.
        """
        super().__init__(path)
        self._file, self._origin = file, origin
        self._segments = _rows(file, "segments", _SEGMENTS)
        self._trajectories = _rows(file, "trajectories", _TRAJECTORIES)
        self._vertices = _rows(file, "vertices", _VERTICES)
        self._numbers = self._vertices.events()
        parts = [text for rows in (self._segments, self._vertices) for text in _extract(rows)]
        self._uid = f"edepsim/{identity(*parts)}"

    def __len__(self) -> int:
        """Return the number of events that have a vertex."""
        return len(self._numbers)

    def describe(self) -> Description:
        """Return what is in the file."""
        tables = (self._segments, self._trajectories, self._vertices)
        rows = {one.name: len(one) for one in tables}
        attributes = attributes_of(self._file)
        return Description(
            "edepsim", "truth", "deposits", len(self), rows, _UNITS, ("electrons",), attributes=attributes
        )

    def read(self, events: slice) -> Deposits:
        """Return the events that have a vertex, by ascending number, labelled from their trajectories.

        Raises:
            DataError: a value is not allowed, a row fits no event, trajectory or parent, or a vertex is there twice.
        """
        numbers, bounds = self._numbers[events], event_bounds(self._numbers, events)
        vertices, named = _vertices(self._vertices.between(*bounds), numbers)
        block = self._trajectories.between(*bounds)
        trajectories = _trajectories(block, numbers, vertices, named)
        tracks = trajectories.tracks()
        check_parents(block, tracks, "track", "parent")
        rows = self._segments.between(*bounds)
        event = event_of_rows(rows, numbers, "vertices")
        number = rows.integers("track", most=LARGEST)
        steps, length = _steps(rows, event, rows_of_tracks(rows, event, number + 1, tracks, "track"))
        return assemble_truth(steps, length, trajectories, tracks, vertices, numbers, self._uid, self._origin)


_MISSING = ("electrons", "particles", "semantic")


def _rows(file: Any, name: str, wanted: dict[str, str]) -> EventRows:
    """Open a table, with its columns by whichever spelling it has."""
    have = table(file, name).dtype.names
    # The table's own style decides how a column that is missing is called in the error.
    style = 1 if "event_id" in have else 0
    names = {column: next((s for s in words if s in have), words[style]) for column, words in _SPELLINGS.items()}
    return EventRows(file, name, wanted, names)


def _extract(rows: EventRows) -> tuple[int, str, str]:
    """Return what names a table's content: its length and its first and last thousand rows."""
    # Bytes between columns, which some files have, are nobody's.
    head, tail = (repack_fields(end, recurse=True).tobytes().hex() for end in rows.ends(1000))
    return len(rows), head, tail


def _steps(block: Block, event: NDArray[np.int64], track: NDArray[np.int64]) -> tuple[Steps, NDArray[np.float64]]:
    """Return the steps and their path lengths (cm)."""
    time = "t0_start" if "t0_start" in block.columns else "t_start"
    energy = block.reals("dE", positive=True)
    steps = Steps(event, track, block.points(_ENDS[:3]), block.points(_ENDS[3:]), energy, block.reals(time))
    return refuse_long_steps(block, steps), block.reals("dx", positive=True)


def _vertices(block: Block, numbers: NDArray[np.int64]) -> tuple[Vertices, NDArray[np.int64]]:
    """Return the vertices and the number of each (int64), 0 where the file numbers them not."""
    event = event_of_rows(block, numbers, "vertices")
    numbered = block.column("vertex") in block.columns
    number = block.integers("vertex") if numbered else np.zeros(len(block), dtype=np.int64)
    order = np.lexsort((number, event))
    again = (np.diff(event[order]) == 0) & (np.diff(number[order]) == 0)
    if again.any():
        row = int(order[1:][again][0])
        what = f" with {block.column('vertex')} {number[row]}" if numbered else ""
        raise block.error(row, f"the table 'vertices' has {block.column('event')} {block.event[row]}{what} twice.")
    return Vertices(event, block.points(_VERTEX)), number


def _interaction(
    event: NDArray[np.int64], number: NDArray[np.int64], vertices: Vertices, numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the place in its event of the vertex that each trajectory names; NaN where there is none."""
    first = np.searchsorted(vertices.event, event)
    result = np.full(len(event), np.nan)
    for place in range(int(np.bincount(vertices.event).max(initial=0))):
        row = np.minimum(first + place, len(numbers) - 1)
        result[(vertices.event[row] == event) & (numbers[row] == number)] = place
    return result


def _trajectories(
    block: Block, events: NDArray[np.int64], vertices: Vertices, numbers: NDArray[np.int64]
) -> Trajectories:
    event = event_of_rows(block, events, "vertices")
    named = block.column("vertex") in block.columns
    return Trajectories(
        event=event,
        number=block.integers("track", least=0, most=LARGEST),
        parent=block.integers("parent", least=-1, most=LARGEST),
        pdg=block.integers("pdg"),
        process=block.integers("start_process"),
        subprocess=block.integers("start_subprocess"),
        energy=block.reals("E_start", positive=True) if "E_start" in block.columns else np.full(len(block), np.nan),
        momentum=block.reals("pxyz_start"),
        place=block.reals("xyz_start"),
        vertex=_interaction(event, block.integers("vertex"), vertices, numbers)
        if named
        else np.full(len(block), np.nan),
    )
