"""The bias record: tables of paired biases, correlations and closure, as they are written to the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from shiftlab.bias.covariance import Key
from shiftlab.bias.statistic import Floats
from shiftlab.provenance import write_text

__all__ = ["Bias"]

_HEADLINE = [
    *("seed", "task", "statistic", "unit", "nuisance", "universe", "recalibrate"),
    *("bias", "bias_error", "bias_over_sigma_data", "mc_limited"),
]


_TABLES: Final = (
    *("performance", "exposure", "unisims", "reliability", "seed_range", "excess", "closure"),
    *("joint_significance", "joint_correlation", "structure", "modes", "maps"),
)

_COVARIANCE: Final = ("arm", "seed", "recalibrate", "task_a", "task_b", "debiased", "raw", "between_maps")


@dataclass(frozen=True)
class Bias:
    """How far every head moves in every universe, and how the heads move together.

    Intervals are 68% percentile intervals of the event bootstrap, for the universes and the seed at
    hand. "In units of the data's error" means divided by ``sigma_data`` of ``table``.

    Attributes:
        tasks: Names of the tasks, in the order of every matrix.
        replicas: Number of bootstrap replicas.
        table: One row per arm, seed, task and shifted universe (``bias.csv``); ``not_quoted`` says why a bias
            is not quoted: a two-point variation of too few vertices, or a task whose error these events do not tell.
        joint_significance: One row per arm, seed and shifted universe: do its tasks move at all, what they share
            counted once (Hotelling's T^2).
        performance: Nominal performance with 68% and 95% intervals and a reference.
        exposure: Evaluated and data events per task and simulated sample.
        unisims: Odd and even response to each nuisance, in units of the data's error.
        reliability: Share of each task's systematic variance that is not event noise.
        correlation: rho per pair of tasks (``correlation.csv``).
        seed_range: Smallest and largest rho over seeds; no interval over seeds is claimed.
        excess: Mean rho of one arm minus that of another on the same events and universes.
        closure: Joint universes against the sum of the one-nuisance ones.
        joint_correlation: rho per pair of tasks over joint universes; its interval is over universes, events and seeds.
        structure: Effective number of independent tasks, and inflation of their sum, with intervals.
        modes: Leading modes of the covariance, named by their nuisances.
        maps: Variance from frozen maps: what the mean response gives and what the differences between maps give.
        comparison: Tables that compare the arms (``comparison.COMPARISON_TABLES``), each written to ``csv/``.
        covariance: (arm, seed, recalibrate) to (task, task), debiased, in units of the data's error.
        raw_covariance: The same before debiasing.
        map_covariance: The part of ``covariance`` that differences between frozen maps make.
        emulated: Names of the universes that no network was run in; their biases are sums of those of single nuisances,
            so that ``closure`` says nothing of interactions where its joint universes are among them.
    """

    tasks: tuple[str, ...]
    replicas: int
    table: pd.DataFrame
    joint_significance: pd.DataFrame
    performance: pd.DataFrame
    exposure: pd.DataFrame
    unisims: pd.DataFrame
    reliability: pd.DataFrame
    correlation: pd.DataFrame
    seed_range: pd.DataFrame
    excess: pd.DataFrame
    closure: pd.DataFrame
    joint_correlation: pd.DataFrame
    structure: pd.DataFrame
    modes: pd.DataFrame
    maps: pd.DataFrame
    comparison: Mapping[str, pd.DataFrame]
    covariance: Mapping[Key, Floats]
    raw_covariance: Mapping[Key, Floats]
    map_covariance: Mapping[Key, Floats]
    emulated: tuple[str, ...] = ()

    def save(self, folder: Path | str) -> None:
        """Write ``bias.csv``, ``correlation.csv`` and ``csv/*.csv``, each whole; equal records give equal bytes.

        Raises:
            RunError: a file cannot be written; the previous one stays.
        """
        folder = Path(folder)
        _write(folder / "bias.csv", self.table)
        _write(folder / "correlation.csv", self.correlation)
        for name in _TABLES:
            _write(folder / "csv" / f"{name}.csv", getattr(self, name))
        for name, table in self.comparison.items():
            _write(folder / "csv" / f"{name}.csv", table)
        _write(folder / "csv" / "covariance.csv", self._covariance_table())

    def _covariance_table(self) -> pd.DataFrame:
        rows = [
            (*key, a, b, matrix[i, j], self.raw_covariance[key][i, j], self.map_covariance[key][i, j])
            for key, matrix in self.covariance.items()
            for i, a in enumerate(self.tasks)
            for j, b in enumerate(self.tasks)
        ]
        return pd.DataFrame(rows, columns=list(_COVARIANCE))

    def summary(self) -> dict[str, Any]:
        """Return the headline numbers as plain values that JSON can hold (None for what is undefined)."""
        unquoted = self.table[self.table["not_quoted"] != ""]
        return {
            "tasks": list(self.tasks),
            "replicas": self.replicas,
            **({"emulated_universes": len(self.emulated)} if self.emulated else {}),
            "arms": {arm: self._summary_of(arm) for arm in self.table["arm"].unique().tolist()},
            "excess_correlation": _records(self.excess),
            "not_quoted": _records(unquoted[["nuisance", "task", "not_quoted"]].drop_duplicates()),
        }

    def _summary_of(self, arm: str) -> dict[str, Any]:
        quoted = self.table["not_quoted"] == ""
        shifted = self.table[(self.table["arm"] == arm) & (self.table["group"] == "unisim") & quoted]
        size = shifted["bias_over_sigma_data"].abs()
        largest = shifted.loc[size.groupby(shifted["recalibrate"], sort=False).idxmax()]
        of_arm = {name: getattr(self, name) for name in ("performance", "seed_range", "closure", "reliability")}
        return {
            "largest_bias": _records(largest[_HEADLINE]),
            **{name: _records(rows[rows["arm"] == arm].drop(columns="arm")) for name, rows in of_arm.items()},
        }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    """Return a plain Python value; None for NaN and infinity."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write(path: Path, table: pd.DataFrame) -> None:
    """Write a table with nine significant digits; -0 is written as 0."""
    numbers = table.select_dtypes("float").columns
    clean = table.assign(**{name: table[name] + 0.0 for name in numbers})
    write_text(path, clean.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
