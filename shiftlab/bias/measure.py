"""Every statistic in every universe, for the sample itself and for each bootstrap replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from shiftlab.bias.design import Design
from shiftlab.bias.influence import closed_variances
from shiftlab.bias.performance import performance_rows, performance_table
from shiftlab.bias.reading import place, read_nominal, read_outputs, universe_blocks
from shiftlab.bias.sample import Sample, read_samples
from shiftlab.bias.statistic import Floats, Statistic, sums_of
from shiftlab.bias.sums import Streamed, accumulate, same_events
from shiftlab.errors import DataError

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """Statistics of all arms, seeds and tasks; replica 0 on the last axis is the sample itself.

    Attributes:
        arms: Names of the arms.
        seeds: Seeds of the arms.
        tasks: Names of the tasks.
        statistics: Name of each task's statistic.
        units: Unit of each task's statistic.
        value: (arm, seed, task, universe, 1 + replica), in the task's unit.
        variance: (arm, seed, task, universe, 2), of the value and of its bias, from influence values; NaN where the
            statistic is no function of sums, whose errors are the spread of the replicas.
        sigma_data: (arm, seed, task), error of the nominal statistic for the data exposure; NaN where it is 1 in every
            replica, as the AUC of a head that mistakes none of a few events: they do not tell its error.
        performance: Table of nominal performance.
        exposure: Table of evaluated and data events, per task and simulated sample.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    statistics: tuple[str, ...]
    units: tuple[str, ...]
    value: Floats
    variance: Floats
    sigma_data: Floats
    performance: pd.DataFrame
    exposure: pd.DataFrame

    def displacement(self, arm: int, seed: int, nominal: int) -> Floats:
        """Return every universe's bias in units of ``sigma_data``, (1 + replica, universe, task); 0 where it is NaN."""
        value = self.value[arm, seed]
        shift = (value - value[:, nominal : nominal + 1]) / self.sigma_data[arm, seed][:, None, None]
        # A task without a unit counts as one that does not move: no correlation with it is quoted.
        return np.ascontiguousarray(np.nan_to_num(shift, nan=0.0).transpose(2, 1, 0))


def measure(
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    design: Design,
    *,
    replicas: int,
    seed: int,
    exposure: Mapping[str, float],
) -> Measured:
    """Score every head on its evaluated events in every universe, with weights that all share.

    Raises:
        DataError: an evaluated event has no finite response, there are too few events, or a
            statistic other than a perfect 1 has no variance.
    """
    first = next(iter(datasets.values()))
    arms = tuple(str(name) for name in first["arm"].values)
    seeds = tuple(int(number) for number in first["seed"].values)
    samples = read_samples(datasets)
    value = np.empty((len(arms), len(seeds), len(samples), len(design.names), replicas + 1))
    variance = np.full((*value.shape[:4], 2), np.nan)
    sigma = np.empty(value.shape[:3])
    summed = _of_sums(datasets, statistics, samples, design, replicas + 1, seed)
    rows: list[dict[str, object]] = []
    for t, (task, sample) in enumerate(samples.items()):
        statistic, data = statistics[task], datasets[task]
        if task in summed:
            value[:, :, t], alone, variance[:, :, t] = summed.pop(task)
        else:
            value[:, :, t], alone = _scores(data, statistic, sample, design, replicas + 1, seed)
        for a, s in np.ndindex(sigma.shape[:2]):
            sigma[a, s, t] = sample.data_error(alone[:, a, s][:, None, 1:], exposure)[0]
            replicated = value[a, s, t, design.nominal]
            if _still(replicated):
                _refuse_constant(replicated, statistic, place(data, task, a, s))
                sigma[a, s, t] = np.nan
            nominal = _nominal(data, sample, a, s, design)
            head: dict[str, object] = {"arm": arms[a], "seed": seeds[s], "task": task}
            rows.extend({**head, **row} for row in performance_rows(statistic, sample, nominal, replicated, seed))
    return Measured(
        arms=arms,
        seeds=seeds,
        tasks=tuple(samples),
        statistics=tuple(statistics[task].statistic for task in samples),
        units=tuple(statistics[task].unit for task in samples),
        value=value,
        variance=variance,
        sigma_data=sigma,
        performance=performance_table(rows),
        exposure=_exposure_table(samples, exposure),
    )


