"""Reader of PILArNet-M (HDF5): voxels of simulated liquid-argon events with labels, revisions v1, v2, v3 and v3_extra.

The data set holds events of many particles (Geant4) in 768^3 voxels of 3 mm and does not say where the anode is. The
reader takes x as the distance to the anode, as the virtual detector ``configs/detector/pilarnet.yaml`` declares.
Layout, units and sentinels are those of the data set's card and of the readers that its authors publish
(arXiv:2502.02558, arXiv:2512.01324).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import h5py
import numpy as np
import torch

from shiftlab.errors import DataError
from shiftlab.events.content import content_name, row_keys
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.hdf5.file import open_hdf5, reading, recognised
from shiftlab.events.pilarnet.clusters import Clusters, particle_table, read_clusters
from shiftlab.events.pilarnet.layout import Layout, detect, entries, open_datasets, where
from shiftlab.events.pilarnet.points import PITCH, Points, read_points
from shiftlab.events.reader import Description, Origin, Reader, Source

__all__ = ["PilarnetReader", "PilarnetSource"]

_LEVEL: Final = {"t": "time", "n_electrons": "electrons", "dx": "length"}
_UNITS: Final = {"position": "cm", "energy": "MeV", "length": "cm", "electrons": "1", "time": "ns"}
_LONGEST: Final = 160
_SHOWN: Final = 8

_PLAIN: Final = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
"""Types of attributes that are read; the library does not survive damaged ones of some others."""


class PilarnetReader(Reader):
    """Files of PILArNet-M; the revision is told by widths and datasets, not by the file's name."""

    name: ClassVar[str] = "pilarnet"
    summary: ClassVar[str] = "PILArNet-M HDF5 datasets point, cluster (cluster_extra): one flat array per event"

    def accepts(self, path: Path) -> bool:
        """Say whether there are datasets ``point`` and ``cluster``, one at least with an array per row."""
        return recognised(path, self.accepts_hdf5)

    def accepts_hdf5(self, file: Any) -> bool:
        """Say the same of an open file."""
        found = [file.get(name) for name in ("point", "cluster")]
        if not all(isinstance(one, h5py.Dataset) for one in found):
            return False
        return any(h5py.check_vlen_dtype(one.dtype) is not None for one in found)

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: it is not whole, its datasets are not those of the layout, or no revision fits.
        """
        with open_hdf5(path) as file:
            yield PilarnetSource(path, file, origin)


class PilarnetSource(Source):
    """An open file; its events are the rows of its datasets."""

    def __init__(self, path: Path, file: Any, origin: Origin) -> None:
        """Find out the layout."""
        super().__init__(path)
        self._origin = origin
        self._datasets = open_datasets(file)
        with reading(path):
            self._stated = {str(name): _text(file.attrs, name) for name in file.attrs}
        self._layout = detect(self._datasets, {name: f"{name}: {text}" for name, text in self._stated.items()})
        self._uid = _uid(self._datasets, self._layout)

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._datasets["point"])

    @property
    def _dataset(self) -> str:
        return f"pilarnet-m/{self._layout.revision}"

    @property
    def _missing(self) -> tuple[str, ...]:
        """What deposits may have and this file does not."""
        absent = [level for column, level in _LEVEL.items() if column in self._layout.blank]
        return tuple(sorted(absent + (["particle"] if self._layout.revision == "v1" else [])))

    def describe(self) -> Description:
        """Return what is in the file, and what was decided about it."""
        stated = {
            name: text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..." for name, text in self._stated.items()
        }
        return Description(
            format="pilarnet",
            dialect=self._layout.revision,
            holds="deposits",
            events=len(self),
            rows={name: len(dataset) for name, dataset in self._datasets.items()},
            units={name: unit for name, unit in _UNITS.items() if name not in self._missing},
            missing=self._missing,
            dataset=self._dataset,
            attributes={**stated, **_decisions(self._layout)},
        )

    def read(self, events: slice) -> Deposits:
        """Return the events; a voxel is one deposit at its centre, and an event without voxels keeps its place.

        Raises:
            DataError: an event is bad; the message names file, dataset and row.
        """
        clusters = read_clusters(self._datasets, events, self._layout)
        points = read_points(self._datasets["point"], events, self._layout, self._origin)
        self._refuse_unequal(events.start, clusters, points)
        return Deposits(
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(points.counts)]).astype(np.int64)),
            position=torch.from_numpy(points.position),
            energy=torch.from_numpy(points.energy),
            length=torch.from_numpy(points.length),
            events=self._table(events, points),
            electrons=None if points.electrons is None else torch.from_numpy(points.electrons),
            particles=particle_table(clusters, self._layout, PITCH, self._origin),
            missing=self._missing,
            **clusters.labels(),
        )

    def _refuse_unequal(self, first: int, clusters: Clusters, points: Points) -> None:
        total = clusters.points
        wrong = np.flatnonzero(total != points.counts)
        if len(wrong):
            event = int(wrong[0])
            raise DataError(
                f"{where(self._datasets['cluster'], first + event)}: the clusters have {total[event]} points in all; "
                f"dataset 'point' has {points.counts[event]} in that row."
            )

    def _table(self, events: slice, points: Points) -> EventTable:
        key = row_keys(self._uid, np.arange(events.start, events.stop))
        count = len(key)
        nothing = torch.full((count,), float("nan"), dtype=torch.float64)
        return EventTable(
            key=key,
            vertex=key.clone(),
            weight=torch.ones(count, dtype=torch.float64),
            sample=("pilarnet",) * count,
            truth={
                "visible_energy": torch.from_numpy(points.visible),
                "neutrino_pdg": torch.zeros(count, dtype=torch.float64),
                "neutrino_energy": nothing,
                "em_class": nothing.clone(),
            },
            selected=torch.ones(count, dtype=torch.bool),
            dataset=self._dataset,
        )


def _uid(datasets: Mapping[str, Any], layout: Layout) -> str:
    """Return a name of the file's content: revision, number of events, and all numbers of the first and last event."""
    count = len(datasets["point"])
    content = [np.array([count])]
    for name, kind in (("point", "<f4"), ("cluster", "<i8")):
        for row in sorted({0, count - 1}) if count else ():
            content.append(np.asarray(entries(datasets[name], slice(row, row + 1))[0][0], dtype=kind))
    return content_name(f"pilarnet-m/{layout.revision}", content)


def _decisions(layout: Layout) -> dict[str, str]:
    """Return what the reader decided about the file, and why."""
    vertex = {
        "v1": "none in the file",
        "v2": "NaN, since the file's are not in the frame of the voxels" if layout.extra else "none in the file",
    }
    return {
        "decided: drift": "x is taken as the distance to the anode; the data set does not say",
        "decided: energy": "column value, since dE is NaN" if "dE" in layout.blank else "column dE",
        "decided: revision": layout.why,
        "decided: vertex": vertex.get(layout.revision, f"{PITCH} cm times the file's voxel coordinate"),
    }


def _text(attributes: Any, name: str) -> str:
    """Return an attribute as text; what is neither text nor number, and may be a pickle, is not opened."""
    if not isinstance(attributes.get_id(name).get_type(), _PLAIN):
        return "neither text nor number, not opened"
    value = attributes[name]
    many = value.ravel()[: _SHOWN + 1].tolist() if isinstance(value, np.ndarray) else [value]
    return ", ".join(str(one) for one in many[:_SHOWN]) + (", ..." if len(many) > _SHOWN else "")
