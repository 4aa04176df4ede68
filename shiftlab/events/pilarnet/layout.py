"""Revisions of the PILArNet-M layout: flat arrays of variable length, told apart by the widths that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import reading
from shiftlab.events.hdf5.rows import refuse_broken_rows, row_type

__all__ = ["DATASETS", "POINT", "Layout", "detect", "entries", "open_datasets", "refuse_width", "where"]

POINT: Final = ("x", "y", "z", "value", "dE", "t", "n_electrons", "dx")
"""Columns of ``point`` in every revision, as the data set's card lists them."""

DATASETS: Final[Mapping[str, str]] = {
    "point": "f",
    "cluster": "iu",
    "cluster_extra": "f",
    "cluster_extra_2": "f",
    "interaction_extra": "f",
}
"""Datasets of a file and the kinds of numbers that each may hold; ``point`` and ``cluster`` must be there."""

MOMENTA: Final = 5
"""Width of ``cluster_extra_2``: px, py, pz, PDG code and track number of the parent."""

_OPTIONAL: Final = ("dE", "t", "n_electrons", "dx")
_CLUSTER: Final = (5, 6)
_EXTRA: Final = (5, 6, 9, 11)
_CHECKED: Final = 16
_BLOCK: Final = 1024
_STATED: Final = re.compile(r"\brevision\W{0,3}(v3_extra|v[123])\b")


@dataclass(frozen=True)
class Layout:
    """How the numbers of a file are to be read.

    Attributes:
        revision: ``v1``, ``v2``, ``v3`` or ``v3_extra``.
        cluster: Width of ``cluster``, 5 or 6.
        extra: Width of ``cluster_extra``; 0 where there is none.
        momenta: Whether there is a dataset ``cluster_extra_2``.
        blank: Columns of ``point`` that hold NaN only.
        why: What decided the revision.
    """

    revision: str
    cluster: int
    extra: int
    momenta: bool
    blank: frozenset[str]
    why: str


@dataclass(frozen=True)
class _Probe:
    """One event of those that decide: its row in the file and the numbers of its entries."""

    row: int
    point: NDArray[Any]
    cluster: NDArray[Any]
    extra: NDArray[Any] | None


def where(dataset: Any, row: int) -> str:
    """Return file, dataset and row, for a message."""
    return f"{dataset.file.filename}: dataset '{dataset.name.lstrip('/')}', row {row}"


def open_datasets(file: Any) -> dict[str, Any]:
    """Return the datasets of the layout that the file has.

    Raises:
        DataError: one that is needed is missing, one is not a row of flat arrays of the right kind, or their lengths
            differ.
    """
    found: dict[str, Any] = {}
    for name, kinds in DATASETS.items():
        with reading(file.filename):
            # A dataset that is there and damaged is an error, and get() would hide it.
            dataset = file[name] if name in file else None  # noqa: SIM401
            base = row_type(dataset)
            given = f"shape {dataset.shape}, type {dataset.dtype}" if isinstance(dataset, h5py.Dataset) else "a group"
        if dataset is None:
            if name in ("point", "cluster"):
                raise DataError(f"{file.filename}: no dataset '{name}'; it has {', '.join(sorted(file)) or 'nothing'}.")
            continue
        if base is None or base.kind not in kinds:
            given += "" if base is None else f" of {base}"
            wanted = "floating-point numbers" if kinds == "f" else "whole numbers"
            raise DataError(
                f"{file.filename}: dataset '{name}' is {given}; one flat array of {wanted} per event is needed."
            )
        found[name] = dataset
    rows = {name: len(dataset) for name, dataset in found.items()}
    if len(set(rows.values())) > 1:
        lengths = ", ".join(f"{name} {length}" for name, length in rows.items())
        raise DataError(f"{file.filename}: datasets of different lengths: {lengths}; each has one entry per event.")
    with reading(file.filename):
        refuse_broken_rows(Path(file.filename), file, found.values())
    return found


def entries(dataset: Any, events: slice) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return object (event,), the flat arrays of the events, and int64 (event,), how many numbers each has.

    Raises:
        DataError: the file is damaged there.
    """
    try:
        found = dataset[events]
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError, SystemError) as error:
        name = dataset.name.lstrip("/")
        place = f"{dataset.file.filename}: dataset '{name}', rows {events.start} to {events.stop - 1}"
        raise DataError(f"{place}: damaged ({error}).") from error
    return found, np.fromiter(map(len, found), dtype=np.int64, count=len(found))


def refuse_width(dataset: Any, first: int, sizes: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return int64 (event,), the rows of ``width`` numbers that each entry has.

    Raises:
        DataError: an entry is not a whole number of rows; the message names it.
    """
    wrong = np.flatnonzero(sizes % width)
    if len(wrong):
        given = sizes[wrong[0]]
        raise DataError(
            f"{where(dataset, first + wrong[0])}: {given} numbers are not a whole number of rows of {width}."
        )
    return sizes // width


