"""Responses: the output of every head for every event in every universe, kept in one netCDF file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import h5netcdf
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import H5NetCDFStore

from shiftlab.errors import DataError, UnknownNameError
from shiftlab.provenance import canonical_json, write_whole

__all__ = ["Responses"]

_DIMS: Final[Mapping[str, tuple[str, ...]]] = {
    "output": ("arm", "seed", "universe", "event", "output"),
    "observable": ("arm", "seed", "universe", "event"),
    "selected": ("arm", "seed", "universe", "event"),
    "truth": ("event", "truth_column"),
    "evaluated": ("event",),
    "vertex_uid": ("event",),
    "weight": ("event",),
    "sample": ("event",),
    "group": ("universe",),
    "throw": ("universe",),
    "recalibrate": ("universe",),
    "nuisance_value": ("universe", "nuisance"),
}
"""What every task's dataset holds, and over which dimensions."""

_SHARED: Final = ("arm", "seed", "universe", "nuisance", "group", "throw", "recalibrate", "nuisance_value")
"""What all tasks have in common."""

_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "scrambling": ("universe",),
    "prior_correlation": ("nuisance", "other_nuisance"),
}
"""What stores may leave out (no scramblings; independent nuisances) and tasks have in common, and its dimensions."""

_FINITE: Final = ("output", "observable", "weight", "nuisance_value")

_PACKED: Final = ("output", "observable")

_PACKING: Final[Mapping[str, Any]] = {"zlib": True, "complevel": 4, "shuffle": True}

_TYPES: Final[Mapping[str, type[np.generic]]] = {
    "output": np.float32,
    "observable": np.float32,
    "selected": np.bool_,
    "truth": np.float64,
    "evaluated": np.bool_,
    "event": np.int64,
    "vertex_uid": np.int64,
    "weight": np.float64,
    "seed": np.int64,
    "throw": np.int64,
    "scrambling": np.int64,
    "prior_correlation": np.float64,
    "empty": np.int64,
    "left_out": np.int64,
    "nuisance_value": np.float64,
    "one_sided": np.bool_,
    "emulated": np.bool_,
}
"""Types in memory (netCDF has no bool); everything else is text."""


