"""Reader of edep-sim's own ROOT files: the tree ``EDepSimEvents`` of TG4Event (mm, ns, MeV)."""

from __future__ import annotations

import importlib
import lzma
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.edepsim.root_events import EventRecord, join_records, record
from shiftlab.events.edepsim.truth import assemble_truth
from shiftlab.events.keys import identity
from shiftlab.events.reader import Description, Origin, Reader, Source

__all__ = ["EdepSimRootReader"]

_TREE = "EDepSimEvents"
_CLASSES = ("TG4HitSegment", "TG4TrajectoryPoint", "TG4PrimaryParticle")
_BRANCHES = {
    "vertices": "Event/Primaries/Primaries.Position",
    "primaries": "Event/Primaries/Primaries.Particles",
    "number": "Event/Trajectories/Trajectories.TrackId",
    "parent": "Event/Trajectories/Trajectories.ParentId",
    "pdg": "Event/Trajectories/Trajectories.PDGCode",
    "momentum": "Event/Trajectories/Trajectories.InitialMomentum",
    "points": "Event/Trajectories/Trajectories.Points",
    "detectors": "Event/SegmentDetectors/SegmentDetectors.first",
    "segments": "Event/SegmentDetectors/SegmentDetectors.second",
}
_PLAIN = ("number", "parent", "pdg", "detectors")  # uproot reads these; the others come as bytes
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


class EdepSimRootReader(Reader):
    """Files as edep-sim writes them; all detectors' segments are read, labels come from the trajectories."""

    name: ClassVar[str] = "edepsim_root"
    summary: ClassVar[str] = "edep-sim's ROOT tree EDepSimEvents (TG4Event); needs uproot, extra 'root'"

    def accepts(self, path: Path) -> bool:
        """Say whether it is a ROOT file in which the name of edep-sim's tree occurs."""
        with path.open("rb") as file:
            if file.read(4) != b"root":
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.rfind(_TREE.encode()) >= 0

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, or is not laid out as edep-sim writes it.
            ConfigError: uproot is not installed.
        """
        uproot = _uproot(path)
        with _reading(uproot, path):
            # Without caches and threads memory holds what one call reads.
            file = uproot.open(path, array_cache=None, object_cache=None)
        try:
            yield EdepSimRootSource(path, uproot, file, origin)
        finally:
            file.close()


class EdepSimRootSource(Source):
    """An open file; its events are the entries of the tree, also those without deposits."""

    def __init__(self, path: Path, uproot: ModuleType, file: Any, origin: Origin) -> None:
        """Check the branches and list the events.

        Raises:
            DataError: a branch or class is missing or damaged.
        """
        super().__init__(path)
        self._uproot, self._origin = uproot, origin
        with _reading(uproot, path):
            names = sorted({key.split(";")[0] for key in file.keys()})  # noqa: SIM118 - not a mapping of ours
            if _TREE not in names:
                raise DataError(f"{path}: no tree '{_TREE}'; it has {', '.join(names) or 'nothing'}.")
            self._tree = file[_TREE]
            have = set(self._tree.keys(recursive=True))
            self._layouts = {name: _layout(path, file, name) for name in _CLASSES}
        for branch in ("Event/RunId", "Event/EventId", *_BRANCHES.values()):
            if branch not in have:
                raise DataError(f"{path}: tree '{_TREE}' has no branch '{branch}'.")
        count = int(self._tree.num_entries)
        self._runs, self._numbers = (
            self._array(f"Event/{name}", slice(0, count), plain=True).astype(np.int64) for name in ("RunId", "EventId")
        )
        ends = [self._array(_BRANCHES["segments"], slice(i, i + 1))[0].tobytes() for i in {0, count - 1} if count]
        known = (self._runs.tobytes(), self._numbers.tobytes(), *ends)
        self._uid = f"edepsim/{identity(count, *(content.hex() for content in known))}"

    def __len__(self) -> int:
        """Return the number of entries of the tree."""
        return len(self._numbers)

    def describe(self) -> Description:
        """Return what is in the file."""
        attributes = {"runs": ", ".join(str(run) for run in np.unique(self._runs)[:20])}
        if len(self):
            detectors = self._array(_BRANCHES["detectors"], slice(0, 1), plain=True)[0]
            attributes["segment detectors of the first event"] = ", ".join(str(name) for name in detectors)
        units = {"position": "cm", "energy": "MeV", "length": "cm", "time": "us"}
        rows = {_TREE: len(self)}
        return Description(
            "edepsim_root", "TG4Event", "deposits", len(self), rows, units, ("electrons",), attributes=attributes
        )

    def read(self, events: slice) -> Deposits:
        """Return the entries, labelled from their trajectories; mm and ns become cm and us.

        Raises:
            DataError: a value is not allowed, a segment or parent names no trajectory, or an event is there twice.
        """
        columns = {name: self._array(branch, events, plain=name in _PLAIN) for name, branch in _BRANCHES.items()}
        records: list[EventRecord] = []
        for place, entry in enumerate(range(events.start, events.stop)):
            self._refuse_repeated(entry)
            where = f"{self.path}: tree '{_TREE}', entry {entry} (event {self._numbers[entry]})"
            records.append(record({name: column[place] for name, column in columns.items()}, self._layouts, where))
        steps, trajectories, tracks, vertices = join_records(records)
        return assemble_truth(
            steps,
            None,  # the distance, as dx of the HDF5 forms; TrackLength counts a segment's secondaries as well
            trajectories,
            tracks,
            vertices,
            self._numbers[events],
            self._uid,
            self._origin,
            runs=self._runs[events],
        )

    def _refuse_repeated(self, entry: int) -> None:
        same = np.flatnonzero((self._numbers == self._numbers[entry]) & (self._runs == self._runs[entry]))
        if len(same) > 1:
            raise DataError(
                f"{self.path}: tree '{_TREE}', entries {same[0]} and {same[1]}: run {self._runs[entry]} has EventId "
                f"{self._numbers[entry]} twice; event ids must be unique in their run."
            )

    def _array(self, branch: str, entries: slice, *, plain: bool = False) -> NDArray[Any]:
        """Return the values of a branch, or its bytes: one array per entry."""
        form = None if plain else self._uproot.AsJagged(self._uproot.AsDtype("u1"))
        with _reading(self._uproot, self.path):
            return np.asarray(
                self._tree[branch].array(form, entry_start=entries.start, entry_stop=entries.stop, library="np")
            )


def _uproot(path: Path) -> ModuleType:
    try:
        return importlib.import_module("uproot")
    except ImportError as error:
        raise ConfigError(f'{path}: reading ROOT files needs uproot: pip install "shiftlab[root]".') from error


def _layout(path: Path, file: Any, name: str) -> list[tuple[str, str]]:
    """Return name and C++ type of each member of a class, as the file says."""
    known = file.file.streamers.get(name)
    if not known:
        raise DataError(f"{path}: no streamer information for the class {name}.")
    newest = known[max(known)]
    return [
        (element.name, "TObject" if element.typename == "BASE" else element.typename) for element in newest.elements
    ]


@contextmanager
def _reading(uproot: ModuleType, path: Path) -> Iterator[None]:
    """Guard the calls of uproot; nothing else belongs inside but errors of our own."""
    try:
        yield
    except (*_DAMAGE, uproot.deserialization.DeserializationError) as error:
        raise DataError(f"{path}: truncated or damaged ROOT file ({str(error).splitlines()[:1]}).") from error
