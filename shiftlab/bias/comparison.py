"""The tables that compare arms: response curves, robustness, leaderboard, matched contrasts and variance components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from shiftlab.bias.basis import basis_table
from shiftlab.bias.covariance import odd_even
from shiftlab.bias.degradation import curve_table, fit_table, limits, moved, robustness_table, task_scores
from shiftlab.bias.design import Design
from shiftlab.bias.excess import mean_correlation, unisim_rows
from shiftlab.bias.matched import matched_tables
from shiftlab.bias.measure import Measured
from shiftlab.bias.sample import read_samples
from shiftlab.bias.shares import variance_tables
from shiftlab.bias.standing import Correlations, replica_table, standings
from shiftlab.bias.statistic import Statistic

__all__ = ["COMPARISON_TABLES", "compare_arms"]

COMPARISON_TABLES: Final = (
    *("response_curves", "response_fits", "robustness", "robustness_replicas", "leaderboard"),
    *("matched", "matched_excess", "variance_components", "correlation_shares", "basis"),
)
"""Names of the tables, each written to ``csv/``."""


def compare_arms(
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    measured: Measured,
    design: Design,
    biases: pd.DataFrame,
    *,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return ``COMPARISON_TABLES``; a table that the store has nothing for is empty, or its notes say why.

    Args:
        datasets: Task name to responses.
        statistics: Task name to statistic.
        measured: All statistics in all universes.
        design: The universes.
        biases: The table of biases, which says what is not quoted.
        seed: Seed of the bootstrap.
    """
    found = moved(measured, statistics, design, _unquoted(biases))
    made: dict[str, list[pd.DataFrame]] = {name: [] for name in COMPARISON_TABLES}
    samples = read_samples(datasets)
    matched, excess = matched_tables(datasets, statistics, samples, design, found, seed=seed)
    for recalibrate in design.recalibrations:
        curves = found.curves(design, recalibrate)
        if not curves:
            continue
        made["response_curves"].append(curve_table(found, curves, measured, recalibrate, design.one_sided))
        made["response_fits"].append(fit_table(found, curves, recalibrate))
        scored = {within: task_scores(curves, found.quoted, found.better, within) for within in limits(curves)}
        made["robustness"].append(robustness_table(found, scored, measured.units, recalibrate))
        replicas = replica_table(found, scored[1.0], recalibrate)
        made["robustness_replicas"].append(replicas)
        rho = _correlations(measured, design, recalibrate)
        relative = matched if recalibrate == "none" else None
        made["leaderboard"].append(standings(replicas, recalibrate=recalibrate, correlation=rho, relative=relative))
    made["matched"], made["matched_excess"] = [matched], [excess]
    shares, driven = variance_tables(found, design, seed)
    made["variance_components"], made["correlation_shares"] = [shares], [driven]
    made["basis"] = [basis_table(samples, statistics, design, replicas=found.shift.shape[2] - 1, seed=seed)]
    return {name: _stacked(tables) for name, tables in made.items()}


def _unquoted(biases: pd.DataFrame) -> frozenset[tuple[str, str]]:
    """Return (task, nuisance) whose biases are not quoted for any arm; a perfect arm's own error does not matter."""
    rows = biases[(biases["not_quoted"] != "") & biases["sigma_data"].notna() & (biases["group"] == "unisim")]
    return frozenset(zip(rows["task"].astype(str), rows["nuisance"].astype(str), strict=True))


def _correlations(measured: Measured, design: Design, recalibrate: str) -> Correlations:
    """Return each arm's mean rho over its reliable pairs of tasks, over all its seeds."""
    terms = design.terms(recalibrate)
    found = {}
    for a, arm in enumerate(measured.arms):
        rows = [
            unisim_rows(odd_even(measured.displacement(a, s, design.nominal), terms))
            for s in range(len(measured.seeds))
        ]
        found[arm] = mean_correlation(np.stack(rows))
    return found


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)] or list(tables[:1])
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
