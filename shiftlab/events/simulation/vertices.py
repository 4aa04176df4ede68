"""Neutrino interaction vertices of the generator Achilles: final-state particles and the neutrino."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import open_hdf5
from shiftlab.events.keys import identity
from shiftlab.provenance import write_whole

__all__ = ["Vertices", "join_vertices", "load_vertices", "read_nuhepmc", "save_vertices"]

_FINAL_STATE = 1
_NEUTRINO_STATUS = 2
_NUCLEUS = 10**9


@dataclass(frozen=True)
class Vertices:
    """Generator vertices; the particles of vertex i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        uid: int64 (vertex,), identity of the vertex, the same in every sample that uses it.
        neutrino_pdg: int64 (vertex,).
        neutrino_energy: float64 (vertex,), MeV.
        weight: float64 (vertex,), generator weight divided by the run's most common one.
        offsets: int64 (vertex + 1,).
        pdg: int64 (particle,).
        momentum: float64 (particle, 3), MeV; the beam runs along z.
        kinetic: float64 (particle,), MeV; energy less the generator's own mass (its electrons have none).
        attributes: how the vertices were made.
    """

    uid: NDArray[np.int64]
    neutrino_pdg: NDArray[np.int64]
    neutrino_energy: NDArray[np.float64]
    weight: NDArray[np.float64]
    offsets: NDArray[np.int64]
    pdg: NDArray[np.int64]
    momentum: NDArray[np.float64]
    kinetic: NDArray[np.float64]
    attributes: dict[str, str]

    def __len__(self) -> int:
        """Return the number of vertices."""
        return len(self.uid)

    def take(self, index: NDArray[np.int64]) -> Vertices:
        """Return the vertices at ``index``, in that order."""
        counts = np.diff(self.offsets)[index]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.offsets[:-1][index] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Vertices(
            self.uid[index],
            self.neutrino_pdg[index],
            self.neutrino_energy[index],
            self.weight[index],
            offsets,
            self.pdg[rows],
            self.momentum[rows],
            self.kinetic[rows],
            self.attributes,
        )


def read_nuhepmc(path: Path, run: str) -> Vertices:
    """Read the final states (status 1, nuclei left out) of an Achilles NuHepMC file.

    The neutrino is the status-2 particle, not the status-4 placeholder of the flux.

    Args:
        path: The HepMC3 text file.
        run: Name of the generator run, seed included: the prefix of the vertices' identities.

    Raises:
        DataError: an event has no neutrino.
    """
    pyhepmc = importlib.import_module("pyhepmc")  # part of the extra "sim", without types

    uid, flavour, energy, weight = [], [], [], []
    counts, pdg, momentum, kinetic = [0], [], [], []
    with pyhepmc.open(str(path)) as stream:
        for number, event in enumerate(stream):
            beam = [p for p in event.particles if p.status == _NEUTRINO_STATUS and abs(p.pid) in (12, 14)]
            if not beam:
                raise DataError(f"{path}: event {number} has no neutrino (status {_NEUTRINO_STATUS}, PDG 12 or 14).")
            final = [p for p in event.particles if p.status == _FINAL_STATE and abs(p.pid) < _NUCLEUS]
            uid.append(identity(run, number))
            flavour.append(beam[0].pid)
            energy.append(beam[0].momentum.e)
            weight.append(event.weights[0])
            counts.append(len(final))
            pdg += [p.pid for p in final]
            momentum += [(p.momentum.px, p.momentum.py, p.momentum.pz) for p in final]
            kinetic += [p.momentum.e - max(p.momentum.m(), 0.0) for p in final]
    return Vertices(
        uid=np.array(uid, dtype=np.int64),
        neutrino_pdg=np.array(flavour, dtype=np.int64),
        neutrino_energy=np.array(energy, dtype=np.float64),
        weight=np.array(weight, dtype=np.float64) / float(np.median(weight)),
        offsets=np.cumsum(counts, dtype=np.int64),
        pdg=np.array(pdg, dtype=np.int64),
        momentum=np.array(momentum, dtype=np.float64).reshape(-1, 3),
        kinetic=np.array(kinetic, dtype=np.float64),
        attributes={},
    )


def join_vertices(parts: list[Vertices]) -> Vertices:
    """Return the vertices of all parts, one after another, with the first part's attributes."""
    counts = np.concatenate([[0], *[np.diff(p.offsets) for p in parts]])
    return Vertices(
        uid=np.concatenate([p.uid for p in parts]),
        neutrino_pdg=np.concatenate([p.neutrino_pdg for p in parts]),
        neutrino_energy=np.concatenate([p.neutrino_energy for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
        offsets=np.cumsum(counts, dtype=np.int64),
        pdg=np.concatenate([p.pdg for p in parts]),
        momentum=np.concatenate([p.momentum for p in parts]),
        kinetic=np.concatenate([p.kinetic for p in parts]),
        attributes=parts[0].attributes,
    )


_STORED: dict[str, Any] = {
    "uid": np.int64,
    "neutrino_pdg": np.int16,
    "neutrino_energy": np.float32,
    "weight": np.float32,
    "offsets": np.int32,
    "pdg": np.int16,
    "momentum": np.float32,
    "kinetic": np.float32,
}


def save_vertices(path: Path, vertices: Vertices) -> None:
    """Write vertices to HDF5, one dataset per attribute, momenta as float32."""
    with write_whole(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        for name, kind in _STORED.items():
            data = getattr(vertices, name).astype(kind)
            file.create_dataset(name, data=data, compression="gzip", compression_opts=9, shuffle=True)
        file.attrs.update(vertices.attributes)


def load_vertices(path: Path) -> Vertices:
    """Read vertices that ``save_vertices`` wrote.

    Raises:
        DataError: the file cannot be opened or lacks a column.
    """
    wide = {"uid": np.int64, "neutrino_pdg": np.int64, "offsets": np.int64, "pdg": np.int64}
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    with open_hdf5(path) as file:
        missing = sorted(set(_STORED) - set(file))
        if missing:
            raise DataError(f"{path}: no column '{missing[0]}'; it has {', '.join(sorted(file))}.")
        columns = {name: file[name][...].astype(wide.get(name, np.float64)) for name in _STORED}
        attributes = {name: str(value) for name, value in file.attrs.items()}
    return Vertices(attributes=attributes, **columns)