def detect(datasets: Mapping[str, Any], stated: Mapping[str, str]) -> Layout:
    """Return the layout of a file, from up to 16 events spread over it.

    A width fits an event where its clusters add up to its points, or where ``cluster_extra`` has a row per
    cluster. The width that fits most events is taken; the others are bad events, refused when they are read.

    Args:
        datasets: From ``open_datasets``.
        stated: What the file says of itself, as text; ``revision v2`` in it decides between layouts that both fit.

    Raises:
        DataError: no revision fits, more than one does, or the file states another.
    """
    probes = list(_probes(datasets))
    cluster, fitting = _cluster_width(datasets, probes)
    extra = _extra_width(datasets, probes, cluster) if "cluster_extra" in datasets else 0
    momenta = "cluster_extra_2" in datasets
    revisions = _revisions(cluster, extra, momenta)
    what = (
        f"cluster {cluster} wide (fits {fitting} of {len(probes)} events looked at), cluster_extra {extra or 'absent'}"
    )
    what += ", cluster_extra_2 present" if momenta else ""
    file = datasets["point"].file.filename
    if not revisions:
        raise DataError(
            f"{file}: {what}: no revision of PILArNet-M is so (v1: 5, absent; v2: 6, 5; v3: 6, 6, 9 or 11)."
        )
    named = sorted({match for text in stated.values() for match in _STATED.findall(text)})
    if len(named) == 1 and named[0] not in revisions:
        raise DataError(f"{file}: {what}: that is {' or '.join(revisions)}, but the file's attributes say {named[0]}.")
    chosen = named[0] if len(named) == 1 else revisions[0]
    if len(revisions) > 1:
        what += f"; {' and '.join(revisions)} fit, " + (
            "the attributes decide" if len(named) == 1 else "the first is taken"
        )
    return Layout(chosen, cluster, extra, momenta, _blank(datasets["point"], probes), what)


def _probes(datasets: Mapping[str, Any]) -> Iterator[_Probe]:
    count = len(datasets["point"])
    for row in sorted({round(place) for place in np.linspace(0, max(count - 1, 0), min(count, _CHECKED))}):
        one = {n: entries(datasets[n], slice(row, row + 1))[0][0] for n in datasets if n in ("point", "cluster")}
        extra = datasets.get("cluster_extra")
        more = None if extra is None else entries(extra, slice(row, row + 1))[0][0]
        yield _Probe(row, one["point"], one["cluster"], more)


def _fits(probe: _Probe, width: int) -> bool:
    """Say whether clusters of that width add up to the points of the event."""
    if len(probe.cluster) % width or len(probe.point) % len(POINT):
        return False
    sizes = probe.cluster[::width].astype(np.int64)
    return bool((sizes >= 0).all()) and int(sizes.sum()) == len(probe.point) // len(POINT)


def _cluster_width(datasets: Mapping[str, Any], probes: list[_Probe]) -> tuple[int, int]:
    """Return the width of ``cluster`` and how many of the events it fits."""
    if not probes:
        return (6 if "cluster_extra" in datasets else 5), 0
    score = {width: sum(_fits(probe, width) for probe in probes) for width in _CLUSTER}
    best = max(score, key=lambda width: score[width])
    if score[best] == 0:
        probe = probes[0]
        sums = " or ".join(f"{probe.cluster[::w].sum()} (rows of {w})" for w in _CLUSTER)
        raise DataError(
            f"{where(datasets['cluster'], probe.row)}: {len(probe.cluster)} numbers; the first of each row add up to "
            f"{sums}, but the event has {len(probe.point) / len(POINT):g} points: this fits no revision of PILArNet-M, "
            f"and nor do the {len(probes) - 1} other events looked at."
        )
    if len(set(score.values())) == 1:
        # Only events whose numbers fit both ways, say empty ones: what else is in the file decides.
        if "cluster_extra" not in datasets:
            raise DataError(
                f"{datasets['cluster'].file.filename}: the numbers of all {len(probes)} events looked at fit rows of 5 "
                "and of 6 in dataset 'cluster': the revision cannot be told."
            )
        best = 6
    return best, score[best]


def _extra_width(datasets: Mapping[str, Any], probes: list[_Probe], cluster: int) -> int:
    rows = [(len(probe.cluster) // cluster, probe.extra) for probe in probes if _fits(probe, cluster)]
    sizes = [(count, len(extra)) for count, extra in rows if extra is not None and count > 0]
    score = {width: sum(size == count * width for count, size in sizes) for width in _EXTRA}
    best = max(score, key=lambda width: score[width])
    if sizes and score[best] == 0:
        count, size = sizes[0]
        raise DataError(
            f"{datasets['cluster_extra'].file.filename}: dataset 'cluster_extra': {size} numbers for {count} clusters; "
            f"{', '.join(map(str, _EXTRA))} per cluster are known."
        )
    return best


def _revisions(cluster: int, extra: int, momenta: bool) -> tuple[str, ...]:
    """Return the revisions that these widths fit, the oldest first."""
    if cluster == 5:
        return ("v1",) if extra == 0 and not momenta else ()
    known = {0: ("v2", "v3"), 5: ("v2",), 6: ("v3_extra",) if momenta else ("v3",), 9: ("v3_extra",), 11: ("v3_extra",)}
    return known[extra] if not momenta or extra >= 6 else ()


def _blank(dataset: Any, probes: list[_Probe]) -> frozenset[str]:
    """Return the optional columns without any number in the first events that have points."""
    points = np.concatenate([np.zeros(0, np.float32), *(p.point for p in probes if len(p.point) % len(POINT) == 0)])
    first = 0
    while len(points) == 0 and first < len(dataset):
        found, sizes = entries(dataset, slice(first, min(first + _BLOCK, len(dataset))))
        points = np.concatenate([points, *found[sizes % len(POINT) == 0]])
        first += _BLOCK
    table = points.reshape(-1, len(POINT))
    return frozenset(n for n in _OPTIONAL if len(table) and bool(np.isnan(table[:, POINT.index(n)]).all()))
