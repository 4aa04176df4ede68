"""One TG4Event at a time: its hit segments, trajectories and vertices in cm, us and MeV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.edepsim.root_members import first_of_lists, four_vectors, members
from shiftlab.events.edepsim.truth import Trajectories, Vertices
from shiftlab.events.hdf5.linkage import LARGEST, LONGEST_STEP
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks, circle

__all__ = ["EventRecord", "join_records", "record"]

_CM = 0.1
"""Millimetres to centimetres."""

_US = 1.0e-3
"""Nanoseconds to microseconds."""

Layouts = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class EventRecord:
    """One event.

    Attributes:
        track: int64 (segment,), number of the trajectory that contributed first.
        start: float64 (segment, 4), cm and us.
        end: float64 (segment, 4), cm and us.
        energy: float64 (segment,), MeV.
        trajectories: Its trajectories, with event index 0.
        vertices: float64 (vertex, 3), cm.
        where: File and entry, for messages.
    """

    track: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    energy: NDArray[np.float64]
    trajectories: Trajectories
    vertices: NDArray[np.float64]
    where: str


def record(columns: Mapping[str, NDArray[Any]], layouts: Layouts, where: str) -> EventRecord:
    """Return one event from the values of its branches.

    Args:
        columns: Values by the names of ``edepsim_root``; bytes where uproot cannot read.
        layouts: Members of each class, as the file's streamer information has them.
        where: File and entry, for messages.

    Raises:
        DataError: bytes that are not laid out as ROOT does, or a value that is not allowed.
    """
    # All detectors' segments are energy left in matter; which of them are used is not for a reader to say.
    parts = members(columns["segments"], len(columns["detectors"]), layouts["TG4HitSegment"], f"{where}, segments")
    place = four_vectors(columns["vertices"], f"{where}, vertices")[:, :3] * _CM
    made = EventRecord(
        track=_joined([first_of_lists(one["Contrib"], len(one["PrimaryId"]), where) for one in parts], np.int64),
        start=np.concatenate([np.empty((0, 4)), *(_space_time(one["Start"]) for one in parts)]),
        end=np.concatenate([np.empty((0, 4)), *(_space_time(one["Stop"]) for one in parts)]),
        energy=_joined([one["EnergyDeposit"] for one in parts], np.float64),
        trajectories=_trajectories(columns, len(place), layouts, where),
        vertices=place,
        where=where,
    )
    for name in ("start", "end", "energy", "vertices"):
        _finite(getattr(made, name), name, where, positive=name == "energy")
    far = np.flatnonzero(np.abs(made.end - made.start)[:, :3].max(axis=1, initial=0.0) > LONGEST_STEP)
    if len(far):
        raise DataError(f"{where}: segment {far[0]} is longer than {LONGEST_STEP:g} cm.")
    return made


def join_records(
    records: Sequence[EventRecord],
) -> tuple[Steps, Trajectories, Tracks, Vertices]:
    """Return the steps, trajectories, tracks and vertices of events, one after another.

    Raises:
        DataError: a segment or parent names no trajectory, or one is there twice or its own ancestor.
    """
    parts = [one.trajectories for one in records]
    event = _repeat([len(one.number) for one in parts])
    joined = {
        name: np.concatenate([getattr(one, name) for one in parts])
        for name in Trajectories.__dataclass_fields__
        if name != "event"
    }
    trajectories = Trajectories(event=event, **joined)
    tracks = trajectories.tracks()
    first = np.concatenate([[0], np.cumsum([len(one.number) for one in parts])])
    _check(tracks, records, first)
    owner = _repeat([len(one.energy) for one in records])
    number = np.concatenate([one.track for one in records])
    row = tracks.rows(owner, number + 1)
    if (row < 0).any():
        wrong = int(np.flatnonzero(row < 0)[0])
        raise DataError(
            f"{records[owner[wrong]].where}: a segment names trajectory {number[wrong]}, which is not there."
        )
    start, end = (np.concatenate([getattr(one, name) for one in records]) for name in ("start", "end"))
    energy = np.concatenate([one.energy for one in records])
    steps = Steps(owner, row, start[:, :3].copy(), end[:, :3].copy(), energy, start[:, 3])
    vertices = Vertices(_repeat([len(one.vertices) for one in records]), np.concatenate([o.vertices for o in records]))
    return steps, trajectories, tracks, vertices


def _check(tracks: Tracks, records: Sequence[EventRecord], first: NDArray[np.int64]) -> None:
    found = tracks.rows(tracks.event, tracks.number)
    lost = (tracks.rows(tracks.event, tracks.parent) < 0) & (tracks.parent != 0)
    for bad, what in ((found != np.arange(len(found)), "is there twice"), (lost, "has a parent that is not there")):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(f"{records[tracks.event[row]].where}: trajectory {tracks.number[row] - 1} {what}.")
    row = circle(tracks)
    if row >= 0:
        raise DataError(f"{records[tracks.event[row]].where}: trajectory {tracks.number[row] - 1} is its own ancestor.")


def _trajectories(columns: Mapping[str, NDArray[Any]], vertices: int, layouts: Layouts, where: str) -> Trajectories:
    number = columns["number"].astype(np.int64)
    momentum = four_vectors(columns["momentum"], f"{where}, momenta")
    points = members(columns["points"], len(number), layouts["TG4TrajectoryPoint"], f"{where}, points")
    empty = next((i for i, one in enumerate(points) if len(one["Process"]) == 0), None)
    if empty is not None or len(momentum) != len(number):
        raise DataError(f"{where}: trajectory {number[empty or 0]} has no points or momentum.")
    if len(number) and (number.min() < 0 or number.max() > LARGEST):
        raise DataError(f"{where}: trajectory numbers {number.min()} to {number.max()}; allowed: 0 to {LARGEST}.")
    firsts = np.array([one["Position"][0] for one in points], dtype=points[0]["Position"].dtype if points else None)
    place = _space_time(firsts)[:, :3] if points else np.empty((0, 3))
    _finite(momentum, "momentum", where)
    _finite(place, "trajectory point", where)
    parent = columns["parent"].astype(np.int64)
    primaries = members(columns["primaries"], vertices, layouts["TG4PrimaryParticle"], f"{where}, primaries")
    return Trajectories(
        event=np.zeros(len(number), dtype=np.int64),
        number=number,
        parent=parent,
        pdg=columns["pdg"].astype(np.int64),
        process=np.array([one["Process"][0] for one in points], dtype=np.int64),
        subprocess=np.array([one["Subprocess"][0] for one in points], dtype=np.int64),
        energy=momentum[:, 3],
        momentum=momentum[:, :3],
        place=place,
        vertex=_interaction(number, parent, [one["TrackId"].astype(np.int64) for one in primaries]),
    )


def _interaction(
    number: NDArray[np.int64], parent: NDArray[np.int64], primaries: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return the place of the vertex that each trajectory descends from; NaN where that cannot be told."""
    if len(primaries) == 1:
        return np.zeros(len(number))
    order = np.argsort(number, kind="stable")
    above = order[np.searchsorted(number, parent, sorter=order).clip(max=max(len(number) - 1, 0))]
    top = np.where((parent < 0) | (number[above] != parent), np.arange(len(number)), above)
    for _ in range(len(number).bit_length()):
        top = top[top]
    result = np.full(len(number), np.nan)
    for place, mine in enumerate(primaries):
        result[np.isin(number[top], mine)] = place
    return result


def _space_time(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64 (row, 4) in cm and us of four-vectors in mm and ns."""
    scale = (("x", _CM), ("y", _CM), ("z", _CM), ("e", _US))
    return np.stack([rows[name].astype(np.float64) * unit for name, unit in scale], axis=1)


def _joined(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype=kind), *(one.astype(kind) for one in parts)])


def _repeat(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(counts)), counts)


def _finite(values: NDArray[np.float64], name: str, where: str, *, positive: bool = False) -> None:
    bad = ~np.isfinite(values) | (values < 0 if positive else False)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        allowed = "finite numbers, not negative" if positive else "finite numbers"
        raise DataError(f"{where}: {name} {row} is {values[row]}; allowed: {allowed}.")
