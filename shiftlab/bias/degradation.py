"""How far every task moves with the strength of each nuisance, and the scores of it in a unit that all arms share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.design import Design
from shiftlab.bias.measure import Measured
from shiftlab.bias.multiway import estimate
from shiftlab.bias.robustness import Curve, few_seeds, response_curve, scores
from shiftlab.bias.statistic import Floats, Statistic

__all__ = ["EVERY", "SCORES", "Moved", "curve_table", "fit_table", "moved", "robustness_table", "rooted", "task_scores"]

SCORES: Final = ("square", "area", "mean", "worst", "loss")
"""Mean b^2 at one sigma, area under |b|, mean |b|, largest |b|, lost performance: the last axis of ``task_scores``."""

EVERY: Final = "all"
"""What stands for the mean over tasks in a column of tasks."""

_CURVES: Final = (
    *("arm", "seed", "recalibrate", "task", "statistic", "unit", "nuisance", "throw", "strength"),
    *("bias", "bias_error", "common_unit", "bias_over_unit", "error_over_unit", "one_sided", "quoted"),
)
_FITS: Final = (
    *("arm", "seed", "recalibrate", "task", "nuisance", "throw", "points", "odd", "odd_error", "even", "even_error"),
    *("cubic", "quartic", "residual"),
)
_ROBUSTNESS: Final = (
    *("arm", "recalibrate", "task", "within", "score", "value", "lo", "hi", "lo95", "hi95"),
    *("raw", "common_unit", "unit", "nuisances", "seeds", "resolved", "flag"),
)

_POWER: Final = np.array([2.0, 1.0, 1.0, 1.0, 1.0])
"""Power of the unit in each score."""

Curves: TypeAlias = Mapping[tuple[str, int], Curve]
"""Nuisance and throw to its response curve, all arms, seeds, replicas and tasks at once."""


@runtime_checkable
class _Directed(Protocol):
    @property
    def better(self) -> int:
        """+1 where a larger statistic is better, -1 where a smaller one is, 0 where neither."""


@dataclass(frozen=True)
class Moved:
    """Every statistic's displacement, in its own unit, and what makes displacements of several tasks one number.

    Attributes:
        arms: Names of the arms.
        seeds: Seeds of the arms.
        tasks: Names of the tasks.
        shift: (arm, seed, 1 + replica, universe, task), T(shifted) - T(nominal).
        unit: (task,), the common unit: error of the nominal statistic for the declared data, root mean square over
            arms and seeds; NaN where no arm has one. One unit for all arms, since an arm's own error is larger where
            the arm is worse, and would make it look more robust for that.
        better: (task,), +1 where a larger statistic is better, -1 where a smaller one is, 0 where neither.
        quoted: Nuisance to bool (task,): whether that task's response to it is quoted at all.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    shift: Floats
    unit: Floats
    better: tuple[int, ...]
    quoted: Mapping[str, npt.NDArray[np.bool_]]

    def curves(self, design: Design, recalibrate: str, limit: float = np.inf) -> Curves:
        """Return the response curve of every nuisance and throw of its frozen map, as far as ``limit`` sigma."""
        found = {}
        for curve in design.curves(recalibrate):
            strengths = np.asarray(curve.strengths, dtype=np.float64)
            for throw, universes in zip(curve.throws, curve.universes, strict=True):
                run = (universes >= 0) & (np.abs(strengths) <= limit * (1.0 + 1e-9))
                if not run.any():
                    continue
                strength = strengths[run]
                bias = self.shift[..., universes[run], :]
                found[curve.nuisance, throw] = response_curve(strength, bias, nuisance=curve.nuisance)
        return found


def moved(
    measured: Measured, statistics: Mapping[str, Statistic], design: Design, unquoted: frozenset[tuple[str, str]]
) -> Moved:
    """Return the displacements of all heads.

    Args:
        measured: The statistics.
        statistics: Task name to statistic.
        design: The universes.
        unquoted: (task, nuisance) whose biases are not quoted.
    """
    value = measured.value
    shift = np.moveaxis(value - value[:, :, :, design.nominal, None], (4, 3, 2), (2, 3, 4))
    chosen = [statistics[task] for task in measured.tasks]
    return Moved(
        arms=measured.arms,
        seeds=measured.seeds,
        tasks=measured.tasks,
        shift=np.ascontiguousarray(shift),
        unit=_common_unit(measured.sigma_data),
        better=tuple(int(one.better) if isinstance(one, _Directed) else 0 for one in chosen),
        quoted={
            nuisance: np.array([(task, nuisance) not in unquoted for task in measured.tasks])
            for recalibrate in design.recalibrations
            for nuisance in (curve.nuisance for curve in design.curves(recalibrate))
        },
    )


def _common_unit(sigma: Floats) -> Floats:
    """Return the root mean square over arms and seeds of (arm, seed, task), of those that are known."""
    known = np.isfinite(sigma)
    total, number = np.where(known, sigma**2, 0.0).sum(axis=(0, 1)), known.sum(axis=(0, 1))
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return np.asarray(np.sqrt(mean), dtype=np.float64)


