"""Every statistic in every universe, for the sample itself and for each bootstrap replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.bias.design import Design
from shiftlab.bias.performance import performance_rows, performance_table
from shiftlab.bias.sample import Sample, read_sample
from shiftlab.bias.statistic import Floats, Statistic
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
    samples = {task: read_sample(task, data) for task, data in datasets.items()}
    value = np.empty((len(arms), len(seeds), len(samples), len(design.names), replicas + 1))
    sigma = np.empty(value.shape[:3])
    rows: list[dict[str, object]] = []
    for t, (task, sample) in enumerate(samples.items()):
        statistic, data = statistics[task], datasets[task]
        value[:, :, t], alone = _scores(data, statistic, sample, design, value.shape[4], seed)
        sigma[:, :, t] = sample.data_error(alone[:, :, 1:], exposure).reshape(sigma.shape[:2])
        nominal = _nominal(data, sample, design)
        for a, s in np.ndindex(sigma.shape[:2]):
            replicated = value[a, s, t, design.nominal]
            if _still(replicated):
                _refuse_constant(replicated, statistic, _where(data, task, a, s))
                sigma[a, s, t] = np.nan
            head: dict[str, object] = {"arm": arms[a], "seed": seeds[s], "task": task}
            rows.extend({**head, **row} for row in performance_rows(statistic, sample, nominal[a, s], replicated, seed))
    return Measured(
        arms=arms,
        seeds=seeds,
        tasks=tuple(samples),
        statistics=tuple(statistics[task].statistic for task in samples),
        units=tuple(statistics[task].unit for task in samples),
        value=value,
        sigma_data=sigma,
        performance=performance_table(rows),
        exposure=_exposure_table(samples, exposure),
    )


def _scores(
    data: xr.Dataset, statistic: Statistic, sample: Sample, design: Design, replicas: int, seed: int
) -> tuple[Floats, Floats]:
    """Return the statistic in every universe, and at nominal with one simulated sample resampled at a time.

    Returns:
        (arm, seed, universe, replica) and (simulated sample, arm x seed, replica), replica 0 the sample itself.
    """
    nominal = _nominal(data, sample, design)
    heads = nominal.reshape(-1, *nominal.shape[2:])
    value = np.empty((*nominal.shape[:2], len(design.names), replicas))
    alone = np.empty((len(sample.samples), len(heads), replicas))
    for block in sample.blocks(replicas):
        weights = sample.weights(block, seed)
        inside = slice(block.start, block.stop)
        for a, s in np.ndindex(value.shape[:2]):
            value[a, s, :, inside] = sample.score(statistic, _outputs(data, sample, a, s, design), weights)
        for number in range(len(sample.samples)):
            alone[number, :, inside] = sample.score(statistic, heads, sample.resampling_only(weights, number))
    return value, alone


def _nominal(data: xr.Dataset, sample: Sample, design: Design) -> Floats:
    """Return float64 (arm, seed, event, output) of the evaluated events at nominal."""
    chosen = data["output"].isel(universe=design.nominal).transpose("arm", "seed", "event", "output")
    return np.asarray(chosen.values[:, :, sample.index], dtype=np.float64)


def _where(data: xr.Dataset, task: str, arm: int, seed: int) -> str:
    return f"task '{task}', arm '{data['arm'].values[arm]}', seed {data['seed'].values[seed]}"


def _outputs(data: xr.Dataset, sample: Sample, arm: int, seed: int, design: Design) -> Floats:
    """Return float64 (universe, event, output) of the evaluated events, all finite."""
    chosen = data["output"].isel(arm=arm, seed=seed).transpose("universe", "event", "output")
    outputs: Floats = chosen.values[:, sample.index].astype(np.float64)
    if not np.isfinite(outputs).all():
        finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(outputs).all(axis=2))
        universe = int(np.flatnonzero(~finite.all(axis=1))[0])
        bad = sample.key[~finite[universe]]
        listed = ", ".join(str(key) for key in bad[:5]) + (", ..." if len(bad) > 5 else "")
        raise DataError(
            f"{_where(data, sample.task, arm, seed)}, universe '{design.names[universe]}': {len(bad)} of "
            f"{len(sample.key)} evaluated events have responses that are not finite (event keys {listed}); "
            f"{int((~finite).sum())} over all universes."
        )
    return outputs


def _still(nominal: Floats) -> bool:
    """Return whether every replica has the same value."""
    return bool(nominal[1:].std(ddof=1) <= 1e-12 * abs(nominal[0]))


def _refuse_constant(nominal: Floats, statistic: Statistic, where: str) -> None:
    """Refuse a statistic without variance, unless it is a pure number that cannot be better than the 1 that it is."""
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
