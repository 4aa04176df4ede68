"""Responses as placement takes them: label-free columns of the events that all tasks saw, and flux modes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.bias.design import Design, read_design
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError, UnknownNameError

__all__ = ["Simulated", "alternate_halves", "catalogue", "flux_modes", "label_free", "of_universes", "read_simulated"]

_FLUX: Final = 0.1
"""Relative change of weight that one unit of a flux mode makes to an event one standard deviation from the mean of
ln E: of the size of the shape uncertainty of neutrino beams, 5 to 10% (MINERvA, arXiv:1607.00704)."""

_FAR: Final = 2.5
"""Standard deviations at which flux modes are cut off, so that weights stay positive up to four of their sigma."""

_JOINT: Final = 64
"""Most joint universes that interactions are measured in: their mean is known to 18% then."""


@dataclass(frozen=True)
class Simulated:
    """The simulated events of a run, in the universes that placement needs.

    Attributes:
        columns: Name, "arm task", to the observable (universe, event), a mean over seeds.
        design: The universes, nominal, one-nuisance and joint ones without recalibration.
        key: int64 (event,), event keys.
        vertex: int64 (event,), uids of the generator vertices.
        sample: (event,), names of the simulated samples.
        weight: (event,), generator weights.
        modes: Name of a flux mode to its change of weight per sigma (event,).
    """

    columns: Mapping[str, Floats]
    design: Design
    key: npt.NDArray[np.int64]
    vertex: npt.NDArray[np.int64]
    sample: npt.NDArray[np.str_]
    weight: Floats
    modes: Mapping[str, Floats]

    def take(self, events: npt.NDArray[np.intp]) -> Simulated:
        """Return the same for some of the events."""
        return replace(
            self,
            columns={name: values[:, events] for name, values in self.columns.items()},
            key=self.key[events],
            vertex=self.vertex[events],
            sample=self.sample[events],
            weight=self.weight[events],
            modes={name: values[events] for name, values in self.modes.items()},
        )


def read_simulated(datasets: Mapping[str, xr.Dataset], arms: Sequence[str], energy: Floats | None) -> Simulated:
    """Return what placement needs of a store.

    Args:
        datasets: Task name to dataset, the tasks whose observables are looked at, all their universes wanted
            (``of_universes``).
        arms: Arms whose observables are looked at.
        energy: (event,), true energy of the events that all tasks saw, in their order; flux modes are made of it.
            None for a flux that is known.

    Raises:
        DataError: no event is in all tasks, or a task lacks universes that another has.
        UnknownNameError: the store has no such arm.
    """
    key, columns = label_free(datasets, arms)
    first = next(iter(datasets.values()))
    place = _places(first["event"].values, key)
    sample = first["sample"].values[place].astype(str)
    return Simulated(
        columns=columns,
        design=read_design(datasets),
        key=key,
        vertex=first["vertex_uid"].values[place].astype(np.int64),
        sample=sample,
        weight=first["weight"].values[place].astype(np.float64),
        modes={} if energy is None else flux_modes(energy, sample),
    )


def label_free(
    datasets: Mapping[str, xr.Dataset], arms: Sequence[str]
) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """Return the keys of the events that all tasks saw, and the observable of each arm and task (universe, event).

    An observable is what a task's answer says without truth. Its mean over seeds is as label-free, and less noisy.

    Raises:
        DataError: no event is in all tasks.
        UnknownNameError: the store has no such arm.
    """
    first = next(iter(datasets.values()))
    known = [str(name) for name in first["arm"].values]
    for arm in arms:
        if arm not in known:
            raise UnknownNameError("arm", arm, known)
    key = first["event"].values.astype(np.int64)
    for data in datasets.values():
        key = key[np.isin(key, data["event"].values)]
    if not len(key):
        raise DataError(f"no event is in all of the tasks {', '.join(datasets)}; place with fewer tasks.")
    columns = {}
    for task, data in datasets.items():
        place = _places(data["event"].values, key)
        for arm in arms:
            values = data["observable"].values[known.index(arm)].astype(np.float64).mean(axis=0)
            columns[f"{arm} {task}"] = np.ascontiguousarray(values[:, place])
    return key, columns


def of_universes(datasets: Mapping[str, xr.Dataset], names: Iterable[str]) -> dict[str, xr.Dataset]:
    """Return the datasets of some universes, in the order of the store."""
    wanted = set(names)
    return {
        task: data.isel(universe=[i for i, name in enumerate(data["universe"].values) if str(name) in wanted])
        for task, data in datasets.items()
    }


def catalogue(design: Design) -> tuple[str, ...]:
    """Return the universes of the catalogue: nominal, one-nuisance and at most 64 joint ones, not recalibrated."""
    found, joint = [], 0
    for name, group, recalibrate in zip(design.names, design.group, design.recalibrate, strict=True):
        joint += group == "multisim" and recalibrate == "none"
        if recalibrate == "none" and (group in ("nominal", "unisim") or (group == "multisim" and joint <= _JOINT)):
            found.append(name)
    return tuple(found)


def flux_modes(energy: Floats, sample: npt.NDArray[np.str_]) -> dict[str, Floats]:
    """Return the change of weight (event,) of a tilt and of a curvature of the energy spectrum, per sigma.

    With x = (ln E - mean) / spread within each simulated sample the tilt is 0.1 x and the curvature
    0.1 (x^2 - 1) / sqrt(2), both without mean there, since normalisations float by themselves.

    Args:
        energy: (event,), true energy in any unit; events without (NaN, or not above 0) keep their weight.
        sample: (event,), names of the simulated samples.
    """
    tilt, curvature = np.zeros(len(energy)), np.zeros(len(energy))
    known = np.isfinite(energy) & (np.nan_to_num(energy) > 0.0)
    for name in np.unique(sample):
        inside = np.flatnonzero(known & (sample == name))
        log = np.log(energy[inside])
        if len(inside) < 2 or not log.std() > 1e-9:
            continue
        x = np.clip((log - log.mean()) / log.std(), -_FAR, _FAR)
        bent = np.clip((x**2 - 1.0) / np.sqrt(2.0), -_FAR, _FAR)
        tilt[inside], curvature[inside] = _FLUX * (x - x.mean()), _FLUX * (bent - bent.mean())
    return {name: mode for name, mode in (("tilt", tilt), ("curvature", curvature)) if mode.any()}


def alternate_halves(
    vertex: npt.NDArray[np.int64], sample: npt.NDArray[np.str_], seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the places of two disjoint halves of the events: no vertex is in both, every sample is cut in two."""
    rng = np.random.default_rng(seed)
    second = np.zeros(len(vertex), dtype=np.bool_)
    for name in np.unique(sample):
        inside = sample == name
        own = np.unique(vertex[inside])
        second |= inside & np.isin(vertex, rng.permutation(own)[: len(own) // 2])
    return np.flatnonzero(~second), np.flatnonzero(second)


def _places(have: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return where the wanted keys, all of which are there, stand among those that are there."""
    order = np.argsort(have, kind="stable")
    return np.asarray(order[np.searchsorted(have[order], wanted)])