def task_scores(
    curves: Curves, quoted: Mapping[str, npt.NDArray[np.bool_]], better: Sequence[int], limit: float
) -> Floats:
    """Return the scores of every task, (..., 1 + replica, task, 5), NaN where there is none; see ``SCORES``.

    Every nuisance counts once: the throws of a frozen map are averaged before nuisances are. ``worst`` is over all of
    them. Lost performance is the area under the signed loss, so that what one side wins counts against what the other
    loses; a statistic of which neither more nor less is better has none.

    ``square`` is b^2 at one sigma, the mean over the sides that were run. A square less its noise has the right mean
    however small the bias; |b| has not, and where biases sink below their errors scores of |b| are upper limits.
    """
    first = next(iter(curves.values())).bias
    found = np.full((*first.shape[:-2], first.shape[-1], len(SCORES)), np.nan)
    for t, direction in enumerate(better):
        alone: dict[str, list[Curve]] = {}
        for (nuisance, _), curve in curves.items():
            if quoted[nuisance][t]:
                alone.setdefault(nuisance, []).append(_of_task(curve, t))
        if not alone:
            continue
        found[..., t, 0] = np.mean([_square(each) for each in alone.values()], axis=0)
        sizes = np.mean([scores(each, harm=["size"], limit=limit) for each in alone.values()], axis=0)
        found[..., t, 1:3] = sizes[..., 0, :2]
        every = [curve for each in alone.values() for curve in each]
        found[..., t, 3] = scores(every, harm=["size"], limit=limit)[..., 0, 2]
        if direction:
            lost = [scores(each, harm=["loss"], sign=[direction], limit=limit) for each in alone.values()]
            found[..., t, 4] = np.mean(lost, axis=0)[..., 0, 0]
    return found


def _square(throws: Sequence[Curve]) -> Floats:
    """Return the mean over throws and sides of b^2 at one sigma, freed of event noise, (..., 1 + replica)."""
    sides = [curve.bias[..., np.abs(np.abs(curve.strength) - 1.0) < 1e-9, 0] ** 2 for curve in throws]
    square = np.concatenate(sides, axis=-1).mean(axis=-1)
    noise = square[..., 1:].mean(axis=-1, keepdims=True) - square[..., :1]
    # A replica's noise comes on top of the sample's own, so it is freed twice.
    times = np.where(np.arange(square.shape[-1]) == 0, 1.0, 2.0)
    return np.asarray(square - times * noise, dtype=np.float64)


def _of_task(curve: Curve, task: int) -> Curve:
    bias, coefficient, residual = (
        getattr(curve, name)[..., task : task + 1] for name in ("bias", "coefficient", "residual")
    )
    return Curve(curve.strength, bias, curve.power, coefficient, residual)


def limits(curves: Curves) -> tuple[float, ...]:
    """Return the ranges of strength that scores are made of: one sigma, and all that was run where that is more."""
    widest = max(float(np.abs(curve.strength).max()) for curve in curves.values())
    return (1.0,) if widest <= 1.0 + 1e-9 else (1.0, widest)


def curve_table(
    found: Moved, curves: Curves, measured: Measured, recalibrate: str, one_sided: frozenset[str]
) -> pd.DataFrame:
    """Return one row per arm, seed, task, nuisance, throw and strength; the nominal at strength 0 is left out.

    ``bias_error`` is one standard deviation over bootstrap replicas; ``common_unit`` the unit of all arms.
    """
    rows: list[tuple[object, ...]] = []
    for (nuisance, throw), curve in curves.items():
        error = curve.bias[:, :, 1:].std(axis=2, ddof=1)
        for a, s, t in _heads(found):
            unit = float(found.unit[t])
            for point in np.flatnonzero(curve.strength):
                bias, spread = float(curve.bias[a, s, 0, point, t]), float(error[a, s, point, t])
                head = (found.arms[a], found.seeds[s], recalibrate, found.tasks[t])
                what = (measured.statistics[t], measured.units[t], nuisance, throw, float(curve.strength[point]))
                marks = (nuisance in one_sided, bool(found.quoted[nuisance][t]))
                rows.append((*head, *what, bias, spread, unit, bias / unit, spread / unit, *marks))
    return pd.DataFrame(rows, columns=list(_CURVES))


