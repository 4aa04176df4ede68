"""Tables of paired biases: every head in every universe, with its error and its marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from shiftlab.bias import significance
from shiftlab.bias.design import Design
from shiftlab.bias.influence import gain
from shiftlab.bias.measure import Measured

__all__ = ["bias_table", "joint_table"]

_COLUMNS = (
    *("arm", "seed", "task", "statistic", "unit", "nuisance", "direction", "throw", "universe", "group"),
    *("recalibrate", "nominal", "nominal_error", "bias", "bias_error", "unpaired_error", "sigma_data"),
    *("bias_over_sigma_data", "significance", "mc_limited", "strength", "q_value", "mirrored", "not_quoted"),
    *("z", "p_value", "holm", "rho_pair", "pair_gain", "error_from"),
)

INFLUENCE: Final = "influence"
BOOTSTRAP: Final = "bootstrap"

_JOINT: Final = ("arm", "seed", "universe", "group", "recalibrate", "t_squared", "tasks", "p_value")

_PERFECT: Final = " is 1 in every bootstrap replica: these events do not tell its error"


def bias_table(measured: Measured, design: Design) -> pd.DataFrame:
    """Return one row per arm, seed, task and universe other than the nominal.

    ``bias`` is T(shifted) - T(nominal) on the same events, ``bias_error`` the error of that difference, from
    influence values where the statistic is a function of sums, else the spread over bootstrap replicas
    (``error_from`` says which), ``unpaired_error`` what it would be for independent events.
    ``rho_pair`` is the correlation of the two values that pairing brings, ``pair_gain`` = 1 / (1 - rho_pair) how
    many times more independent events would be needed for the same error.
    ``significance`` marks |bias| > 2 errors and is a mark only: over a whole table read ``q_value``, the expected
    share of false cells among those at least as significant, or ``holm``, the chance of any false one. Both are of the
    ``p_value`` of ``z`` = bias / bias_error, which is normal for an error from influence values and Student's t with
    the replicas' degrees of freedom else, over all cells of one arm, seed, recalibration and group of universes.
    ``mc_limited`` says that the error exceeds the bias, from which nothing should be concluded.
    ``not_quoted`` says why a row has no bias in units of the data's error; else it is empty.
    """
    table = pd.DataFrame(list(_rows(measured, design)))
    size, error = table["bias"].abs(), table["bias_error"]
    table["bias_over_sigma_data"] = table["bias"] / table["sigma_data"]
    table["not_quoted"] = (table["statistic"] + _PERFECT).where(table["sigma_data"].isna(), "")
    table["significance"] = size > 2.0 * error
    table["mc_limited"] = error > size
    table["z"] = significance.z_values(table["bias"].to_numpy(), error.to_numpy())
    z, degrees = table["z"].to_numpy(), measured.value.shape[-1] - 2
    closed = table["error_from"].to_numpy() == INFLUENCE
    table["p_value"] = np.where(closed, significance.p_values(z), significance.p_values(z, degrees))
    variances = (table[name].to_numpy() ** 2 for name in ("nominal_error", "shifted_error", "bias_error"))
    table["rho_pair"], table["pair_gain"] = gain(*variances)
    table["q_value"] = table["holm"] = np.nan
    for _, rows in table.groupby(["arm", "seed", "recalibrate", "group"], sort=False).groups.items():
        p = table.loc[rows, "p_value"].to_numpy()
        table.loc[rows, "q_value"], table.loc[rows, "holm"] = significance.q_values(p), significance.holm(p)
    return table[list(_COLUMNS)]


def _rows(measured: Measured, design: Design) -> Iterator[dict[str, object]]:
    one_sided = {term.nuisance for name in design.recalibrations for term in design.terms(name) if term.mirrored}
    for a, s, t in np.ndindex(measured.value.shape[:3]):
        nominal = measured.value[a, s, t, design.nominal]
        for universe, name in enumerate(design.names):
            if universe == design.nominal:
                continue
            shifted = measured.value[a, s, t, universe]
            nuisance, strength = design.shifted(universe)
            closed = measured.variance[a, s, t]
            known = bool(np.isfinite(closed[universe, 1]))
            if known:
                variances = [closed[design.nominal, 0], closed[universe, 0], closed[universe, 1]]
            else:
                variances = [np.var(one[1:], ddof=1) for one in (nominal, shifted, shifted - nominal)]
            errors = [float(np.sqrt(one)) for one in variances]
            yield {
                "arm": measured.arms[a],
                "seed": measured.seeds[s],
                "task": measured.tasks[t],
                "statistic": measured.statistics[t],
                "unit": measured.units[t],
                "nuisance": nuisance,
                "direction": int(np.sign(strength)),
                "throw": int(design.throw[universe]),
                "universe": name,
                "group": design.group[universe],
                "recalibrate": design.recalibrate[universe],
                "nominal": float(nominal[0]),
                "nominal_error": errors[0],
                "shifted_error": errors[1],
                "bias": float(shifted[0] - nominal[0]),
                "bias_error": errors[2],
                "unpaired_error": float(np.hypot(errors[0], errors[1])),
                "error_from": INFLUENCE if known else BOOTSTRAP,
                "sigma_data": float(measured.sigma_data[a, s, t]),
                "strength": strength,
                "mirrored": nuisance in one_sided,
            }


def joint_table(measured: Measured, design: Design) -> pd.DataFrame:
    """Return one row per arm, seed and shifted universe: T^2 of the biases of all tasks, with p, q and Holm's p.

    What tasks share is counted once; ``tasks`` is the number of independent combinations of them. The covariance of
    the biases is the bootstrap's, so that T^2 follows F; NaN where there are fewer replicas than tasks. q and Holm's p
    are over the universes of one arm, seed, recalibration and group.
    """
    table = pd.DataFrame(list(_joint_rows(measured, design)), columns=list(_JOINT))
    table["q_value"] = table["holm"] = np.nan
    for _, rows in table.groupby(["arm", "seed", "recalibrate", "group"], sort=False).groups.items():
        p = table.loc[rows, "p_value"].to_numpy()
        if np.isfinite(p).all():
            table.loc[rows, "q_value"], table.loc[rows, "holm"] = significance.q_values(p), significance.holm(p)
    return table


def _joint_rows(measured: Measured, design: Design) -> Iterator[dict[str, object]]:
    for a, s in np.ndindex(len(measured.arms), len(measured.seeds)):
        value = measured.value[a, s]
        shift = value - value[:, design.nominal : design.nominal + 1]
        degrees = shift.shape[2] - 2
        for universe, name in enumerate(design.names):
            if universe == design.nominal:
                continue
            row = {"arm": measured.arms[a], "seed": measured.seeds[s], "universe": name}
            row |= {"group": design.group[universe], "recalibrate": design.recalibrate[universe]}
            if len(measured.tasks) > degrees:
                yield {**row, "t_squared": np.nan, "tasks": 0, "p_value": np.nan}
                continue
            covariance = np.atleast_2d(np.cov(shift[:, universe, 1:]))
            found = significance.joint(shift[:, universe, 0], covariance, degrees)
            yield {**row, "t_squared": found.statistic, "tasks": found.freedom, "p_value": found.p}