Scores = tuple[Floats, Floats]
"""(arm, seed, universe, replica), the statistic; (simulated sample, arm, seed, replica), at nominal with one simulated
sample resampled at a time; replica 0 the sample itself."""


def _of_sums(
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    samples: Mapping[str, Sample],
    design: Design,
    replicas: int,
    seed: int,
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return scores and variances of the tasks whose statistic is a function of sums, in two passes over the events."""
    found = {task: sums_of(statistics[task]) for task in datasets}
    tasks = {task: Streamed(datasets[task], one, samples[task]) for task, one in found.items() if one is not None}
    names, every = list(tasks), list(tasks.values())
    scores: dict[str, tuple[Floats, Floats, Floats]] = {}
    for group in same_events(every):
        for number, sums in zip(group, accumulate([every[i] for i in group], design, replicas, seed), strict=True):
            task = every[number]
            parts = [np.asarray(task.statistic.of_sums(part), dtype=np.float64) for part in (sums.universe, sums.alone)]
            for part in parts:
                task.sample.refuse_undefined(task.statistic, part)
            scores[names[number]] = parts[0], parts[1], closed_variances(task, design, sums.universe)
    return scores


def _scores(data: xr.Dataset, statistic: Statistic, sample: Sample, design: Design, replicas: int, seed: int) -> Scores:
    """Return the scores of a statistic that needs all its events at once, a few universes at a time."""
    heads = data.sizes["arm"], data.sizes["seed"]
    value = np.empty((*heads, len(design.names), replicas))
    alone = np.empty((len(sample.samples), *heads, replicas))
    every = slice(0, len(sample.index))
    for block in sample.blocks(replicas):
        weights = sample.weights(block, seed)
        inside = slice(block.start, block.stop)
        for a, s in np.ndindex(*heads):
            for universes in universe_blocks(data, len(sample.index)):
                outputs = read_outputs(data, sample, a, s, design, universes, every).astype(np.float64)
                value[a, s, universes, inside] = sample.score(statistic, outputs, weights)
            nominal = _nominal(data, sample, a, s, design)[None]
            for number in range(len(sample.samples)):
                only = sample.resampling_only(weights, number)
                alone[number, a, s, inside] = sample.score(statistic, nominal, only)[0]
    return value, alone


def _nominal(data: xr.Dataset, sample: Sample, arm: int, seed: int, design: Design) -> Floats:
    """Return float64 (event, output) of all evaluated events of one head at nominal."""
    return read_nominal(data, sample, arm, seed, design, slice(0, len(sample.index)))


def _still(nominal: Floats) -> bool:
    """Return whether every replica has the same value."""
    return bool(nominal[1:].std(ddof=1) <= 1e-12 * abs(nominal[0]))


def _refuse_constant(nominal: Floats, statistic: Statistic, where: str) -> None:
    """Refuse a statistic without variance, unless it is a pure number that cannot exceed the 1 that it is."""
    if statistic.unit not in ("", "1") or abs(nominal[0] - 1.0) > 1e-9:
        raise DataError(
            f"{where}: {statistic.statistic} is {nominal[0]:.6g} in every bootstrap replica, so it has no variance; "
            "are all outputs of this head the same?"
        )


def _exposure_table(samples: Mapping[str, Sample], exposure: Mapping[str, float]) -> pd.DataFrame:
    rows = []
    for task, sample in samples.items():
        for number, name in enumerate(sample.samples):
            effective = sample.effective(number)
            evaluated = int((sample.sample == number).sum())
            rows.append((task, name, evaluated, effective, exposure.get(name, effective), name in exposure))
    return pd.DataFrame(rows, columns=["task", "sample", "evaluated", "effective", "data", "declared"])
