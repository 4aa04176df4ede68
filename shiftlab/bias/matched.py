"""Two arms at equal nominal performance: which one moves less, and whose tasks move more together, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.bias.covariance import odd_even
from shiftlab.bias.degradation import EVERY, Moved, task_scores
from shiftlab.bias.design import Design
from shiftlab.bias.excess import EXCESS_COLUMNS, excess, excess_table, unisim_rows
from shiftlab.bias.matching import Matched, match, quantile_strata
from shiftlab.bias.multiway import Estimate
from shiftlab.bias.reading import read_nominal, read_outputs, universe_blocks
from shiftlab.bias.robustness import few_seeds, relative_robustness
from shiftlab.bias.sample import Sample
from shiftlab.bias.statistic import Floats, Statistic
from shiftlab.errors import DataError

__all__ = ["MATCHED_COLUMNS", "Equalised", "equalise", "matched_tables", "strata"]

MATCHED_COLUMNS: Final = (
    *("arm", "minus_arm", "task", "plain", "plain_lo", "plain_hi", "plain_lo95", "plain_hi95"),
    *("matched", "matched_lo", "matched_hi", "matched_lo95", "matched_hi95"),
    *("loss", "minus_loss", "matched_loss", "strata", "events", "kept", "effective_share", "seeds", "flag", "note"),
)

_CELL: Final = 100
"""Events that a stratum is made of: with fewer the matching is one in appearance only (``matching.match``)."""

_LEAST: Final = 50
"""Events below which a stratum is dropped: one at a border of tied values."""

_MOST: Final = 8
"""Strata per class: more do not match better."""

_FEW: Final = 5
"""A truth of so few values or fewer is a class and not a quantity."""

_NUMBERS: Final = 2**26
"""Most bootstrap weights in memory (512 MiB); of very many events fewer replicas are taken, but 30."""

_KNOWN: Final = 0.95
"""Least share of the replicas that must have a match (``multiway.estimate`` asks for the same)."""


@runtime_checkable
class WithEventLoss(Protocol):
    """A statistic that says how badly each event is answered."""

    def event_loss(self, outputs: Floats, truth: Floats) -> Floats:
        """Return the loss of each event (event,), 0 for a perfect answer, from (event, output), (event, column)."""


@dataclass(frozen=True)
class Equalised:
    """Displacements of two arms in one task, on events weighted so that both perform alike at nominal.

    Attributes:
        shift: (2, seed, 1 + replica, universe), in the task's unit; NaN in replicas without a match and in universes
            that no curve within one sigma has.
        loss: (2,), nominal loss of the two arms, mean over seeds; NaN without a loss per event.
        found: What the matching of each seed's two trainings gave.
        note: Why there is none; empty where there is.
    """

    shift: Floats
    loss: Floats
    found: tuple[Matched, ...]
    note: str = ""


def matched_tables(
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    samples: Mapping[str, Sample],
    design: Design,
    moved: Moved,
    *,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the contrast of every two arms, plain and at equal nominal performance, and their matched excess.

    The first table has one row per pair of arms and task, and one of task "all", the mean over matched tasks: the
    difference of the mean squares of the biases at one sigma, in the common unit, below 0 where ``arm`` is the more
    robust (squares, since the noise in |b| cannot be taken off where it is large, and is larger in the worse arm).
    ``loss`` and ``minus_loss`` are the nominal losses, ``matched_loss`` that of both after matching. Each task is
    matched on its own events and each seed with its namesake. The second has the columns of ``excess_table``, of the
    matched tasks together.

    Args:
        datasets: Task name to responses.
        statistics: Task name to statistic.
        samples: Task name to its evaluated events.
        design: The universes.
        moved: The displacements on all events.
        seed: Seed of the bootstrap, that of ``moved``.
    """
    rows: list[dict[str, object]] = []
    excesses = [pd.DataFrame(columns=list(EXCESS_COLUMNS))]
    # Without one-nuisance universes there is no robustness to compare.
    arms = len(moved.arms) if design.curves("none") else 0
    for pair in combinations(range(arms), 2):
        equal = {
            task: equalise(datasets[task], statistics[task], strata(task, samples, statistics), samples[task], design,
                           pair, replicas=moved.shift.shape[2] - 1, seed=seed)
            for task in moved.tasks
        }  # fmt: skip
        rows += _contrasts(equal, moved, design, pair)
        excesses.append(_excess(equal, moved, design, pair))
    filled = [table for table in excesses if len(table)] or excesses[:1]
    return pd.DataFrame(rows, columns=list(MATCHED_COLUMNS)), pd.concat(filled, ignore_index=True)


