"""Reader of Geant4 event files: HDF5 tables ``segments``, ``trajectories`` and ``vertices`` (cm, MeV, us)."""

from __future__ import annotations

import json
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
from shiftlab.events.tracks import Tracks, attach_fragments, label_tracks

__all__ = ["Geant4Reader"]

_ENDS = tuple(f"{axis}_{end}" for end in ("start", "end") for axis in "xyz")
_SEGMENTS = ("event_id", "traj_id", *_ENDS, "dE", "t_start")
_TRAJECTORIES = ("event_id", "traj_id", "parent_id", "pdg_id", "KE_start", "creator")
_VERTICES = ("event_id", "x", "y", "z", "kind", "nu_pdg", "nu_E", "lepton_pdg", "weight")

_SINGLES = {11: "electron", 22: "gamma", 13: "muon", 211: "pion", 2212: "proton"}
_NEUTRINOS = {12: "nue_cc", 14: "numu_cc"}
_EM_CLASS = {"nue_cc": 1.0, "single_electron": 1.0, "single_gamma": 0.0}


class Geant4Reader(Reader):
    """Files with full parentage; labels come from the trajectories (``shiftlab.events.tracks``)."""

    name: ClassVar[str] = "geant4"
    summary: ClassVar[str] = "HDF5 tables segments, trajectories, vertices (event_id, traj_id, dE, creator, ...)"

    def accepts(self, path: Path) -> bool:
        """Say whether most of the wanted columns of ``segments`` and ``vertices`` are there."""
        return min(overlap(path, "segments", _SEGMENTS), overlap(path, "vertices", _VERTICES)) >= 0.5

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, or a table is missing.
        """
        with open_hdf5(path) as file:
            yield Geant4Source(path, file, origin)


class Geant4Source(Source):
    """An open file; its events are those of the table ``vertices``."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Keep the open file."""
        super().__init__(path)
        self._file, self._origin = file, origin

    def __len__(self) -> int:
        """Return the number of vertices."""
        return len(table(self._file, "vertices"))

    def describe(self) -> Description:
        """Return what is in the file."""
        rows = {name: len(self._file[name]) for name in ("segments", "trajectories", "vertices") if name in self._file}
        units = {"position": "cm", "energy": "MeV", "length": "cm", "time": "us"}
        return Description("geant4", "", "deposits", len(self), rows, units)

    def read(self, events: slice) -> Deposits:
        """Return the events of the table ``vertices``, in its order; visible energy is all that the file holds.

        Two files that carry the same generator vertices through different models give them the same
        ``vertex_uid``.

        Raises:
            DataError: a table or column is missing, a value is not allowed, or a row fits no event.
        """
        file, origin = self._file, self._origin
        vertices = columns(table(file, "vertices"), _VERTICES)
        refuse_values(file["vertices"], vertices, vertices["event_id"], positive=("weight",))
        if len(vertices["event_id"]) == 0:
            raise DataError(f"{self.path}: table 'vertices' is empty.")
        uid = _uid(file)
        vertices = {name: column[events] for name, column in vertices.items()}
        tracks = _tracks(table(file, "trajectories"), vertices["event_id"])
        steps = _steps(table(file, "segments"), vertices["event_id"], tracks)
        labels = label_tracks(tracks)
        semantic = attach_fragments(steps, labels)
        parts, source = subdivide(steps)
        return assemble(
            parts,
            parts.length,
            semantic[source],
            labels.particle[parts.track],
            key=identities(uid, vertices["event_id"]),
            vertex=_vertex_uid(vertices),
            weight=vertices["weight"].astype(np.float64),
            sample=_samples(vertices),
            truth=_truth(vertices, origin),
            origin=origin,
        )


def _uid(file: Any) -> str:
    """Return a name of the file's content: its attributes, vertices and number of segments."""
    attributes = {name: str(value) for name, value in file.attrs.items()}
    content = file["vertices"][...].tobytes().hex()
    return f"geant4/{identity(json.dumps(attributes, sort_keys=True), content, len(file['segments']))}"


