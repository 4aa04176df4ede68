"""Geant4 transport of primaries through a cube of liquid argon, run through the package calzone."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError
from shiftlab.events.keys import identity
from shiftlab.events.simulation.composition import Composition
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks

__all__ = ["Transport"]

_SECOND = 1.0e6  # us


@dataclass(frozen=True)
class Transport:
    """How Geant4 carries particles.

    Attributes:
        tables: Folder of Geant4 11.4 data tables.
        hadronic: Geant4 physics list.
        electromagnetic: calzone's name of the electromagnetic model.
        cut: Production cut, cm.
        latest: Steps that begin later than this (us) are dropped: neutron capture, mostly.
        side: Side of the argon cube, cm; primaries start at its centre.
    """

    tables: Path
    hadronic: str = "FTFP_BERT"
    electromagnetic: str = "standard"
    cut: float = 0.07
    latest: float = 20.0
    side: float = 1000.0

    def open(self) -> Any:
        """Return a calzone simulation.

        calzone reads ``GEANT4_DATA_DIR`` when it is imported, so the tables cannot change afterwards.

        Raises:
            ConfigError: calzone is not installed, or the folder is not there, or another one is in use.
        """
        folder = self.tables.resolve()
        if not (folder / "G4EMLOW8.8").is_dir():
            raise ConfigError(f"Geant4 tables: no folder 'G4EMLOW8.8' in {self.tables}.")
        if "calzone" not in sys.modules:
            os.environ["GEANT4_DATA_DIR"] = str(folder)
        elif Path(os.environ.get("GEANT4_DATA_DIR", "")).resolve() != folder:
            raise ConfigError(f"calzone already uses the tables in {os.environ.get('GEANT4_DATA_DIR')}, not {folder}.")
        try:
            import calzone
        except ImportError as error:
            raise ConfigError("simulation needs calzone: pip install 'shiftlab[sim]'.") from error
        cube = {"Argon": {"box": self.side, "material": "G4_lAr", "role": "record_deposits"}}
        simulation = calzone.Simulation(calzone.Geometry(cube))
        simulation.physics = calzone.Physics(
            default_cut=self.cut, em_model=self.electromagnetic, had_model=self.hadronic
        )
        simulation.sample_deposits = "detailed"
        simulation.tracking = True
        return simulation

    def run(
        self, simulation: Any, primaries: Composition, *seed: str | int
    ) -> tuple[Tracks, Steps, NDArray[np.float64]]:
        """Carry the primaries of a few hundred events.

        Returns:
            Tracks, steps (origin at the vertex; event indices as in ``primaries``), and float64 (event,),
            the energy in MeV of the steps dropped for being late.
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
        result = simulation.run(particles)
        (deposits,) = result.deposits.values()
        tracks = _tracks(result.tracks, deposits.line, primaries)
        steps = _steps(deposits.line, deposits.point, tracks, primaries)
        late = steps.time > self.latest
        dropped = np.bincount(steps.event[late], steps.energy[late], len(primaries)).astype(np.float64)
        return tracks, steps.take(~late), dropped

    def describe(self) -> dict[str, str | float]:
        """Return what a sample's attributes must say of its transport."""
        import calzone

        return {
            "simulator": f"Geant4 {calzone.GEANT4_VERSION} through calzone {calzone.VERSION}",
            "hadronic_list": self.hadronic,
            "electromagnetic_model": self.electromagnetic,
            "material": "G4_lAr",
            "production_cut_cm": self.cut,
            "latest_step_us": self.latest,
            "cube_side_cm": self.side,
        }


# One primary is one calzone event. Several primaries make one of our events, so their track numbers are
# moved apart: number * primaries + primary is unique in the event and keeps 0 for "no parent".


def _number(event: Any, number: Any, primaries: Composition) -> Any:
    count = len(primaries.pdg)
    return np.where(number > 0, number.astype(np.int64) * count + event.astype(np.int64), 0)


def _tracks(table: Any, line: Any, primaries: Composition) -> Tracks:
    """Return tracks; the kinetic energy at birth is the largest before any step that deposits."""
    tracks = Tracks(
        event=primaries.event[table["event"].astype(np.int64)],
        number=_number(table["event"], table["tid"], primaries),
        parent=_number(table["event"], table["parent"], primaries),
        pdg=table["pid"].astype(np.int64),
        creator=table["creator"],
        kinetic=np.zeros(len(table)),
    )
    rows = tracks.rows(primaries.event[line["event"].astype(np.int64)], _number(line["event"], line["tid"], primaries))
    np.maximum.at(tracks.kinetic, rows, line["energy"])
    return tracks


def _steps(line: Any, point: Any, tracks: Tracks, primaries: Composition) -> Steps:
    primary = np.concatenate([line["event"], point["event"]]).astype(np.int64)
    number = _number(primary, np.concatenate([line["tid"], point["tid"]]), primaries)
    event = primaries.event[primary]
    return Steps(
        event=event,
        track=tracks.rows(event, number),
        start=np.concatenate([line["start"], point["position"]]),
        end=np.concatenate([line["end"], point["position"]]),
        energy=np.concatenate([line["value"], point["value"]]),
        time=np.concatenate([line["time"][:, 0], point["time"]]) * _SECOND,
    )