@dataclass(frozen=True)
class Responses:
    """Outputs of all arms and seeds in all universes, one dataset per task.

    Attributes:
        datasets: task name to dataset. Variables: ``output`` float32 (arm, seed, universe, event,
            output), what the head gave; ``observable`` float32 and ``selected`` bool (arm, seed,
            universe, event), what is histogrammed and whether the event passes the analysis
            selection in that universe; ``truth`` float64 (event, truth_column), NaN only where not
            evaluated; ``evaluated`` bool (event), the evaluation set. Coordinates: ``arm``, ``seed``,
            ``universe``, ``event`` (the event key), ``vertex_uid``, ``weight``, ``sample`` (event),
            ``group``, ``throw``, ``recalibrate``, ``empty`` (universe), the number of events without
            a voxel, ``left_out`` (universe), the number of events of more tokens than a network may be
            shown, ``nuisance_value`` (universe, nuisance) in sigma, ``one_sided``
            (nuisance), whether its parameter exists on one side of nominal only (two-sided where left out),
            ``scrambling`` (universe), the number of a joint universe's Sobol scrambling (0 for the only one or
            none, also where left out), and ``prior_correlation`` (nuisance, other_nuisance), where nuisances are
            correlated in the prior.
            Attributes: ``statistic``, ``unit``, ``observable_label``.
        attrs: identity and provenance, plain values that JSON can hold.

    Raises:
        DataError: a variable or dimension is missing, a name or event key occurs twice, a number
            is not finite, or two tasks disagree on arms, seeds, universes or an event's record.
    """

    datasets: Mapping[str, xr.Dataset]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse datasets that later steps could not trust."""
        if not self.datasets:
            raise DataError("responses without a task.")
        for task, data in self.datasets.items():
            _check(task, data)
        names = list(self.datasets)
        for task in names[1:]:
            _check_pair(names[0], self.datasets[names[0]], task, self.datasets[task])

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(self.datasets)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(str(name) for name in self._first["arm"].values)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(int(seed) for seed in self._first["seed"].values)

    @property
    def universes(self) -> tuple[str, ...]:
        """Names of the universes, in order."""
        return tuple(str(name) for name in self._first["universe"].values)

    @property
    def emulated(self) -> tuple[str, ...]:
        """Names of the universes that no network was run in (``shiftlab.responses.emulation``), in order."""
        first = self._first
        marked = first["emulated"].values if "emulated" in first.coords else np.zeros(first.sizes["universe"])
        return tuple(name for name, mark in zip(self.universes, marked, strict=True) if mark)

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisances, in order."""
        return tuple(str(name) for name in self._first["nuisance"].values)

    def task(self, name: str) -> xr.Dataset:
        """Return the dataset of one task.

        Raises:
            UnknownNameError: there is no such task.
        """
        if name not in self.datasets:
            raise UnknownNameError("task", name, self.datasets)
        return self.datasets[name]

    @property
    def _first(self) -> xr.Dataset:
        return next(iter(self.datasets.values()))

    def save(self, path: Path | str) -> None:
        """Write one netCDF-4 group per task, whole; equal responses give equal bytes.

        Raises:
            RunError: the file cannot be written; a previous one stays.
        """
        image = io.BytesIO()  # HDF5 aborts the process on a full disk, so it never writes to one itself
        with h5netcdf.File(image, "w") as file:
            file.attrs["shiftlab"] = canonical_json(dict(self.attrs))
            file.attrs["tasks"] = canonical_json(self.tasks)
            for task, data in self.datasets.items():
                data.dump_to_store(H5NetCDFStore(file, group=task), encoding=dict.fromkeys(_PACKED, _PACKING))
        with write_whole(Path(path)) as temporary:
            temporary.write_bytes(image.getbuffer())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, truncated, not netCDF-4 or not from ``save``.
        """
        try:
            with xr.open_dataset(path, engine="h5netcdf") as head:
                attrs = json.loads(head.attrs["shiftlab"])
                tasks = json.loads(head.attrs["tasks"])
            datasets = {}
            for task in tasks:
                with xr.open_dataset(path, group=task, engine="h5netcdf", decode_times=False) as data:
                    datasets[task] = _typed(data.load())
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"cannot read responses from '{path}': {error}.") from error
        return cls(datasets, attrs)


def _typed(data: xr.Dataset) -> xr.Dataset:
    """Give every variable the type that it has in memory."""
    for name, variable in data.variables.items():
        data[name] = (variable.dims, variable.values.astype(_TYPES.get(str(name), np.str_)), variable.attrs)
    return data.drop_encoding()


def _check(task: str, data: xr.Dataset) -> None:
    for name, dims in _DIMS.items():
        if name not in data.variables:
            raise DataError(f"responses of task '{task}' have no variable '{name}'.")
        if data[name].dims != dims:
            raise DataError(f"responses of task '{task}': '{name}' has dimensions {data[name].dims}, not {dims}.")
    for name, dims in _OPTIONAL.items():
        if name in data.variables and data[name].dims != dims:
            raise DataError(f"responses of task '{task}': '{name}' has dimensions {data[name].dims}, not {dims}.")
    for name in ("arm", "seed", "universe", "nuisance", "event"):
        if name not in data.indexes:
            raise DataError(f"responses of task '{task}' have no coordinate '{name}'.")
        index = data.indexes[name]
        if not index.is_unique:
            raise DataError(f"responses of task '{task}': {name} '{index[index.duplicated()][0]}' occurs twice.")
    for name in _FINITE:
        _refuse_not_finite(task, data, name, np.isfinite(data[name].values))
    judged = ~data["evaluated"].values[:, None] | np.isfinite(data["truth"].values)
    _refuse_not_finite(task, data, "truth", judged)


def _refuse_not_finite(task: str, data: xr.Dataset, name: str, finite: NDArray[np.bool_]) -> None:
    if not finite.all():
        where = np.argwhere(~finite)[0]
        place = ", ".join(f"{dim} {_label(data, dim, int(i))}" for dim, i in zip(_DIMS[name], where, strict=True))
        raise DataError(
            f"responses of task '{task}': {int((~finite).sum())} of {finite.size} values of '{name}' are not finite, "
            f"the first at {place}."
        )


def _label(data: xr.Dataset, dim: str, position: int) -> str:
    return str(data[dim].values[position]) if dim in data.coords else str(position)


def _check_pair(first: str, a: xr.Dataset, second: str, b: xr.Dataset) -> None:
    for name in _SHARED:
        if not np.array_equal(a[name].values, b[name].values):
            raise DataError(f"responses of tasks '{first}' and '{second}' differ in '{name}'; make them in one call.")
    for name in _OPTIONAL:
        if (name in a.variables) != (name in b.variables) or (
            name in a.variables and not np.array_equal(a[name].values, b[name].values)
        ):
            raise DataError(f"responses of tasks '{first}' and '{second}' differ in '{name}'; make them in one call.")
    _, in_a, in_b = np.intersect1d(a["event"].values, b["event"].values, return_indices=True)
    for name in ("vertex_uid", "weight", "sample"):
        unequal = a[name].values[in_a] != b[name].values[in_b]
        if unequal.any():
            key = int(a["event"].values[in_a][unequal][0])
            raise DataError(f"event {key} has another '{name}' in task '{first}' than in task '{second}'.")
