"""The four currencies of a bias: raw, per-event resolution, error of the data, shift of a fitted parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr

from shiftlab.bias.design import Design
from shiftlab.bias.measure import Measured
from shiftlab.bias.reading import read_nominal
from shiftlab.bias.sample import Sample, read_samples
from shiftlab.bias.statistic import Floats, Statistic
from shiftlab.errors import DataError, UnknownNameError

__all__ = [
    "WithEventSpread",
    "event_resolution",
    "in_parameter",
    "in_units",
    "parameter_shift",
    "resolutions",
    "with_currencies",
]


@runtime_checkable
class WithEventSpread(Protocol):
    """A statistic that says what one event is uncertain by."""

    def event_spread(self, outputs: Floats, truth: Floats, weight: Floats) -> float:
        """Return the spread over events of the quantity that the statistic is made of, in the statistic's unit.

        For a probability p it is sqrt(p (1 - p)).

        Args:
            outputs: (event, output) at nominal.
            truth: (event, column).
            weight: (event,).
        """


def event_resolution(statistic: Statistic, sample: Sample, outputs: Floats, replicas: Floats) -> float:
    """Return the per-event resolution, in the statistic's unit.

    A statistic that does not say is given sqrt(n) times its bootstrap error, n the effective number
    of vertices: of a mean that is the spread, of a share sqrt(p (1 - p)).

    Args:
        statistic: The task.
        sample: Its evaluated events.
        outputs: (event, output) at nominal.
        replicas: (replica,), the nominal statistic in the bootstrap.
    """
    if isinstance(statistic, WithEventSpread):
        return float(statistic.event_spread(outputs, sample.truth, sample.weight))
    _, which = np.unique(sample.vertex, return_inverse=True)
    weight = np.bincount(which, weights=sample.weight)
    effective = weight.sum() ** 2 / (weight**2).sum()
    return float(np.sqrt(effective) * replicas.std(ddof=1))


def resolutions(
    datasets: Mapping[str, xr.Dataset], statistics: Mapping[str, Statistic], measured: Measured, design: Design
) -> Floats:
    """Return the per-event resolution of every head, (arm, seed, task)."""
    found = np.empty(measured.sigma_data.shape)
    samples = read_samples(datasets)
    for t, task in enumerate(measured.tasks):
        sample = samples[task]
        every = slice(0, len(sample.index))
        for a, s in np.ndindex(found.shape[:2]):
            outputs = read_nominal(datasets[task], sample, a, s, design, every)
            replicas = measured.value[a, s, t, design.nominal, 1:]
            found[a, s, t] = event_resolution(statistics[task], sample, outputs, replicas)
    return found


def in_units(value: Floats, nominal: int, unit: Floats) -> Floats:
    """Return biases in any currency, as the covariances over universes take them.

    Args:
        value: (task, universe, 1 + replica), the statistics of one arm and seed.
        nominal: Number of the nominal universe.
        unit: (task,), what counts as 1: the per-event resolution, the error of the data, or 1 over d mu / d statistic.

    Returns:
        (1 + replica, universe, task); 0 for a task without a unit (0, NaN or infinite), which counts as one that
        does not move: no correlation with it is quoted.
    """
    known = np.isfinite(unit) & (unit != 0.0)
    shift = value - value[:, nominal : nominal + 1]
    scaled = np.divide(shift, unit[:, None, None], out=np.zeros(shift.shape), where=known[:, None, None])
    return np.ascontiguousarray(scaled.transpose(2, 1, 0))


def parameter_shift(slope: Floats | float, shift: Floats) -> Floats:
    """Return by how much a fitted parameter moves, to first order.

    Args:
        slope: d mu / d n of each template bin (bin,), or d mu / d statistic of one task, a number.
        shift: Displacement of the bins (..., bin), or of the statistic (...).

    Raises:
        DataError: slopes and shifts are of different numbers of bins, or a slope is not finite.
    """
    slopes = np.asarray(slope, dtype=np.float64)
    if not np.isfinite(slopes).all():
        bad = int((~np.isfinite(slopes)).sum())
        raise DataError(f"d mu / d n is not finite in {bad} of {slopes.size} bins; did the fit converge?")
    if slopes.ndim == 0:
        return np.asarray(slopes * shift, dtype=np.float64)
    if slopes.ndim != 1 or shift.shape[-1:] != slopes.shape:
        raise DataError(
            f"d mu / d n of shape {slopes.shape} for shifts of shape {shift.shape}: one slope per template bin is "
            "needed, the bins of all channels in one row, in the order of the shifts' last axis."
        )
    return np.asarray(shift @ slopes, dtype=np.float64)


def with_currencies(
    table: pd.DataFrame, measured: Measured, resolution: Floats, slopes: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return the table of biases with each bias in the further currencies.

    New columns: ``resolution``, the per-event resolution; ``bias_over_resolution``;
    ``parameter_shift`` and ``parameter_error``, the shift of the fitted parameter and its
    statistical error, NaN for a task without a slope.

    Args:
        table: As ``bias_table`` makes it.
        measured: What it was made of.
        resolution: (arm, seed, task), as ``resolutions`` makes it.
        slopes: d mu / d statistic per task.

    Raises:
        UnknownNameError: a slope of a task that was not measured.
    """
    for name in slopes or {}:
        if name not in measured.tasks:
            raise UnknownNameError("task in slopes", name, measured.tasks)
    index = pd.MultiIndex.from_product([measured.arms, measured.seeds, measured.tasks])
    of_head = pd.Series(resolution.ravel(), index=index)
    own = of_head.reindex(pd.MultiIndex.from_frame(table[["arm", "seed", "task"]])).to_numpy()
    slope = table["task"].map(dict(slopes or {})).astype(np.float64)
    return table.assign(
        resolution=own,
        bias_over_resolution=table["bias"] / np.where(own > 0.0, own, np.nan),
        parameter_shift=slope * table["bias"],
        parameter_error=slope.abs() * table["bias_error"],
    )


def in_parameter(table: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """Return the table of biases with the shifts of the fitted parameter that a fit found for its rows.

    Args:
        table: As ``with_currencies`` makes it.
        shifts: Columns arm, seed, recalibrate, task, universe, ``parameter_shift`` and ``parameter_error``; rows of
            universes or tasks that the table does not have are left out, rows of the table without a shift keep theirs.

    Raises:
        DataError: a universe has two shifts.
    """
    keys = ["arm", "seed", "recalibrate", "task", "universe"]
    twice = shifts[shifts.duplicated(keys)]
    if len(twice):
        raise DataError(f"two parameter shifts for {', '.join(f'{k} {twice.iloc[0][k]}' for k in keys)}.")
    names = ["parameter_shift", "parameter_error"]
    found = table[keys].merge(shifts, on=keys, how="left", validate="one_to_one").set_index(table.index)[names]
    return table.assign(**{name: found[name].fillna(table[name]) for name in names})
