"""Tables of the structure of the tasks' covariance: how many independent tasks, how inflated a sum, which modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.covariance import RELIABLE, Key, Part, Systematic
from shiftlab.bias.design import Design
from shiftlab.bias.effective import effective_interval
from shiftlab.bias.inflation import inflation_interval
from shiftlab.bias.joint_moments import Moments, event_moments, joint_moments
from shiftlab.bias.measure import Measured
from shiftlab.bias.modes import mode_names, principal_modes, shares_of_parts
from shiftlab.bias.universe_interval import Limits, correlation_interval
from shiftlab.errors import DataError

__all__ = ["joint_correlations", "modes_table", "structure_table"]

UNISIMS: Final = "unisims"
JOINT: Final = "joint universes"

_STRUCTURE: Final = ("arm", "recalibrate", "source", "measure", "value", "lo", "hi", "tasks", "seeds", "note")
_MODES: Final = ("arm", "seed", "recalibrate", "mode", "name", "fraction", "task", "loading", "lo", "hi")
_RHO: Final = ("arm", "recalibrate", "task_a", "task_b", "rho", "lo", "hi", "note")


def structure_table(found: Mapping[Key, Systematic], measured: Measured, design: Design) -> pd.DataFrame:
    """Return effective number of tasks and inflation of their sum, per arm and recalibration, with 68% intervals.

    From one-nuisance universes, which are a catalogue, the interval is over events and seeds; from joint universes,
    where there are enough of them, over universes too. Only tasks that are reliable in every seed count; the sum has
    weight 1 for each of them in units of the data's error. ``note`` says why there is no number.
    """
    rows: list[dict[str, object]] = []
    for arm, recalibrate in _groups(found):
        head = {"arm": arm, "recalibrate": recalibrate}
        for source, made in _sources(found, measured, design, arm, recalibrate):
            rows += [{**head, "source": source, **row} for row in _measures(made, measured.tasks)]
    return pd.DataFrame(rows, columns=list(_STRUCTURE))


def joint_correlations(found: Mapping[Key, Systematic], measured: Measured, design: Design) -> pd.DataFrame:
    """Return rho of each pair of tasks over joint universes, with its 68% interval over universes, events and seeds.

    Empty without joint universes. ``note`` says why a pair has no number.
    """
    rows: list[dict[str, object]] = []
    for arm, recalibrate in _groups(found):
        if not design.joint(recalibrate):
            continue
        made = dict(_sources(found, measured, design, arm, recalibrate))[JOINT]
        limits = None if isinstance(made, str) else correlation_interval(made)
        for a, b in combinations(range(len(measured.tasks)), 2):
            head = {"arm": arm, "recalibrate": recalibrate, "task_a": measured.tasks[a], "task_b": measured.tasks[b]}
            rows.append({**head, **_pair(limits, made, a, b)})
    return pd.DataFrame(rows, columns=list(_RHO))


def modes_table(
    found: Mapping[Key, Systematic], parts: Mapping[Key, Sequence[Part]], tasks: Sequence[str]
) -> pd.DataFrame:
    """Return the leading modes of each arm and seed: loadings with 68% event intervals, named by their nuisances.

    Loadings are in units of the data's error. Modes are those of the tasks that are reliable: what event noise moves
    has no nuisance to be named by. Arms without such a task have no rows.
    """
    rows: list[dict[str, object]] = []
    for key, part in found.items():
        keep = np.flatnonzero(part.reliable)
        if not len(keep):
            continue
        rows_of, columns = np.ix_(keep, keep)
        covariance = part.covariance[rows_of, columns]
        modes = principal_modes(covariance, part.replicas[:, rows_of, columns])
        shares = shares_of_parts(modes, [_of_tasks(one, keep) for one in parts[key]], covariance)
        head = dict(zip(("arm", "seed", "recalibrate"), key, strict=True))
        for (m, name), (place, t) in product(enumerate(mode_names(shares)), enumerate(keep.tolist())):
            numbers = (modes.loading[place, m], modes.low[place, m], modes.high[place, m])
            row = {**head, "mode": m + 1, "name": name, "fraction": float(modes.fraction[m]), "task": tasks[t]}
            rows.append({**row, **dict(zip(("loading", "lo", "hi"), map(float, numbers), strict=True))})
    return pd.DataFrame(rows, columns=list(_MODES))


def _of_tasks(part: Part, keep: npt.NDArray[np.intp]) -> Part:
    return replace(part, odd=part.odd[..., keep], even=part.even[..., keep])


def _groups(found: Mapping[Key, Systematic]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((arm, recalibrate) for arm, _, recalibrate in found))


def _sources(
    found: Mapping[Key, Systematic], measured: Measured, design: Design, arm: str, recalibrate: str
) -> Iterator[tuple[str, Moments | str]]:
    """Give the moments of the one-nuisance and of the joint universes, or why there are none."""
    yield UNISIMS, event_moments([found[key] for key in found if (key[0], key[2]) == (arm, recalibrate)])
    if not design.joint(recalibrate):
        return
    a = measured.arms.index(arm)
    each = [measured.displacement(a, s, design.nominal) for s in range(len(measured.seeds))]
    try:
        blocks, sampling = design.blocks(recalibrate), design.sampling(recalibrate)
        yield JOINT, joint_moments(np.stack(each), blocks, sampling)
    except DataError as error:
        yield JOINT, str(error)


def _measures(made: Moments | str, tasks: Sequence[str]) -> list[dict[str, object]]:
    asked: dict[str, Callable[[Moments], Limits]] = {
        "effective number of tasks": effective_interval,
        "inflation of the sum": lambda moments: inflation_interval(moments, np.ones(moments.raw.shape[-1])),
    }
    if isinstance(made, str):
        return [{"measure": name, **_numbers(None), "tasks": "", "seeds": 0, "note": made} for name in asked]
    keep = np.flatnonzero(made.reliability >= RELIABLE)
    named = {"tasks": ", ".join(tasks[int(t)] for t in keep), "seeds": len(made.raw)}
    if len(keep) < 2:
        note = f"{len(keep)} of {len(tasks)} tasks move beyond event noise in every seed; 2 are needed"
        return [{"measure": name, **_numbers(None), **named, "note": note} for name in asked]
    chosen, rows = _among(made, keep), []
    for name, function in asked.items():
        try:
            rows.append({"measure": name, **_numbers(function(chosen)), **named, "note": ""})
        except DataError as error:
            rows.append({"measure": name, **_numbers(None), **named, "note": str(error)})
    return rows


def _among(moments: Moments, keep: npt.NDArray[np.intp]) -> Moments:
    """Return the moments of some tasks."""
    rows, columns = np.ix_(keep, keep)
    names = ("estimate", "raw", "left_out", "replicas", "crossed")
    return replace(moments, **{name: getattr(moments, name)[..., rows, columns] for name in names})


def _numbers(limits: Limits | None) -> dict[str, object]:
    if limits is None:
        return dict.fromkeys(("value", "lo", "hi"), float("nan"))
    return {name: float(end.flat[0]) for name, end in _ends(limits)}


def _pair(limits: Limits | None, made: Moments | str, a: int, b: int) -> dict[str, object]:
    if limits is None:
        return {**dict.fromkeys(("rho", "lo", "hi"), float("nan")), "note": made}
    numbers = {"rho" if name == "value" else name: float(end[a, b]) for name, end in _ends(limits)}
    return {**numbers, "note": "" if np.isfinite(numbers["rho"]) else "unreliable"}


def _ends(limits: Limits) -> tuple[tuple[str, npt.NDArray[np.float64]], ...]:
    return ("value", limits.estimate), ("lo", limits.low), ("hi", limits.high)
