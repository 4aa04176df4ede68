"""edep-sim's trajectories and interaction vertices: what Geant4's process codes mean, and the labels that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.assembly import assemble, labels_of_steps, particle_table
from shiftlab.events.deposits import Deposits
from shiftlab.events.hdf5.linkage import masses
from shiftlab.events.keys import identity
from shiftlab.events.reader import Origin
from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Tracks

__all__ = ["Trajectories", "Vertices", "assemble_truth", "kinetic_energy", "process_names"]

_PROCESSES = {
    (2, 1): b"CoulombScat",
    (2, 2): b"Ionisation",
    (2, 3): b"Bremsstrahlung",
    (2, 4): b"PairProduction",
    (2, 5): b"Annihilation",
    (2, 10): b"msc",
    (2, 11): b"Rayl",
    (2, 12): b"phot",
    (2, 13): b"compt",
    (2, 14): b"Conversion",
    (4, 111): b"hadElastic",
    (4, 121): b"inelastic",
    (4, 131): b"nCapture",
    (4, 132): b"muAtomicCapture",
    (4, 141): b"fission",
    (4, 151): b"captureAtRest",
    (4, 161): b"chargeExchange",
    (4, 210): b"RadioactiveDecay",
    (6, 201): b"Decay",
    (6, 202): b"Decay",
    (6, 203): b"Decay",
    (6, 210): b"RadioactiveDecay",
    (6, 211): b"Decay",
    (6, 231): b"Decay",
}
"""Names for Geant4's (process type, subtype): the enumerations G4ProcessType, G4EmProcessSubType,
G4HadronicProcessType and G4DecayProcessType of Geant4 11; names are those that ``shiftlab.events.tracks`` knows."""

_ATOMIC_MASS_UNIT = 931.49410242  # MeV, CODATA 2018


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of many events, one row each, in order of their events.

    Attributes:
        event: int64 (trajectory,), index of the event.
        number: int64 (trajectory,), from 0, unique in its event.
        parent: int64 (trajectory,), number of the parent; negative for primaries.
        pdg: int64 (trajectory,).
        process: int64 (trajectory,), Geant4's type of the process that made it.
        subprocess: int64 (trajectory,), its subtype.
        energy: float64 (trajectory,), total energy at birth, MeV; NaN where the file has none.
        momentum: float64 (trajectory, 3), at birth, MeV.
        place: float64 (trajectory, 3), of birth, cm.
        vertex: float64 (trajectory,), place in its event of the interaction that it comes from; NaN where unknown.
    """

    event: NDArray[np.int64]
    number: NDArray[np.int64]
    parent: NDArray[np.int64]
    pdg: NDArray[np.int64]
    process: NDArray[np.int64]
    subprocess: NDArray[np.int64]
    energy: NDArray[np.float64]
    momentum: NDArray[np.float64]
    place: NDArray[np.float64]
    vertex: NDArray[np.float64]

    def tracks(self) -> Tracks:
        """Return them as tracks, numbered from 1, with parent 0 for primaries."""
        primary = self.parent < 0
        creator = process_names(self.process, self.subprocess)
        return Tracks(
            event=self.event,
            number=self.number + 1,
            parent=np.where(primary, 0, self.parent + 1),
            pdg=self.pdg,
            # The codes of primaries are left over from whatever Geant4 did before.
            creator=np.where(primary, b"primary", creator),
            kinetic=kinetic_energy(self.pdg, self.energy, self.momentum),
        )


@dataclass(frozen=True)
class Vertices:
    """Interaction vertices of many events, in order of their events; an event of a beam spill has several.

    Attributes:
        event: int64 (vertex,), index of the event.
        place: float64 (vertex, 3), cm.
    """

    event: NDArray[np.int64]
    place: NDArray[np.float64]


