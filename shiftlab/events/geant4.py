"""Reader of Geant4 event files: HDF5 tables ``segments``, ``trajectories`` and ``vertices`` (cm, MeV, us)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.assembly import assemble, labels_of_steps, particle_table
from shiftlab.events.deposits import Deposits
from shiftlab.events.hdf5.file import columns_of, open_hdf5, overlap, reading, recognised
from shiftlab.events.hdf5.linkage import (
    LARGEST,
    attributes_of,
    check_parents,
    event_bounds,
    event_of_rows,
    masses,
    refuse_long_steps,
    refuse_repeated,
    rows_of_tracks,
)
from shiftlab.events.hdf5.tables import Block, EventRows
from shiftlab.events.keys import identities, identity
from shiftlab.events.particles import ParticleTable
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks

__all__ = ["Geant4Reader"]

_ENDS = tuple(f"{axis}_{end}" for end in ("start", "end") for axis in "xyz")
_REAL, _WHOLE = "real", "integer"
_NAMES = {"event": "event_id"}
_SEGMENTS = {"event": _WHOLE, "traj_id": _WHOLE, **dict.fromkeys(_ENDS, _REAL), "dE": _REAL, "t_start": _REAL}
_TRAJECTORIES = {
    **dict.fromkeys(("event", "traj_id", "parent_id", "pdg_id"), _WHOLE),
    "KE_start": _REAL,
    "creator": "text",
}
_BIRTH = tuple(f"{what}_start" for what in ("x", "y", "z", "dx", "dy", "dz"))
_VERTICES = {
    "event": _WHOLE,
    **dict.fromkeys("xyz", _REAL),
    "kind": "text",
    "nu_pdg": _WHOLE,
    "nu_E": _REAL,
    "lepton_pdg": _WHOLE,
    "weight": _REAL,
}
_NAMING = ("x", "y", "z", "kind", "nu_pdg", "nu_E", "lepton_pdg")
_UNITS = {"position": "cm", "energy": "MeV", "length": "cm", "time": "us"}

_SINGLES = {11: "electron", 22: "gamma", 13: "muon", 211: "pion", 2212: "proton"}
_NEUTRINOS = {12: "nue_cc", 14: "numu_cc"}
_EM_CLASS = {"nue_cc": 1.0, "single_electron": 1.0, "single_gamma": 0.0}


class Geant4Reader(Reader):
    """Files with full parentage; labels come from the trajectories (``shiftlab.events.tracks``)."""

    name: ClassVar[str] = "geant4"
    summary: ClassVar[str] = "HDF5 tables segments, trajectories, vertices (event_id, traj_id, dE, creator, ...)"

    def accepts(self, path: Path) -> bool:
        """Say whether most of the wanted columns of ``segments`` and ``vertices`` are there."""
        return recognised(path, self.accepts_hdf5)

    def accepts_hdf5(self, file: Any) -> bool:
        """Say the same of an open file."""
        tables = {"segments": _SEGMENTS, "vertices": _VERTICES}
        return all(
            overlap(columns_of(file, name), [_NAMES.get(c, c) for c in wanted]) >= 0.5
            for name, wanted in tables.items()
        )

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, or a table or column is missing or of a wrong type.
        """
        with open_hdf5(path) as file:
            yield Geant4Source(path, file, origin)


class Geant4Source(Source):
    """An open file; its events are those of the table ``vertices``, which is small and kept whole."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Check the tables and read the vertices; the other tables are read where events are.

        Raises:
            DataError: a table or column is missing or of a wrong type, or the events are not in ascending order.
        """
        super().__init__(path)
        self._file, self._origin = file, origin
        self._segments = EventRows(file, "segments", _SEGMENTS, _NAMES)
        self._trajectories = EventRows(file, "trajectories", _TRAJECTORIES, _NAMES)
        self._vertices = EventRows(file, "vertices", _VERTICES, _NAMES)
        self._uid, self._numbers = _uid(file, self._vertices)

    def __len__(self) -> int:
        """Return the number of vertices."""
        return len(self._numbers)

    def describe(self) -> Description:
        """Return what is in the file."""
        tables = {"segments": self._segments, "trajectories": self._trajectories, "vertices": self._vertices}
        return Description(
            "geant4",
            "",
            "deposits",
            len(self),
            {name: len(rows) for name, rows in tables.items()},
            _UNITS,
            missing=("electrons",),
            attributes=attributes_of(self._file),
        )

    def read(self, events: slice) -> Deposits:
        """Return the events of the table ``vertices``, in its order; visible energy is all that the file holds.

        Two files that carry the same generator vertices through different models give them the same
        ``vertex_uid``.

        Raises:
            DataError: a value is not allowed, a row fits no event, or an event is there twice.
        """
        numbers, bounds = self._numbers[events], event_bounds(self._numbers, events)
        refuse_repeated(self._vertices, self._numbers, events)
        vertices = self._vertices.between(int(numbers[0]), int(numbers[-1]) + 1)
        sample = _samples(vertices)
        weight = vertices.reals("weight", positive=True)
        tracks, particles = _tracks(self._trajectories.between(*bounds), numbers, self._origin)
        steps, instance = _steps(self._segments.between(*bounds), numbers, tracks)
        semantic, particle = labels_of_steps(steps, tracks)
        return assemble(
            steps,
            None,
            semantic,
            particle,
            instance=instance,
            key=identities(self._uid, numbers),
            vertex=_vertex_uid(vertices),
            weight=weight,
            sample=sample,
            truth=_truth(vertices, sample, self._origin),
            origin=self._origin,
            particles=particles,
            missing=("electrons",),
        )