def fit_table(found: Moved, curves: Curves, recalibrate: str) -> pd.DataFrame:
    """Return the odd, even, cubic and quartic coefficient of every response curve, in the common unit per sigma^power.

    A power that the strengths cannot tell is NaN: from one size on both sides there are odd and even, from one side
    odd alone. ``residual`` is the largest distance of a point from the fit, in errors of that distance.
    """
    names = {1: "odd", 2: "even", 3: "cubic", 4: "quartic"}
    rows: list[dict[str, object]] = []
    for (nuisance, throw), curve in curves.items():
        error = curve.coefficient[:, :, 1:].std(axis=2, ddof=1)
        for a, s, t in _heads(found):
            row: dict[str, object] = {"arm": found.arms[a], "seed": found.seeds[s], "recalibrate": recalibrate}
            row |= {"task": found.tasks[t], "nuisance": nuisance, "throw": throw}
            row |= {"points": int(np.count_nonzero(curve.strength)), "residual": float(curve.residual[a, s, t])}
            for place, power in enumerate(curve.power.tolist()):
                row[names[power]] = float(curve.coefficient[a, s, 0, place, t] / found.unit[t])
                row[f"{names[power]}_error"] = float(error[a, s, place, t] / found.unit[t])
            rows.append(row)
    return pd.DataFrame(rows, columns=list(_FITS))


def _heads(found: Moved) -> Iterator[tuple[int, int, int]]:
    return np.ndindex(len(found.arms), len(found.seeds), len(found.tasks))


def robustness_table(
    found: Moved, scored: Mapping[float, Floats], units: Sequence[str], recalibrate: str
) -> pd.DataFrame:
    """Return one row per arm, task, range of strength and score, over all seeds, in the common unit and in the task's.

    The score "rms" is the root of the mean square at one sigma. The row of task "all" is over the tasks that have a
    score. ``resolved`` is False where the 95% interval of the mean square holds 0 (of lost performance: its own). Then
    the scores of |b| are upper limits and their intervals begin at 0. Intervals are over events and seeds, of one seed
    over events alone.

    Coverage of 68% and 95% intervals with 5 seeds, 9 nuisances at both sides and 100 replicas, by the mean size of a
    bias over its error (500 pseudo-experiments each). rms: 0.97 and 1.00 at 0, 0.86 and 0.99 at 0.5, 0.74 to 0.78 and
    0.98 at 1, 0.71 and 0.95 at 2, 0.67 to 0.70 and 0.95 at 5: conservative, more so in the noise. |b| (area): 1.00 at
    0, 0.95 and 0.97 at 0.5, but 0.62 and 0.90 to 0.91 at 1, 0.63 and 0.92 at 2, 0.66 to 0.68 and 0.94 to 0.95 at 5:
    short at one to two errors, where part of the noise's size cannot be taken off. So arms are ranked by rms.

    Args:
        found: The displacements.
        scored: Largest strength to scores (arm, seed, 1 + replica, task, 5), in each task's own unit.
        units: Unit of each task's statistic.
        recalibrate: none, mip or exact.
    """
    seeds = len(found.seeds)
    head: dict[str, object] = {"recalibrate": recalibrate, "seeds": seeds, "flag": few_seeds(seeds)}
    rows: list[dict[str, object]] = []
    for (within, values), a in product(scored.items(), range(len(found.arms))):
        own = {**head, "arm": found.arms[a], "within": within}
        scaled = values[a] / found.unit[:, None] ** _POWER
        known = np.isfinite(scaled[..., 0]).all(axis=(0, 1))
        for t in np.flatnonzero(known).tolist():
            number = sum(bool(quoted[t]) for quoted in found.quoted.values())
            unit = {"common_unit": float(found.unit[t]), "unit": units[t], "nuisances": number}
            for row in _scored(scaled[..., t, :]):
                raw = float(row["value"] * found.unit[t])
                rows.append({**own, **unit, **row, "task": found.tasks[t], "raw": raw})
        if known.sum() > 1:
            together = scaled[..., known, :]
            some = np.isfinite(together).all(axis=(0, 1))
            mean = np.full((*scaled.shape[:2], len(SCORES)), np.nan)
            for k in np.flatnonzero(some.any(axis=0)):
                mean[..., k] = together[..., some[:, k], k].mean(axis=-1)
            rows += [{**own, **row, "task": EVERY, "unit": ""} for row in _scored(mean)]
    return pd.DataFrame(rows, columns=list(_ROBUSTNESS))


def _scored(values: Floats) -> Iterator[dict[str, Any]]:
    """Give one row per score that is known, from (seed, 1 + replica, score)."""
    square = estimate(values[..., 0]).columns("value", "lo", "hi")
    resolved = square["lo95"] > 0.0
    yield {"score": "rms", **rooted(square), "resolved": resolved}
    for k, name in enumerate(SCORES[1:], start=1):
        if not np.isfinite(values[..., k]).all():
            continue
        columns = estimate(values[..., k]).columns("value", "lo", "hi")
        if name == "loss":
            yield {"score": name, **columns, "resolved": not columns["lo95"] <= 0.0 <= columns["hi95"]}
        else:
            limit = {} if resolved else {end: min(0.0, columns["hi95"]) for end in ("lo", "lo95")}
            yield {"score": name, **columns, **limit, "resolved": resolved}


def rooted(columns: Mapping[str, float]) -> dict[str, float]:
    """Return the roots of a mean square and of the ends of its intervals; what is below 0 counts as 0."""
    return {name: float(np.sqrt(max(0.0, value))) for name, value in columns.items()}
