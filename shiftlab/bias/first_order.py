"""The mechanism test on real networks: biases of a shared body's heads against those of heads that are linear in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.bias.covariance import odd_even
from shiftlab.bias.design import Design, read_design
from shiftlab.bias.excess import unisim_rows
from shiftlab.bias.mechanism import mechanism, mechanism_table
from shiftlab.bias.sample import read_sample
from shiftlab.bias.statistic import Floats, Statistic
from shiftlab.errors import DataError

__all__ = ["MECHANISM_COLUMNS", "POINT_COLUMNS", "LinearHeads", "first_order_tables"]

MECHANISM_COLUMNS: Final = (
    *("arm", "seed", "route", "task", "explained", "explained_lo", "explained_hi", "explained_lo95", "explained_hi95"),
    *("slope", "slope_lo", "slope_hi", "slope_lo95", "slope_hi95", "events", "reason"),
)
POINT_COLUMNS: Final = (
    *("arm", "seed", "route", "task", "universe", "nuisance", "strength", "throw"),
    *("bias", "bias_error", "predicted", "predicted_error", "difference_error"),
)

_TOLERANCE: Final = 1e-3
"""Largest difference of the nominal outputs, relative to their spread over events, that rounding explains."""

_NOISE: Final = "its biases are within the noise of these events"


@dataclass(frozen=True)
class LinearHeads:
    """Outputs of heads that are linear in what they are given, of one arm and seed with one body for all tasks.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        universes: Names, the first the nominal one.
        routes: What moves: the features alone, or also what heads are given beside them.
        key: int64 (event,), event keys.
        outputs: Task to (universe, route, event, output); NaN for an event that the body does not look at.
        reasons: Task to why it has none.
    """

    arm: str
    seed: int
    universes: tuple[str, ...]
    routes: tuple[str, ...]
    key: npt.NDArray[np.int64]
    outputs: Mapping[str, npt.NDArray[np.floating]]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class _Shifts:
    """Biases of one task in the universes of the heads, (1 + replica, universe) each: real, and of linear heads."""

    real: Floats
    linear: tuple[Floats, ...]
    events: int


def first_order_tables(
    heads: Sequence[LinearHeads],
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    bias: pd.DataFrame,
    *,
    replicas: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the fractions explained (``MECHANISM_COLUMNS``) and each bias beside its prediction (``POINT_COLUMNS``).

    The statistic itself is not made linear: it is computed of the outputs that linear heads would give, with the same
    events and bootstrap weights as of the real ones. So W d of ``mechanism`` is handed in as one number per task, and W
    is 1. Both are of the few events that features were made of, in units of the error of the data that all evaluated
    events have. Fractions are those of the one-sigma universes; points are there for all.

    Args:
        heads: Of every seed.
        datasets: Task to responses, all universes.
        statistics: Task to statistic.
        bias: As ``Bias.table``, for ``sigma_data``.
        replicas: Poisson(1) bootstrap replicas over vertices.
        seed: Seed of the bootstrap.

    Raises:
        DataError: the outputs are not of the networks of the responses, or universes are missing.
    """
    design = read_design(datasets)
    fractions, points = [pd.DataFrame(columns=list(MECHANISM_COLUMNS))], [pd.DataFrame(columns=list(POINT_COLUMNS))]
    for one in heads:
        reasons = dict(one.reasons)
        shifts: dict[str, _Shifts] = {}
        for task in one.outputs:
            sigma = _sigma(bias, one, task)
            if not (np.isfinite(sigma) and sigma > 0.0):
                reasons[task] = "these events do not tell its statistical error"
                continue
            few, linear = _events(one, task, datasets[task])
            try:
                shifts[task] = _shifts(few, linear, task, statistics[task], sigma, (replicas, seed))
            except DataError as error:  # of a sample that is too small
                reasons[task] = f"not on these events: {error}"
        for task in [task for task, found in shifts.items() if not found.real[0].any()]:
            reasons[task] = "its bias on these events is 0 in all universes"
            del shifts[task]
        for number, route in enumerate(one.routes):
            fractions.append(_fractions(one, route, number, shifts, design))
            points += [_points(one, route, number, task, found, design) for task, found in shifts.items()]
        fractions += [_without(one, task, reason) for task, reason in reasons.items()]
    stacked = [pd.concat(t[1:], ignore_index=True) if len(t) > 1 else t[0] for t in (fractions, points)]
    return stacked[0], stacked[1]


def _sigma(bias: pd.DataFrame, head: LinearHeads, task: str) -> float:
    rows = bias[(bias["arm"] == head.arm) & (bias["seed"] == head.seed) & (bias["task"] == task)]
    return float(rows["sigma_data"].iloc[0]) if len(rows) else float("nan")