def _index(numbers: NDArray[Any], events: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Return the place of each event number in the list of events.

    Raises:
        DataError: a number is not in the list, or the list repeats one.
    """
    order = np.argsort(events, kind="stable")
    ranked = events[order]
    if np.any(ranked[1:] == ranked[:-1]):
        repeated = ranked[1:][ranked[1:] == ranked[:-1]][0]
        raise DataError(f"{what}: the table 'vertices' has event_id {repeated} twice; event ids must be unique.")
    place = np.searchsorted(ranked, numbers).clip(max=len(ranked) - 1)
    wrong = ranked[place] != numbers
    if wrong.any():
        raise DataError(f"{what}: event_id {numbers[wrong][0]} is not in the table 'vertices'.")
    return np.asarray(order[place], dtype=np.int64)


def _rows(dataset: Any, wanted: tuple[str, ...], events: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the rows of the wanted events; no other rows stay in memory."""
    block = columns(dataset, wanted, event_rows(dataset, "event_id", int(events.min()), int(events.max())))
    mine = (block["event_id"] >= events.min()) & (block["event_id"] <= events.max())
    return {name: column[mine] for name, column in block.items()}


def _tracks(dataset: Any, events: NDArray[Any]) -> Tracks:
    block = _rows(dataset, _TRAJECTORIES, events)
    refuse_values(dataset, block, block["event_id"], positive=("KE_start",))
    return Tracks(
        event=_index(block["event_id"], events, f"{dataset.file.filename}: table 'trajectories'"),
        number=block["traj_id"].astype(np.int64),
        parent=block["parent_id"].astype(np.int64),
        pdg=block["pdg_id"].astype(np.int64),
        creator=block["creator"],
        kinetic=block["KE_start"].astype(np.float64),
    )


def _steps(dataset: Any, events: NDArray[Any], tracks: Tracks) -> Steps:
    block = _rows(dataset, _SEGMENTS, events)
    refuse_values(dataset, block, block["event_id"], positive=("dE",))
    event = _index(block["event_id"], events, f"{dataset.file.filename}: table 'segments'")
    track = tracks.rows(event, block["traj_id"].astype(np.int64))
    if (track < 0).any():
        row = int(np.flatnonzero(track < 0)[0])
        where = f"{dataset.file.filename}: table 'segments', event {block['event_id'][row]}"
        raise DataError(f"{where}: traj_id {block['traj_id'][row]} is not in the table 'trajectories'.")
    steps = Steps(
        event=event,
        track=track,
        start=np.stack([block[name] for name in _ENDS[:3]], axis=1).astype(np.float64),
        end=np.stack([block[name] for name in _ENDS[3:]], axis=1).astype(np.float64),
        energy=block["dE"].astype(np.float64),
        time=block["t_start"].astype(np.float64),
    )
    return steps.take(np.argsort(event, kind="stable"))


def _vertex_uid(vertices: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the identity of each vertex: its place, kind, neutrino and lepton; not its event number."""
    rows = zip(*(vertices[name].tolist() for name in _VERTICES[1:8]), strict=True)
    return np.array([identity("geant4", *(str(value) for value in row)) for row in rows], dtype=np.int64)


def _samples(vertices: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    names = []
    for kind, neutrino, lepton in zip(vertices["kind"], vertices["nu_pdg"], vertices["lepton_pdg"], strict=True):
        word = kind.decode()
        if word == "single":
            word = f"single_{_SINGLES.get(abs(int(lepton)), 'other')}"
        elif word == "mpv":
            word = "multi_particle"
        elif int(neutrino) in _NEUTRINOS:
            word = _NEUTRINOS[int(neutrino)]
        names.append(word)
    return tuple(names)


def _truth(vertices: dict[str, NDArray[Any]], origin: Origin) -> dict[str, NDArray[np.float64]]:
    neutrino = vertices["nu_pdg"].astype(np.float64)
    place = {f"vertex_{axis}": vertices[axis].astype(np.float64) - origin[i] for i, axis in enumerate("xyz")}
    return {
        "neutrino_pdg": neutrino,
        "neutrino_energy": np.where(neutrino != 0, vertices["nu_E"].astype(np.float64), np.nan),
        "em_class": np.array([_EM_CLASS.get(name, np.nan) for name in _samples(vertices)]),
        **place,
    }
