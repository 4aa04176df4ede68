"""Clusters of PILArNet-M: labels of the voxels, and one true particle per group from its leading cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.particles import ParticleTable
from shiftlab.events.pilarnet.layout import MOMENTA, Layout, entries, refuse_width, where
from shiftlab.events.reader import Origin

__all__ = ["Clusters", "particle_table", "read_clusters"]

_COLUMNS: Final = ("n_points", "fragment", "group", "interaction", "semantic", "pid")
_EXTRA: Final = ("mass", "momentum", "vertex_x", "vertex_y", "vertex_z", "primary")
_VECTOR: Final = ("momentum_x", "momentum_y", "momentum_z")
_MEV: Final = 1000.0
"""MeV per GeV."""

_RANGES: Final = {"group": (-1, 2**31 - 1), "interaction": (-1, 2**31 - 1), "semantic": (0, 4), "pid": (-1, 5)}
"""Smallest and largest label. 5 is SPINE's kaon and becomes ``other``, which has the same number here."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """Clusters of many events, in the order of their voxels.

    Attributes:
        event: int64 (cluster,), index of the event among those that were read.
        counts: int64 (event,), clusters of each event.
        columns: int64 (cluster,) by name: n_points, fragment, group, interaction, semantic and, but for v1, pid.
        extra: float64 (cluster,) by name, as the file has them: mass (MeV), momentum (GeV), vertex, ...
    """

    event: Ints
    counts: Ints
    columns: Mapping[str, Ints]
    extra: Mapping[str, Floats]

    @property
    def points(self) -> Ints:
        """int64 (event,): voxels that the clusters of each event have in all."""
        total = np.zeros(len(self.counts), dtype=np.int64)
        np.add.at(total, self.event, self.columns["n_points"])
        return total

    def labels(self) -> dict[str, torch.Tensor]:
        """Return semantic class (int8), particle id (int8, -1 in v1) and instance (int32) of every voxel."""
        size = self.columns["n_points"]
        pid = self.columns.get("pid", np.full(len(size), -1))
        columns: dict[str, NDArray[np.int8] | NDArray[np.int32]] = {
            "semantic": self.columns["semantic"].astype(np.int8),
            "particle": pid.astype(np.int8),
            "instance": self.columns["group"].astype(np.int32),
        }
        return {name: torch.from_numpy(np.repeat(column, size)) for name, column in columns.items()}


def read_clusters(datasets: Mapping[str, Any], events: slice, layout: Layout) -> Clusters:
    """Return the clusters of the events of a file, with the numbers of ``cluster_extra``.

    Raises:
        DataError: an entry is not whole rows, a label is out of its range, or datasets disagree in their rows.
    """
    dataset = datasets["cluster"]
    table, counts = _table(dataset, events, layout.cluster)
    event = np.repeat(np.arange(len(counts)), counts)
    columns = {name: table[:, i].astype(np.int64) for i, name in enumerate(_COLUMNS[: layout.cluster])}
    for name, (low, high) in {"n_points": (0, 2**31 - 1), **_RANGES}.items():
        if name not in columns:
            continue
        bad = (columns[name] < low) | (columns[name] > high)
        if bad.any():
            place = _cluster(dataset, events.start, counts, int(np.flatnonzero(bad)[0]))
            raise DataError(f"{place}: {name} is {columns[name][bad][0]}; allowed: {low} to {high}.")
    extra: dict[str, Floats] = {}
    if layout.extra:
        names = _EXTRA[: min(layout.extra, len(_EXTRA))] + (_VECTOR if layout.extra >= 9 else ())
        extra |= _extra(datasets["cluster_extra"], events, layout.extra, names, counts)
    if layout.momenta:
        extra |= _extra(datasets["cluster_extra_2"], events, MOMENTA, _VECTOR, counts)
    return Clusters(event, counts, columns, extra)


def _table(dataset: Any, events: slice, width: int) -> tuple[NDArray[Any], Ints]:
    """Return the rows of the events' entries, one below the other, and int64 (event,), how many each has."""
    found, sizes = entries(dataset, events)
    counts = refuse_width(dataset, events.start, sizes, width)
    return np.concatenate(found).reshape(-1, width), counts