def _events(head: LinearHeads, task: str, data: xr.Dataset) -> tuple[xr.Dataset, Floats]:
    """Return the responses of the events that both have, and what linear heads say (universe, route, event, output)."""
    linear = np.asarray(head.outputs[task], dtype=np.float64)
    places = pd.Index(data["event"].values).get_indexer(pd.Index(head.key))
    known = np.flatnonzero((places >= 0) & np.isfinite(linear).all(axis=(0, 1, 3)))
    few = data.sel(arm=head.arm, seed=head.seed, universe=list(head.universes)).isel(event=places[known]).load()
    linear = linear[:, :, known]
    nominal = few["output"].isel(universe=0).transpose("event", "output").values
    _refuse_other_networks(head, task, nominal.astype(np.float64), linear[0, 0])
    return few, linear


def _shifts(
    few: xr.Dataset, linear: Floats, task: str, statistic: Statistic, sigma: float, bootstrap: tuple[int, int]
) -> _Shifts:
    """Return the biases of one task, real and of linear heads, with the same events and weights."""
    sample = read_sample(task, few)
    weights = sample.weights(range(bootstrap[0] + 1), bootstrap[1])

    def biases(outputs: Floats) -> Floats:
        value = sample.score(statistic, outputs[:, sample.index], weights)
        return np.asarray(((value - value[:1]) / sigma).T, dtype=np.float64)

    real = few["output"].transpose("universe", "event", "output").values.astype(np.float64)
    every = tuple(biases(linear[:, route]) for route in range(linear.shape[1]))
    return _Shifts(biases(real), every, len(sample.index))


def _refuse_other_networks(head: LinearHeads, task: str, real: Floats, linear: Floats) -> None:
    """Refuse features whose nominal outputs are not those of the responses: of other weights, events or detector."""
    scale = max(float(real.std(axis=0).max()), 1e-6 * float(np.abs(real).max(initial=0.0)), 1e-12)
    far = float(np.abs(real - linear).max(initial=0.0)) / scale
    if far > _TOLERANCE:
        raise DataError(
            f"arm '{head.arm}' seed {head.seed}, task '{task}': the nominal outputs differ from those of the responses "
            f"by up to {far:.2g} of their spread; features and responses must be of the same weights, events, detector "
            "and seed."
        )


def _fractions(
    head: LinearHeads, route: str, number: int, shifts: Mapping[str, _Shifts], design: Design
) -> pd.DataFrame:
    """Return the rows of ``mechanism_table`` for one route."""
    if not shifts:
        return pd.DataFrame(columns=list(MECHANISM_COLUMNS))
    terms = design.terms("none")
    used = {u for term in terms for u in (*term.plus, *term.minus) if u >= 0}
    missing = sorted(design.names[u] for u in used if design.names[u] not in head.universes)
    if missing:
        raise DataError(f"arm '{head.arm}' seed {head.seed}: no features in universe {', '.join(missing)}.")
    columns = [design.names.index(name) for name in head.universes]
    rows = []
    for side in ([shift.real for shift in shifts.values()], [shift.linear[number] for shift in shifts.values()]):
        whole = np.zeros((len(side[0]), len(design.names), len(side)))
        whole[:, columns] = np.stack(side, axis=2)
        rows.append(unisim_rows(odd_even(whole, terms)))
    real, linear = rows
    table = mechanism_table(mechanism(real, linear, np.eye(len(shifts)), tasks=list(shifts)), list(shifts))
    events = {task: shift.events for task, shift in shifts.items()}
    every = max(events.values())
    table = table.assign(
        arm=head.arm,
        seed=head.seed,
        route=route,
        events=[events.get(task, every) for task in table["task"]],
        reason=["" if np.isfinite(value) else _NOISE for value in table["explained"]],
    )
    return table.reindex(columns=list(MECHANISM_COLUMNS))


def _points(head: LinearHeads, route: str, number: int, task: str, found: _Shifts, design: Design) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(head.universes[1:], start=1):
        u = design.names.index(name)
        nuisance, strength = design.shifted(u)
        real, linear = found.real[:, place], found.linear[number][:, place]
        rows.append(
            {
                **{"arm": head.arm, "seed": head.seed, "route": route, "task": task, "universe": name},
                **{"nuisance": nuisance, "strength": strength, "throw": int(design.throw[u])},
                **{"bias": real[0], "bias_error": real[1:].std(ddof=1)},
                **{"predicted": linear[0], "predicted_error": linear[1:].std(ddof=1)},
                "difference_error": (real - linear)[1:].std(ddof=1),
            }
        )
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS))


def _without(head: LinearHeads, task: str, reason: str) -> pd.DataFrame:
    row = {"arm": head.arm, "seed": head.seed, "task": task, "reason": reason, "events": 0, "route": ""}
    return pd.DataFrame([row]).reindex(columns=list(MECHANISM_COLUMNS))