def process_names(process: NDArray[np.int64], subprocess: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """Return the name of each process (bytes, shaped as ``process``); ``other`` for codes that label nothing."""
    result = np.full(process.shape, b"other", dtype="S16")
    for (kind, sub), name in _PROCESSES.items():
        result[(process == kind) & (subprocess == sub)] = name
    return result


def kinetic_energy(
    pdg: NDArray[np.int64], energy: NDArray[np.float64], momentum: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the kinetic energy in MeV, float64 (particle,), as p^2 / (E + m).

    E - m would lose the energy of slow nuclei in the rounding of float32. Masses are the Particle Data Group's;
    for nuclei the invariant mass of E and p or, where the file has no E, the mass number in atomic mass units.

    Args:
        pdg: int64 (particle,).
        energy: float64 (particle,), total energy, MeV; NaN where unknown.
        momentum: float64 (particle, 3), MeV.
    """
    square = (momentum * momentum).sum(axis=1)
    mass = masses(pdg)
    invariant = np.sqrt(np.maximum(energy * energy - square, 0.0))
    nuclear = np.where(np.abs(pdg) >= 10**9, (np.abs(pdg) // 10 % 1000) * _ATOMIC_MASS_UNIT, 0.0)
    mass = np.where(np.isfinite(mass), mass, np.where(np.isfinite(invariant), invariant, nuclear))
    total = np.sqrt(square + mass * mass) + mass
    return np.asarray(np.divide(square, total, out=np.zeros_like(square), where=total > 0.0), dtype=np.float64)


def assemble_truth(
    steps: Steps,
    length: NDArray[np.float64] | None,
    trajectories: Trajectories,
    tracks: Tracks,
    vertices: Vertices,
    numbers: NDArray[np.int64],
    uid: str,
    origin: Origin,
    *,
    runs: NDArray[np.int64] | None = None,
) -> Deposits:
    """Return the deposits of edep-sim events with labels, particles and vertices.

    Args:
        steps: Steps, in order of their events; ``track`` is the row in ``trajectories``.
        length: float64 (step,), path length, cm; None takes the distance from start to end.
        trajectories: The events' trajectories.
        tracks: The same as tracks.
        vertices: The events' interaction vertices.
        numbers: int64 (event,), event numbers of the file.
        uid: Name of the file's content.
        origin: Subtracted from positions, cm.
        runs: int64 (event,), run that each event number is of, where a file may hold several.
    """
    count = len(numbers)
    names = [f"{uid}/{run}" for run in ([] if runs is None else runs.tolist())] or [uid] * count
    semantic, particle = labels_of_steps(steps, tracks)
    # Numbers stay those of the file, from 0; primaries have no parent.
    table = particle_table(tracks, count, trajectories.momentum, trajectories.place, origin, trajectories.vertex)
    shifted = {name: table.columns[name] - 1 for name in ("number", "parent")}
    per_event = np.bincount(vertices.event, minlength=count).astype(np.float64)
    single = np.full((count, 3), np.nan)
    single[vertices.event] = vertices.place - np.asarray(origin)
    single[per_event != 1] = np.nan
    return assemble(
        steps,
        length,
        semantic,
        particle,
        instance=trajectories.number.astype(np.int32)[steps.track],
        key=np.array([identity(*pair) for pair in zip(names, numbers.tolist(), strict=True)], dtype=np.int64),
        vertex=_vertex_uid(numbers, vertices, trajectories),
        weight=np.ones(count),
        sample=("edepsim",) * count,
        truth={
            "neutrino_pdg": np.zeros(count),
            "neutrino_energy": np.full(count, np.nan),
            "em_class": np.full(count, np.nan),
            "interactions": per_event,
            **{f"vertex_{axis}": single[:, i] for i, axis in enumerate("xyz")},
        },
        origin=origin,
        particles=replace(table, columns={**table.columns, **shifted}),
        missing=("electrons",),
    )


def _vertex_uid(numbers: NDArray[np.int64], vertices: Vertices, trajectories: Trajectories) -> NDArray[np.int64]:
    """Return the identity of what the generator gave each event: its number, vertices and primaries.

    Numbers alone begin again in every file. The places and momenta make files differ, and files that carry the same
    vertices through different models agree.
    """
    primary = np.flatnonzero(trajectories.parent < 0)
    place = _pieces(vertices.event, vertices.place, len(numbers))
    code = _pieces(trajectories.event[primary], trajectories.pdg[primary], len(numbers))
    momentum = _pieces(trajectories.event[primary], trajectories.momentum[primary], len(numbers))
    rows = zip(numbers.tolist(), place, code, momentum, strict=True)
    return np.array([identity("edepsim", *row) for row in rows], dtype=np.int64)


def _pieces(event: NDArray[np.int64], values: NDArray[Any], count: int) -> list[str]:
    """Return the bytes of each event's values as text; real numbers as float32, as the HDF5 form has them."""
    values = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
    ends = np.searchsorted(event, np.arange(count + 1))
    return [values[a:b].tobytes().hex() for a, b in pairwise(ends)]
