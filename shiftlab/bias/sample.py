"""The evaluation sample of one task: its events, their weights in every bootstrap replica, and the data exposure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.bias.admission import refuse_other_record
from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.statistic import Floats, Statistic
from shiftlab.errors import ConfigError, DataError, UnknownNameError

__all__ = ["Sample", "check_exposure", "read_sample", "read_samples"]

_BLOCK: Final = 2**25
"""Most numbers in one block of weights (256 MiB)."""

_UNIVERSES: Final = 64
"""Universes scored in one call: enough columns for a matrix product to run at full speed."""


@dataclass(frozen=True)
class Sample:
    """Evaluated events of one task; bootstrap replica 0 is the sample itself.

    Attributes:
        task: Name of the task.
        index: int64 (event,), where the evaluated events are in the store.
        key: int64 (event,), event keys.
        vertex: int64 (event,), uids of the generator vertices.
        weight: (event,), generator weight, scaled to mean 1 within each simulated sample since
            the normalisations of different generators cannot be compared.
        sample: (event,), number of the simulated sample in ``samples``.
        samples: Names of the simulated samples.
        truth: (event, column).
    """

    task: str
    index: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]
    vertex: npt.NDArray[np.int64]
    weight: Floats
    sample: npt.NDArray[np.int64]
    samples: tuple[str, ...]
    truth: Floats

    def weights(self, replicas: range, seed: int, events: slice = slice(None)) -> Floats:
        """Return bootstrap times generator weights of some events, (replica, event); replica 0 has no bootstrap."""
        drawn = poisson_weights(self.vertex[events], replicas, seed)
        if 0 in replicas:
            drawn[replicas.index(0)] = 1.0
        drawn *= self.weight[events]
        return drawn

    @property
    def names(self) -> npt.NDArray[np.str_]:
        """(event,): name of each event's simulated sample."""
        return np.array(self.samples)[self.sample]

    def agrees(self, other: Sample) -> bool:
        """Return whether two tasks evaluate the same events, in the same order and with the same weights."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("key", "vertex", "weight", "sample"))
        return self.samples == other.samples and all(np.array_equal(a, b) for a, b in pairs)

    def resampling_only(self, weights: Floats, number: int) -> Floats:
        """Return the weights with only one simulated sample resampled, the others as they are."""
        if len(self.samples) == 1:
            return weights
        return np.where(self.sample == number, weights, self.weight)

    def blocks(self, replicas: int) -> Iterator[range]:
        """Give replicas 0 to ``replicas`` - 1 in blocks whose weights fit into memory."""
        step = max(1, _BLOCK // len(self.index))
        for start in range(0, replicas, step):
            yield range(start, min(start + step, replicas))

    def score(self, statistic: Statistic, outputs: Floats, weights: Floats) -> Floats:
        """Return the statistic of each universe and replica, (universe, replica).

        Args:
            statistic: The task.
            outputs: (universe, event, output).
            weights: (replica, event).

        Raises:
            DataError: a replica has no value, because too few vertices are left in it.
        """
        starts = range(0, len(outputs), _UNIVERSES)
        values = np.concatenate([statistic.score(outputs[i : i + _UNIVERSES], self.truth, weights) for i in starts])
        self.refuse_undefined(statistic, values)
        return np.asarray(values, dtype=np.float64)

    def refuse_undefined(self, statistic: Statistic, values: Floats) -> None:
        """Refuse values (..., replica) of which some are not finite.

        Raises:
            DataError: a replica has no value, because too few vertices are left in it.
        """
        finite: npt.NDArray[np.bool_] = np.isfinite(values.reshape(-1, values.shape[-1]))
        undefined: npt.NDArray[np.bool_] = np.logical_not(finite.all(axis=0))
        if undefined.any():
            raise DataError(
                f"task '{self.task}': {statistic.statistic} has no value in {int(undefined.sum())} of {len(undefined)} "
                f"bootstrap replicas of {len(self.index)} evaluated events: too few events, or a class with hardly any."
            )

    def effective(self, number: int) -> float:
        """Return (sum w)^2 / sum w^2 over the vertices of one simulated sample, w summed by vertex."""
        inside = self.sample == number
        _, which = np.unique(self.vertex[inside], return_inverse=True)
        weight = np.bincount(which, weights=self.weight[inside])
        return float(weight.sum() ** 2 / (weight**2).sum())

    def data_error(self, resampled: Floats, exposure: Mapping[str, float]) -> Floats:
        """Return the statistical error of the statistic of each head for a data exposure, (head,).

        The variance is the sum over simulated samples s of the bootstrap variance with only s
        resampled, times n_effective(s) / n_data(s): the composition of the statistic stays that
        of the evaluation sample, the size of each part becomes that of the data. A sample that the
        exposure does not name counts with its own size (factor 1). With one sample this is the
        bootstrap error times sqrt(n_effective / n_data).

        Args:
            resampled: (simulated sample, head, replica), the statistic with only that sample resampled.
            exposure: Expected number of data events per simulated sample.
        """
        effective = [self.effective(number) for number in range(len(self.samples))]
        data = [exposure.get(name, size) for name, size in zip(self.samples, effective, strict=True)]
        factor = np.divide(effective, data)[:, None]
        return np.asarray(np.sqrt((factor * resampled.var(axis=2, ddof=1)).sum(axis=0)), dtype=np.float64)


def read_sample(task: str, data: xr.Dataset) -> Sample:
    """Return the evaluated events of one task.

    Raises:
        DataError: an event is there twice, fewer than two vertices are evaluated, or the weights
            of a simulated sample do not add up to a positive number.
    """
    index = np.flatnonzero(data["evaluated"].values.astype(bool))
    key = data["event"].values.astype(np.int64)[index]
    vertex = data["vertex_uid"].values.astype(np.int64)[index]
    ordered = np.sort(key)
    if (ordered[1:] == ordered[:-1]).any():
        unique, times = np.unique(key, return_counts=True)
        raise DataError(f"task '{task}': event key {unique[times > 1][0]} is in the responses {times.max()} times.")
    vertices = len(np.unique(vertex))
    if vertices < 2:
        raise DataError(f"task '{task}': {len(index)} evaluated events from {vertices} vertices; 2 or more are needed.")
    number, samples = pd.factorize(data["sample"].values.astype(str)[index], sort=True)
    weight = data["weight"].values.astype(np.float64)[index]
    mean = np.bincount(number, weights=weight) / np.bincount(number)
    if not np.all(mean > 0.0):
        name = samples[~(mean > 0.0)][0]
        raise DataError(f"task '{task}': the event weights of sample '{name}' do not add up to more than 0.")
    return Sample(
        task=task,
        index=index,
        key=key,
        vertex=vertex,
        weight=weight / mean[number],
        sample=number.astype(np.int64),
        samples=tuple(str(name) for name in samples),
        truth=_truth(data, index),
    )


def read_samples(datasets: Mapping[str, xr.Dataset]) -> dict[str, Sample]:
    """Return the evaluated events of every task; tasks that evaluate the same events share their columns in memory.

    Raises:
        DataError: as ``read_sample``; or the same event key belongs to another vertex or simulated sample in one task
            than in another, which do not speak of the same events then: how many, and which.
    """
    found: dict[str, Sample] = {}
    kinds: dict[str, Sample] = {}
    for name, data in datasets.items():
        same = next((first for first in kinds if _same_record(data, datasets[first])), None)
        if same is not None:
            found[name] = replace(kinds[same], task=name, truth=_truth(data, kinds[same].index))
            continue
        sample = read_sample(name, data)
        alike = next((other for other in kinds.values() if sample.agrees(other)), None)
        if alike is not None:  # of another number of events in all
            columns = {column: getattr(alike, column) for column in ("key", "vertex", "weight", "sample")}
            found[name] = replace(sample, **columns)
            continue
        for first, other in kinds.items():
            _refuse_other_events(first, other, sample)
        found[name] = kinds[name] = sample
    return found


def _same_record(data: xr.Dataset, other: xr.Dataset) -> bool:
    """Return whether all events of two tasks are the same, in the same order, and evaluated alike."""
    columns = ("event", "evaluated", "vertex_uid", "weight", "sample")
    return all(np.array_equal(data[name].values, other[name].values) for name in columns)


def _truth(data: xr.Dataset, index: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(data["truth"].transpose("event", ...).values[index], dtype=np.float64)


def _refuse_other_events(first: str, other: Sample, sample: Sample) -> None:
    common, here, there = np.intersect1d(sample.key, other.key, assume_unique=True, return_indices=True)
    for name, unequal in (
        ("vertex", sample.vertex[here] != other.vertex[there]),
        ("simulated sample", sample.names[here] != other.names[there]),
    ):
        refuse_other_record(name, first, sample.task, len(common), common[unequal])


def check_exposure(exposure: Mapping[str, float] | None, datasets: Mapping[str, xr.Dataset]) -> dict[str, float]:
    """Return the exposure as a plain mapping; without one every sample counts with its own size.

    Raises:
        UnknownNameError: a sample that the store does not hold.
        ConfigError: a number of events that is not positive and finite.
    """
    allowed = {str(name) for data in datasets.values() for name in pd.unique(data["sample"].values)}
    checked: dict[str, float] = {}
    for name, number in (exposure or {}).items():
        if name not in allowed:
            raise UnknownNameError("sample in exposure", name, allowed)
        if not (np.isfinite(number) and number > 0.0):
            raise ConfigError(f"exposure.{name} = {number}: allowed is a positive number of data events.")
        checked[name] = float(number)
    return checked