def _uid(file: Any, vertices: EventRows) -> tuple[str, NDArray[np.int64]]:
    """Return a name of the file's content (its attributes, vertices and number of segments) and its event numbers."""
    with reading(str(file.filename)):
        attributes = {str(name): str(value) for name, value in file.attrs.items()}
        segments = len(file["segments"])
    # The hash is that of keys.identity, of a text that is never whole in memory.
    content = hashlib.blake2b(f"{json.dumps(attributes, sort_keys=True)}/".encode(), digest_size=8)
    numbers = [np.empty(0, dtype=np.int64)]
    for block in vertices.blocks():
        content.update(block.pieces[0].tobytes().hex().encode())
        numbers.append(block.event)
    content.update(f"/{segments}".encode())
    return f"geant4/{int.from_bytes(content.digest(), 'little', signed=True)}", np.concatenate(numbers)


def _tracks(block: Block, numbers: NDArray[np.int64], origin: Origin) -> tuple[Tracks, ParticleTable | None]:
    tracks = Tracks(
        event=event_of_rows(block, numbers, "vertices"),
        number=block.integers("traj_id", least=1, most=LARGEST),
        parent=block.integers("parent_id", least=0, most=LARGEST),
        pdg=block.integers("pdg_id"),
        creator=block["creator"],
        kinetic=block.reals("KE_start", positive=True),
    )
    check_parents(block, tracks, "traj_id", "parent_id")
    if not set(_BIRTH) <= set(block.columns):
        return tracks, None
    mass = masses(tracks.pdg)
    momentum = np.sqrt(tracks.kinetic * (tracks.kinetic + 2.0 * mass))[:, None] * block.points(_BIRTH[3:])
    return tracks, particle_table(tracks, len(numbers), momentum, block.points(_BIRTH[:3]), origin)


def _steps(block: Block, numbers: NDArray[np.int64], tracks: Tracks) -> tuple[Steps, NDArray[np.int32]]:
    event = event_of_rows(block, numbers, "vertices")
    track = rows_of_tracks(block, event, block.integers("traj_id"), tracks, "traj_id")
    steps = Steps(
        event=event,
        track=track,
        start=block.points(_ENDS[:3]),
        end=block.points(_ENDS[3:]),
        energy=block.reals("dE", positive=True),
        time=block.reals("t_start"),
    )
    return refuse_long_steps(block, steps), tracks.number.astype(np.int32)[track]


def _vertex_uid(vertices: Block) -> NDArray[np.int64]:
    """Return the identity of each vertex: its place, kind, neutrino and lepton; not its event number."""
    rows = zip(*(vertices[name].tolist() for name in _NAMING), strict=True)
    return np.array([identity("geant4", "/".join(map(str, row))) for row in rows], dtype=np.int64)


def _samples(vertices: Block) -> tuple[str, ...]:
    names = []
    for kind, neutrino, lepton in zip(vertices["kind"], vertices["nu_pdg"], vertices["lepton_pdg"], strict=True):
        word = kind.decode("ascii", "backslashreplace")
        if word == "single":
            word = f"single_{_SINGLES.get(abs(int(lepton)), 'other')}"
        elif word == "mpv":
            word = "multi_particle"
        elif int(neutrino) in _NEUTRINOS:
            word = _NEUTRINOS[int(neutrino)]
        names.append(word)
    return tuple(names)


def _truth(vertices: Block, sample: tuple[str, ...], origin: Origin) -> dict[str, NDArray[np.float64]]:
    place = vertices.points("xyz")
    neutrino = vertices["nu_pdg"].astype(np.float64)
    return {
        "neutrino_pdg": neutrino,
        "neutrino_energy": np.where(neutrino != 0, vertices.reals("nu_E"), np.nan),
        "em_class": np.array([_EM_CLASS.get(name, np.nan) for name in sample]),
        **{f"vertex_{axis}": place[:, i] - origin[i] for i, axis in enumerate("xyz")},
    }
