"""The leaderboard: arms in the order of how far a detector shift moves their results, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from shiftlab.bias.degradation import EVERY, SCORES, Moved, rooted
from shiftlab.bias.multiway import Estimate, estimate
from shiftlab.bias.robustness import leaderboard
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["LEADERBOARD_COLUMNS", "ORDER", "replica_table", "standings"]

ORDER: Final = (
    "how far a result moves: the root mean square of the biases under shifts of one sigma, over nuisances and tasks, "
    "in units of the data's statistical error; the smallest first"
)
"""What the leaderboard is ordered by, in words for those who read it."""

LEADERBOARD_COLUMNS: Final = (
    *("arm", "recalibrate", "score", "score_lo", "score_hi", "score_lo95", "score_hi95"),
    *("rank", "rank_lo", "rank_hi", "rank_lo95", "rank_hi95", "resolved"),
    *("mean", "mean_lo", "mean_hi", "worst", "worst_lo", "worst_hi", "loss", "loss_lo", "loss_hi"),
    *("rho", "rho_lo", "rho_hi", "rho_lo95", "rho_hi95", "pairs"),
    *("relative_to", "relative", "relative_lo", "relative_hi", "relative_tasks", "tasks", "seeds", "flag"),
)

_HEAD: Final = ["arm", "seed", "recalibrate", "task", "score", "common_unit"]

Correlations = Mapping[str, tuple[Estimate, int]]
"""Arm to its mean rho and the number of pairs behind it."""


def replica_table(found: Moved, scores: Floats, recalibrate: str) -> pd.DataFrame:
    """Return the scores within one sigma of every head and bootstrap replica, in the task's unit or its square.

    Replicas share their event weights over arms, and over runs on the same events with the same seed of the bootstrap:
    with these numbers the arms of several runs can be ranked as those of one.

    Args:
        found: The displacements.
        scores: (arm, seed, 1 + replica, task, 5), from ``degradation.task_scores``.
        recalibrate: none, mip or exact.
    """
    rows = []
    for a, s, t, k in np.ndindex(len(found.arms), len(found.seeds), len(found.tasks), len(SCORES)):
        values = scores[a, s, :, t, k]
        if np.isfinite(values).all() and np.isfinite(found.unit[t]):
            head = (found.arms[a], found.seeds[s], recalibrate, found.tasks[t], SCORES[k], float(found.unit[t]))
            rows.append((*head, *values.tolist()))
    names = ["sample", *(f"replica_{number}" for number in range(1, scores.shape[2]))]
    return pd.DataFrame(rows, columns=[*_HEAD, *names])


def standings(
    replicas: pd.DataFrame,
    *,
    recalibrate: str = "none",
    correlation: Correlations | None = None,
    relative: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the leaderboard, one row per arm, in the order that ``ORDER`` says; robustness apart from correlation.

    Only tasks count that every arm has. The common unit of a task is that of its first row.

    Args:
        replicas: Rows of ``replica_table``, of one run or of several.
        recalibrate: Which rows.
        correlation: Mean rho of the arms.
        relative: Contrasts at equal nominal performance (``matched.matched_tables``); those with the first arm are
            quoted.

    Raises:
        DataError: runs have different numbers of bootstrap replicas, or no task is in all of them.
    """
    rows = replicas[replicas["recalibrate"] == recalibrate]
    if rows.empty:
        return pd.DataFrame(columns=list(LEADERBOARD_COLUMNS))
    arms = list(dict.fromkeys(rows["arm"]))
    unit = rows.drop_duplicates("task").set_index("task")["common_unit"]
    sized = rows[rows["score"] == "square"]
    tasks = [task for task in unit.index if set(sized.loc[sized["task"] == task, "arm"]) == set(arms)]
    if not tasks:
        raise DataError(f"no task has a score in every arm ({', '.join(arms)}), so they cannot be put in an order.")
    of_arm = {name: {arm: _over_tasks(rows, arm, name, tasks, unit) for arm in arms} for name in SCORES}
    every = [values for values in of_arm["square"].values() if values is not None]
    rho = {arm: one for arm, (one, _) in correlation.items()} if correlation else None
    table = leaderboard(every, arms, correlation=rho).rename(columns=str)
    # Ranked by mean squares, whose errors are known however small; roots are what is read.
    table["resolved"] = table["score_lo95"] > 0.0
    sizes = [f"score{end}" for end in ("", "_lo", "_hi", "_lo95", "_hi95")]
    table[sizes] = [list(rooted(dict(zip(sizes, row, strict=True))).values()) for row in table[sizes].to_numpy()]
    for name in ("mean", "worst", "loss"):
        each = {arm: estimate(values) for arm, values in of_arm[name].items() if values is not None}
        for column, place in ((name, None), (f"{name}_lo", 0), (f"{name}_hi", 1)):
            table[column] = [
                float("nan") if arm not in each else each[arm].value if place is None else each[arm].interval()[place]
                for arm in table["arm"]
            ]
    table = table.assign(recalibrate=recalibrate, tasks=", ".join(tasks))
    table["pairs"] = [correlation[arm][1] if correlation else 0 for arm in table["arm"]]
    table = _with_relative(table, relative, arms[0])
    return table.reindex(columns=list(LEADERBOARD_COLUMNS))


def _over_tasks(
    rows: pd.DataFrame, arm: str, score: str, tasks: Sequence[str], unit: pd.Series[float]
) -> Floats | None:
    """Return the mean over tasks of a score in the common unit, (seed, 1 + replica); None where no task has it."""
    own = rows[(rows["arm"] == arm) & (rows["score"] == score) & rows["task"].isin(tasks)]
    if own.empty:
        return None
    columns = [name for name in own.columns if name == "sample" or str(name).startswith("replica_")]
    if own[columns].isna().to_numpy().any():
        raise DataError(f"arm '{arm}': its run has fewer bootstrap replicas than another; rank runs of one setting.")
    power = 2 if score == "square" else 1
    scaled = own[columns].to_numpy(np.float64) / own["task"].map(unit).to_numpy(np.float64)[:, None] ** power
    seeds = own["seed"].to_numpy()
    return np.stack([scaled[seeds == seed].mean(axis=0) for seed in np.unique(seeds)])


def _with_relative(table: pd.DataFrame, contrasts: pd.DataFrame | None, first: str) -> pd.DataFrame:
    """Add each arm's contrast with the first arm at equal nominal performance, below 0 = more robust than it.

    The mean over the matched tasks, or the one task that was matched.
    """
    chosen: dict[str, dict[str, object]] = {}
    for row in [] if contrasts is None else contrasts.to_dict("records"):
        if row["arm"] == first and np.isfinite(row["matched"]):
            ends = {"relative": -row["matched"], "relative_lo": -row["matched_hi"], "relative_hi": -row["matched_lo"]}
            named = row["note"] if row["task"] == EVERY else f"of {row['task']}"
            # The row of all tasks is the last of its pair.
            chosen[str(row["minus_arm"])] = {**ends, "relative_to": first, "relative_tasks": named}
    none = {"relative": np.nan, "relative_lo": np.nan, "relative_hi": np.nan, "relative_to": "", "relative_tasks": ""}
    added = pd.DataFrame([chosen.get(str(arm), none) for arm in table["arm"]], index=table.index)
    return pd.concat([table, added], axis=1)
