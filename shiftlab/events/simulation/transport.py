"""Geant4 transport of primaries through a cube of one material, run through the package calzone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.keys import identity
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.simulation.tables import use_tables
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks

__all__ = ["CUTS", "ELECTROMAGNETIC", "HADRONIC", "Carried", "Transport"]

HADRONIC: Final = ("FTFP_BERT", "QGSP_BERT", "QGSP_BIC")
"""Geant4 physics lists; those with high-precision neutrons need tables of 2 GB and are not offered."""

ELECTROMAGNETIC: Final = ("standard", "option1", "option2")
"""calzone's names of Geant4's electromagnetic models (G4EmStandardPhysics and its options)."""

CUTS: Final = (0.001, 100.0)
"""Shortest and longest production cut, cm."""

_SECOND = 1.0e6  # us

_FIRST: Final[list[tuple[str | float, ...]]] = []
"""Physics that this process opened first. Geant4 is one for each process: its run manager keeps the processes of its
first run, and calzone 1.2 does not say so when another physics is then asked for."""


@dataclass(frozen=True)
class Carried:
    """What Geant4 gives for some events; the origin is each event's vertex.

    Attributes:
        tracks: Tracks, event by event.
        steps: Steps that begin in time, by track and then by time; track is a row of ``tracks``.
        late: float64 (event,), MeV, energy of the steps dropped for being late.
        kinetic: float64 (step,), MeV, kinetic energy at the start of each line; NaN for points.
        primary: int64 (primary,), row in ``tracks`` of each primary.
    """

    tracks: Tracks
    steps: Steps
    late: NDArray[np.float64]
    kinetic: NDArray[np.float64]
    primary: NDArray[np.int64]


@dataclass(frozen=True)
class Transport:
    """How Geant4 carries particles.

    Attributes:
        tables: Folder of Geant4 11.4 data tables.
        hadronic: Geant4 physics list, one of HADRONIC.
        electromagnetic: calzone's name of the electromagnetic model, one of ELECTROMAGNETIC.
        cut: Production cut, cm.
        latest: Steps that begin later than this (us) are dropped: neutron capture, mostly.
        side: Side of the cube, cm; primaries start at its centre.
        material: Geant4's name of what fills the cube.
    """

    tables: Path
    hadronic: str = "FTFP_BERT"
    electromagnetic: str = "standard"
    cut: float = 0.07
    latest: float = 20.0
    side: float = 1000.0
    material: str = "G4_lAr"

    def __post_init__(self) -> None:
        """Refuse a model that is not offered and numbers that mean nothing.

        Raises:
            ConfigError: naming the key.
        """
        if self.hadronic not in HADRONIC:
            raise UnknownNameError("transport.hadronic", self.hadronic, HADRONIC)
        if self.electromagnetic not in ELECTROMAGNETIC:
            raise UnknownNameError("transport.electromagnetic", self.electromagnetic, ELECTROMAGNETIC)
        if not CUTS[0] <= self.cut <= CUTS[1]:
            raise ConfigError(f"transport.cut: {self.cut!r} is given; {CUTS[0]} to {CUTS[1]} cm is wanted.")
        for name in ("latest", "side"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"transport.{name}: {getattr(self, name)!r} is given; more than 0 is wanted.")

    def open(self) -> Any:
        """Return a calzone simulation.

        calzone reads ``GEANT4_DATA_DIR`` when it is imported, so the tables cannot change afterwards; nor can
        the physics and the material, once a process has carried a particle.

        Raises:
            ConfigError: calzone is not installed, the folder is not there, or this process uses other tables,
                another physics or another material.
        """
        use_tables(self.tables)
        import calzone

        physics = (self.hadronic, self.electromagnetic, self.cut, self.material)
        _FIRST.extend([physics][: 1 - len(_FIRST)])
        if _FIRST[0] != physics:
            raise ConfigError(
                f"this process carries particles with {', '.join(map(str, _FIRST[0]))}; Geant4 would keep those models "
                f"for {', '.join(map(str, physics))}. Use another process, as `shiftlab simulate` does."
            )

        cube = {"Cube": {"box": self.side, "material": self.material, "role": "record_deposits"}}
        simulation = calzone.Simulation(calzone.Geometry(cube))
        simulation.physics = calzone.Physics(
            default_cut=self.cut, em_model=self.electromagnetic, had_model=self.hadronic
        )
        simulation.sample_deposits = "detailed"
        simulation.tracking = True
        return simulation

    def run(
        self, simulation: Any, primaries: Composition, *seed: str | int, starts: NDArray[np.uint64] | None = None
    ) -> Carried:
        """Carry the primaries of a few hundred events.

        Args:
            simulation: What ``open`` gave.
            primaries: The events.
            seed: Names that fix the random stream.
            starts: uint64 (primary, 2), where in the stream each primary begins: its steps then depend on
                nothing else. Without it a primary takes the numbers that the one before it left.
        """
        import calzone

        simulation.random = calzone.Random(identity(*seed) % 2**62)
        particles = calzone.particles(
            len(primaries.pdg),
            pid=primaries.pdg.astype(np.int32),
            energy=primaries.kinetic,
            position=[0.0, 0.0, 0.0],
            direction=primaries.direction,
        )
        result = simulation.run(particles) if starts is None else simulation.run(particles, random_indices=starts)
        line, point = _records(result.deposits)
        finder = _Finder(result.tracks, len(primaries.pdg))
        rows = np.concatenate([finder.rows(line["event"], line["tid"]), finder.rows(point["event"], point["tid"])])
        tracks = _tracks(result.tracks, line, rows[: len(line)], primaries)
        time = np.concatenate([line["time"][:, 0], point["time"]]) * _SECOND
        energy = np.concatenate([line["value"], point["value"]])
        late = time > self.latest
        dropped = np.bincount(tracks.event[rows[late]], energy[late], len(primaries)).astype(np.float64)
        order = _along_tracks(rows, time, len(tracks.event))
        order = order[~late[order]]
        steps = Steps(
            event=tracks.event[rows[order]],
            track=rows[order],
            start=np.concatenate([line["start"], point["position"]])[order],
            end=np.concatenate([line["end"], point["position"]])[order],
            energy=energy[order],
            time=time[order],
        )
        kinetic = np.concatenate([line["energy"], np.full(len(point), np.nan)])[order]
        return Carried(tracks, steps, dropped, kinetic, finder.primaries())

    def describe(self) -> dict[str, str | float]:
        """Return what a sample's attributes must say of its transport."""
        return {"simulator": self.simulator(), **self.settings()}

    def simulator(self) -> str:
        """Return which program carries the particles."""
        import calzone

        return f"Geant4 {calzone.GEANT4_VERSION} through calzone {calzone.VERSION}"

    def settings(self) -> dict[str, str | float]:
        """Return the settings; calzone need not be there."""
        return {
            "hadronic_list": self.hadronic,
            "electromagnetic_model": self.electromagnetic,
            "material": self.material,
            "production_cut_cm": self.cut,
            "latest_step_us": self.latest,
            "cube_side_cm": self.side,
        }


