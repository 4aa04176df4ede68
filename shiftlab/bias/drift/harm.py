"""Whether drift tells of harm: rank correlation over universes, with a jackknife over families of nuisances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["FEWEST", "drift_against_harm"]

FEWEST = 4
"""Fewest families that a jackknife is made of (convention)."""

_MOST = 0.999
"""Fisher's z is taken of at most this."""


def drift_against_harm(
    drift: npt.ArrayLike,
    harm: npt.ArrayLike,
    family: Sequence[str],
    tasks: Sequence[str],
    level: float = 0.6826894921370859,
) -> pd.DataFrame:
    """Return Spearman's rank correlation of drift and harm for each task.

    Universes of one nuisance (its signs and strengths) are no independent draws, so whole families are left out. The
    interval is Fisher's z with the jackknife's error and Student's t of families - 1 degrees of freedom.

    Args:
        drift: (universe,), a score without labels; larger = further from nominal.
        harm: (universe, task), size of each bias in any currency.
        family: (universe,), the nuisance or group of nuisances that each universe displaces.
        tasks: (task,), names.
        level: Probability of the interval.

    Returns:
        One row per task: task, rho, error (of z), lo, hi, universes, families.

    Raises:
        DataError: fewer than 4 families, shapes differ, or a value is not finite or the same everywhere.
    """
    score, harms = np.asarray(drift, dtype=np.float64), np.asarray(harm, dtype=np.float64)
    if score.ndim != 1 or harms.shape != (len(score), len(tasks)) or len(family) != len(score):
        raise DataError(
            f"drift {score.shape}, harm {harms.shape}, {len(family)} families and {len(tasks)} tasks do not fit: "
            "drift is (universe,), harm (universe, task)."
        )
    if not (np.isfinite(score).all() and np.isfinite(harms).all()):
        raise DataError("drift or harm is not finite; leave such universes out and say so.")
    names, number = np.unique(list(family), return_inverse=True)
    if len(names) < FEWEST:
        raise DataError(f"{len(names)} families of nuisances; a jackknife over them needs {FEWEST} or more.")
    rows = []
    for t, task in enumerate(tasks):
        rho = _spearman(score, harms[:, t], task)
        left = [_spearman(score[number != f], harms[number != f, t], task) for f in range(len(names))]
        z = np.arctanh(np.clip([rho, *left], -_MOST, _MOST))
        error = float(np.sqrt((len(names) - 1.0) * z[1:].var()))
        reach = float(stats.t.ppf(0.5 + level / 2.0, len(names) - 1)) * error
        low, high = np.tanh([z[0] - reach, z[0] + reach])
        rows.append((task, rho, error, min(low, rho), max(high, rho), len(score), len(names)))
    return pd.DataFrame(rows, columns=["task", "rho", "error", "lo", "hi", "universes", "families"])


def _spearman(first: Floats, second: Floats, task: str) -> float:
    if not np.ptp(first) or not np.ptp(second):
        what = "drift" if not np.ptp(first) else f"harm of task '{task}'"
        raise DataError(f"the {what} is the same in all universes, so it has no ranks.")
    return float(stats.spearmanr(first, second).statistic)