def strata(task: str, samples: Mapping[str, Sample], statistics: Mapping[str, Statistic]) -> npt.NDArray[np.int64]:
    """Return the stratum of each evaluated event of a task: its class, and a bin of its energy within the class.

    The truth of all tasks counts that is known for all events of this one. A column whose name speaks of energy comes
    first, then the task's own, and the first that is a quantity and not a class is binned, about 100 events to a bin.
    """
    own = samples[task]
    label = np.zeros(len(own.key), dtype=np.int64)
    quantities: list[tuple[bool, Floats]] = []
    for name, other in samples.items():
        columns = _known(own, other)
        names = getattr(statistics[name], "truth_columns", ())
        for number in range(0 if columns is None else columns.shape[1]):
            column = columns[:, number]  # type: ignore[index]
            values = np.unique(column)
            if len(values) > _FEW:
                quantities.append(("energy" not in (names[number] if number < len(names) else ""), column))
            elif name == task:
                label = label * len(values) + np.searchsorted(values, column)
    kinds, label = np.unique(label, return_inverse=True)
    if not quantities:
        return label.astype(np.int64)
    quantity = min(quantities, key=lambda one: one[0])[1]
    bins = int(np.clip(len(label) // (_CELL * len(kinds)), 2, _MOST))
    found = label.astype(np.int64) * bins
    for kind in range(len(kinds)):
        inside = label == kind
        found[inside] += quantile_strata(quantity[inside, None], bins)
    return found


def _known(own: Sample, other: Sample) -> Floats | None:
    """Return the other task's truth of this task's events, (event, column), if it is known for all of them."""
    order = np.argsort(other.key)
    place = np.minimum(np.searchsorted(other.key, own.key, sorter=order), len(order) - 1)
    rows = order[place]
    if not np.array_equal(other.key[rows], own.key):
        return None
    truth = other.truth[rows]
    return truth if np.isfinite(truth).all() else None


def equalise(
    data: xr.Dataset,
    statistic: Statistic,
    stratum: npt.NDArray[np.int64],
    sample: Sample,
    design: Design,
    pair: tuple[int, int],
    *,
    replicas: int,
    seed: int,
) -> Equalised:
    """Return the displacements of two arms on events weighted so that both have the same nominal loss, seed by seed.

    Args:
        data: Responses of one task.
        statistic: The task.
        stratum: int (event,), of the evaluated events.
        sample: The evaluated events.
        design: The universes.
        pair: Numbers of the arms.
        replicas: Bootstrap replicas; fewer where weights would not fit into memory.
        seed: Seed of the bootstrap.
    """
    replicas = min(replicas, max(30, _NUMBERS // len(sample.key)))
    seeds = data.sizes["seed"]
    shift = np.full((2, seeds, replicas + 1, len(design.names)), np.nan)
    if not isinstance(statistic, WithEventLoss):
        return Equalised(shift, np.full(2, np.nan), (), "the task has no loss per event")
    weights = sample.weights(range(replicas + 1), seed)
    loss = _losses(data, statistic, sample, design, pair)
    mean = np.average(loss.mean(axis=1), axis=-1, weights=sample.weight)
    found: list[Matched] = []
    for s in range(seeds):
        try:
            both = loss[:, s, :, None]
            one = match(both, stratum, sample.vertex, weights, tasks=[sample.task], least=_LEAST)
        except DataError as error:
            return Equalised(shift, mean, (), f"seed {int(data['seed'].values[s])}: {error}")
        reweighted = one.weights(weights)
        known = np.isfinite(reweighted).all(axis=1)
        for side, arm in enumerate(pair):
            value = _values(data, statistic, sample, design, arm, s, reweighted[known])
            there = np.isfinite(value[:, 0])
            shift[side, s][np.ix_(known, there)] = (value[there] - value[design.nominal]).T
        found.append(one)
    return Equalised(shift, mean, tuple(found))


def _losses(
    data: xr.Dataset, statistic: WithEventLoss, sample: Sample, design: Design, pair: tuple[int, int]
) -> Floats:
    """Return the nominal loss of every event, (2, seed, event)."""
    every, seeds = slice(0, len(sample.key)), data.sizes["seed"]
    return np.stack(
        [
            [
                statistic.event_loss(read_nominal(data, sample, arm, s, design, every), sample.truth)
                for s in range(seeds)
            ]
            for arm in pair
        ]
    )


def _values(
    data: xr.Dataset, statistic: Statistic, sample: Sample, design: Design, arm: int, seed: int, weights: Floats
) -> Floats:
    """Return the statistic of nominal and of the curves within one sigma, (universe, replica); NaN of the others."""
    wanted = np.zeros(len(design.names), dtype=np.bool_)
    wanted[design.nominal] = True
    for curve in design.curves("none"):
        inside = curve.universes[:, np.abs(curve.strengths) <= 1.0 + 1e-9]
        wanted[inside[inside >= 0]] = True
    value = np.full((len(wanted), len(weights)), np.nan)
    for block in universe_blocks(data, len(sample.key)):
        chosen = np.flatnonzero(wanted[block])
        if len(chosen):
            outputs = read_outputs(data, sample, arm, seed, design, block, slice(0, len(sample.key)))
            value[block.start + chosen] = sample.score(statistic, outputs[chosen].astype(np.float64), weights)
    return value


def _contrasts(
    equal: Mapping[str, Equalised], moved: Moved, design: Design, pair: tuple[int, int]
) -> list[dict[str, object]]:
    """Return the rows of one pair of arms: every task, and the mean over those that were matched."""
    replicas = next(iter(equal.values())).shift.shape[2]
    seeds = len(moved.seeds)
    head = {"arm": moved.arms[pair[0]], "minus_arm": moved.arms[pair[1]], "seeds": seeds, "flag": few_seeds(seeds)}
    plain = _squares(moved.shift[list(pair), :, :replicas], moved, design)
    rows, used, squares = [], [], []
    for t, (task, one) in enumerate(equal.items()):
        row: dict[str, object] = {**head, "task": task, "note": one.note}
        row |= {"loss": float(one.loss[0]), "minus_loss": float(one.loss[1])}
        row |= relative_robustness(*plain[..., t]).columns("plain")
        if not one.note:
            square = _matched_square(one, moved, design, t)
            estimate = relative_robustness(*square)
            row |= {**estimate.columns("matched"), **_cost(one.found), "note": _unknown(estimate)}
            if np.isfinite(estimate.value):
                used.append(t)
                squares.append(square)
        rows.append(row)
    if len(used) > 1:
        together = relative_robustness(*np.mean(squares, axis=0)).columns("matched")
        everything = relative_robustness(*plain[..., used].mean(axis=-1)).columns("plain")
        note = "" if len(used) == len(equal) else f"of {', '.join(moved.tasks[t] for t in used)}"
        rows.append({**head, "task": EVERY, **everything, **together, "note": note})
    return rows


def _unknown(found: Estimate) -> str:
    return "" if np.isfinite(found.value) else "fewer than 95% of the bootstrap replicas have a match"


def _squares(shift: Floats, moved: Moved, design: Design) -> Floats:
    """Return the mean square of the biases at one sigma, (..., 1 + replica, task), in the common unit."""
    part = Moved(moved.arms, moved.seeds, moved.tasks, shift, moved.unit, moved.better, moved.quoted)
    return task_scores(part.curves(design, "none", 1.0), moved.quoted, moved.better, 1.0)[..., 0] / moved.unit**2


def _matched_square(one: Equalised, moved: Moved, design: Design, task: int) -> Floats:
    """Return the matched mean square of one task, (2, seed, 1 + replica); NaN in replicas without a match."""
    known = _matched_replicas([one])
    shift = np.full((*one.shift[:, :, known].shape, len(moved.tasks)), 0.0)
    shift[..., task] = np.nan_to_num(one.shift[:, :, known], nan=0.0)
    square = np.full(one.shift.shape[:3], np.nan)
    square[:, :, known] = _squares(shift, moved, design)[..., task]
    return square


def _matched_replicas(equal: Sequence[Equalised]) -> npt.NDArray[np.bool_]:
    """Return which replicas (1 + replica,) have a match in every seed of all of these."""
    # At nominal a displacement is 0 wherever it is known, and universes that no curve has are NaN throughout.
    known = np.asarray(np.stack([np.isfinite(one.shift) for one in equal]).any(axis=-1), dtype=np.bool_)
    heads = known.reshape(-1, known.shape[-1])
    return np.asarray(heads.all(axis=0), dtype=np.bool_)


def _cost(found: Sequence[Matched]) -> dict[str, object]:
    """Return the loss after matching, the mean over seeds, and what matching cost."""
    return {
        "matched_loss": float(np.mean([one.after[:, 0] for one in found])),
        "strata": int((~found[0].dropped).sum()),
        "events": len(found[0].cell),
        "kept": min(one.kept for one in found),
        "effective_share": min(one.effective for one in found),
    }


def _excess(equal: Mapping[str, Equalised], moved: Moved, design: Design, pair: tuple[int, int]) -> pd.DataFrame:
    """Return the excess correlation of two arms over their matched tasks; empty where fewer than two were matched."""
    used = [t for t, task in enumerate(moved.tasks) if not equal[task].note and np.isfinite(moved.unit[t])]
    chosen = [equal[moved.tasks[t]] for t in used]
    known = _matched_replicas(chosen) if chosen else np.zeros(1, dtype=np.bool_)
    if len(used) < 2 or not known[0] or known[1:].mean() < _KNOWN:
        return pd.DataFrame(columns=list(EXCESS_COLUMNS))
    shift = np.stack([one.shift[:, :, known] for one in chosen], axis=-1) / moved.unit[used]
    terms = design.terms("none")
    rows = [[unisim_rows(odd_even(np.nan_to_num(seed, nan=0.0), terms)) for seed in arm] for arm in shift]
    found = excess(np.array(rows), [moved.tasks[t] for t in used])
    return excess_table(found, moved.arms[pair[0]], moved.arms[pair[1]], moved.seeds)