def _records(deposits: Any) -> tuple[Any, Any]:
    """Return calzone's line and point deposits; where nothing was deposited it gives no volume at all."""
    for records in deposits.values():
        return records.line, records.point
    line = [("event", "u8"), ("tid", "i4"), ("energy", "f8"), ("value", "f8"), ("start", "f8", 3), ("end", "f8", 3)]
    point = [("event", "u8"), ("tid", "i4"), ("value", "f8"), ("position", "f8", 3), ("time", "f8")]
    return np.zeros(0, dtype=[*line, ("time", "f8", 2)]), np.zeros(0, dtype=point)


class _Finder:
    """Finds the row of a track by its primary and number: numbers run from 1 in each primary."""

    def __init__(self, table: Any, primaries: int) -> None:
        event = table["event"].astype(np.int64)
        number = table["tid"].astype(np.int64)
        largest = np.zeros(primaries, dtype=np.int64)
        np.maximum.at(largest, event, number)
        self._first = np.cumsum(largest + 1) - largest - 1
        self._row = np.full(int(np.sum(largest + 1)), -1, dtype=np.int64)
        self._row[self._first[event] + number] = np.arange(len(table))

    def rows(self, event: Any, number: Any) -> NDArray[np.int64]:
        """Return int64: the row of each (primary, track number)."""
        return np.asarray(self._row[self._first[event.astype(np.int64)] + number], dtype=np.int64)

    def primaries(self) -> NDArray[np.int64]:
        """Return int64 (primary,): the row of each primary, whose number is 1."""
        return np.asarray(self._row[self._first + 1], dtype=np.int64)


# One primary is one calzone event. Several primaries make one of our events, so their track numbers are
# moved apart: number * primaries + primary is unique in the event and keeps 0 for "no parent".


def _number(event: Any, number: Any, primaries: Composition) -> Any:
    count = len(primaries.pdg)
    return np.where(number > 0, number.astype(np.int64) * count + event.astype(np.int64), 0)


def _tracks(table: Any, line: Any, rows: NDArray[np.int64], primaries: Composition) -> Tracks:
    """Return tracks; the kinetic energy at birth is the largest before any step that deposits."""
    kinetic = np.zeros(len(table))
    np.maximum.at(kinetic, rows, line["energy"])
    return Tracks(
        event=primaries.event[table["event"].astype(np.int64)],
        number=_number(table["event"], table["tid"], primaries),
        parent=_number(table["event"], table["parent"], primaries),
        pdg=table["pid"].astype(np.int64),
        creator=table["creator"],
        kinetic=kinetic,
    )


def _along_tracks(track: NDArray[np.int64], time: NDArray[np.float64], tracks: int) -> NDArray[np.int64]:
    """Return the order of steps by track, then time: that of ``lexsort((time, track))``, but sooner.

    Lines come in time order already; only tracks whose points lie between their lines need sorting by time.
    """
    order = np.argsort(track, kind="stable")
    sorted_track, sorted_time = track[order], time[order]
    back = (sorted_track[1:] == sorted_track[:-1]) & (sorted_time[1:] < sorted_time[:-1])
    if back.any():
        mixed = np.zeros(tracks, dtype=bool)
        mixed[sorted_track[1:][back]] = True
        rows = np.flatnonzero(mixed[sorted_track])
        order[rows] = order[rows][np.lexsort((sorted_time[rows], sorted_track[rows]))]
    return order