def _extra(dataset: Any, events: slice, width: int, names: tuple[str, ...], clusters: Ints) -> dict[str, Floats]:
    """Return columns of a dataset that has a row per cluster; what is not finite or not allowed is refused."""
    table, counts = _table(dataset, events, width)
    wrong = np.flatnonzero(counts != clusters)
    if len(wrong):
        place = where(dataset, events.start + int(wrong[0]))
        raise DataError(f"{place}: {counts[wrong[0]]} rows; dataset 'cluster' has {clusters[wrong[0]]} there.")
    # A NaN that signals, as damage leaves it, is refused below.
    with np.errstate(invalid="ignore"):
        values = {name: table[:, i].astype(np.float64) for i, name in enumerate(names)}
    for name, column in values.items():
        bad = ~np.isfinite(column)
        allowed = "a finite number"
        if name in ("mass", "momentum"):
            bad |= (column < 0) & (column != -1)
            allowed += ", not negative, or -1 for none"
        if name == "primary":
            bad |= (column != -1) & (column != 0) & (column != 1)
            allowed = "1, 0, or -1 for unknown"
        if bad.any():
            place = _cluster(dataset, events.start, counts, int(np.flatnonzero(bad)[0]))
            raise DataError(f"{place}: {name} is {column[bad][0]}; allowed: {allowed}.")
    return values


def _cluster(dataset: Any, first: int, counts: Ints, row: int) -> str:
    """Return file, dataset, row of the event and number of the cluster within it."""
    ends = np.cumsum(counts)
    event = int(np.searchsorted(ends, row, side="right"))
    return f"{where(dataset, first + event)}, cluster {row - int(ends[event] - counts[event])}"


def leading(clusters: Clusters) -> Ints:
    """Return int64 (particle,): the leading cluster of each group, by event and group number.

    It is the cluster that bears the group's number, else the largest, else the first: groups of electromagnetic
    showers have clusters of different momenta, and only this one's are those of the particle.
    """
    columns = clusters.columns
    whose = columns["group"] >= 0
    # Event and group in one number, which sorts as the pair does: groups are below 2^31.
    group = clusters.event * 2**31 + columns["group"]
    named = np.flatnonzero(whose & (columns["fragment"] == columns["group"]))
    others = np.flatnonzero(whose & (columns["fragment"] != columns["group"]))
    others = others[~np.isin(group[others], group[named])]
    others = others[np.lexsort((-columns["n_points"][others], group[others]))]
    named = named[np.lexsort((-columns["n_points"][named], group[named]))]
    found = np.concatenate([_first_of_each(named, group), _first_of_each(others, group)])
    return found[np.argsort(group[found], kind="stable")]


def _first_of_each(rows: Ints, group: Ints) -> Ints:
    """Return the first of ``rows``, which are sorted by group, of each group."""
    return np.asarray(rows[np.diff(group[rows], prepend=-1) != 0])


def particle_table(clusters: Clusters, layout: Layout, pitch: float, origin: Origin) -> ParticleTable:
    """Return one particle per group, with the truth of its leading cluster; the sentinel -1 becomes NaN.

    Args:
        clusters: Of the events.
        layout: Of the file; only v3 and v3_extra have vertices in the frame of the voxels, those of v2 are NaN.
        pitch: Edge of a voxel, cm; a vertex is a point, so coordinate v lies at ``pitch * v``.
        origin: Subtracted from vertices, cm.
    """
    rows = leading(clusters)
    columns = {"number": clusters.columns["group"][rows], "interaction": clusters.columns["interaction"][rows]}
    if "pid" in clusters.columns:
        columns["particle"] = clusters.columns["pid"][rows]
    found = {name: column[rows] for name, column in clusters.extra.items()}
    table: dict[str, Floats] = {name: column.astype(np.float64) for name, column in columns.items()}
    for name, unit in (("mass", 1.0), ("momentum", _MEV), ("primary", 1.0)):
        if name in found:
            table[name] = np.where(found[name] == -1, np.nan, found[name] * unit)
    if "momentum_x" in found:
        none = np.logical_and.reduce([found[name] == -1 for name in _VECTOR])
        table |= {name: np.where(none, np.nan, found[name] * _MEV) for name in _VECTOR}
    if "vertex_x" in found:
        axes = ("vertex_x", "vertex_y", "vertex_z")
        none = np.logical_and.reduce([found[name] == -1 for name in axes]) | (layout.revision == "v2")
        table |= {name: np.where(none, np.nan, found[name] * pitch - origin[i]) for i, name in enumerate(axes)}
    counts = np.bincount(clusters.event[rows], minlength=len(clusters.counts))
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return ParticleTable(offsets, {name: torch.from_numpy(column) for name, column in table.items()})
