"""The record of one placement: tables, the answer in sentences, and the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from shiftlab.bias.placement.degenerate import UNKNOWN
from shiftlab.bias.placement.placing import Placement
from shiftlab.provenance import write_json, write_text

__all__ = ["PlacementRecord"]

_KINDS: Final = ("composition", "flux")
_TOLD: Final = 3
"""Combinations that the summary in words names; the JSON file has them all."""


@dataclass(frozen=True)
class PlacementRecord:
    """What is written of a placement.

    Attributes:
        sample: What was placed.
        events: Number of its events.
        simulated: Number of simulated events that it was compared with.
        placement: The answer.
        biases: One row per arm, seed and task (``answer.biases``).
        power: Power to see each nuisance, were it not in the catalogue (``power_left_out``).
        injected: True nuisance values where they are known, else empty.
        provenance: Plain values: digests, versions, settings.
    """

    sample: str
    events: int
    simulated: int
    placement: Placement
    biases: pd.DataFrame
    power: pd.DataFrame
    injected: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> pd.DataFrame:
        """One row per parameter: value, intervals, sigma (prior 1), measured (sigma below 0.7), and the true value."""
        table = self.placement.table()
        kind = [name.split()[0] if name.split()[0] in _KINDS else "detector" for name in table["parameter"]]
        table.insert(1, "kind", kind)
        table = table.assign(measured=table["sigma"] < UNKNOWN)
        if self.injected:
            detector = table["kind"] == "detector"
            true = [self.injected.get(name, 0.0) for name in table["parameter"]]
            table = table.assign(true=np.where(detector, true, np.nan))
        return table

    @property
    def lines(self) -> tuple[str, ...]:
        """The answer, a sentence each."""
        found, goodness = [], self.placement.goodness
        found.append(f"{self.sample}: {self.events} events, placed among {self.simulated} simulated ones")
        verdict = "REJECTED: no universe of the catalogue explains it" if self.placement.rejected else "explained"
        found.append(f"goodness of fit: p = {goodness.p_value:.3g} ({goodness.summaries} summaries), {verdict}")
        table = self.parameters
        known, unknown = table[table["measured"]], table[~table["measured"]]
        for row in known.to_dict(orient="records"):
            true = f", true {row['true']:+.2f}" if np.isfinite(row.get("true", np.nan)) else ""
            found.append(f"  {row['parameter']} {row['median']:+.2f} [{row['lo']:+.2f}, {row['hi']:+.2f}] sigma{true}")
        if len(unknown):
            found.append(f"not measured (the prior comes back): {', '.join(unknown['parameter'])}")
        found += [f"cannot be told apart: {words}" for words in self._alike()]
        return (*found, *self._expected())

    def _alike(self) -> list[str]:
        pairs = self.placement.pairs().head(_TOLD)
        return [f"{row.parameter_a} and {row.parameter_b} (rho {row.rho:+.2f})" for row in pairs.itertuples()]

    def _expected(self) -> list[str]:
        """Return the bias of each arm's tasks, seeds apart, with the interval that holds for this verdict."""
        which = "_widened" if self.placement.rejected else ""
        kind = "widened by what the catalogue may lack" if which else "if the catalogue is complete"
        found = [f"expected bias in statistical errors of the data, 68% interval {kind}:"]
        for row in self.biases.to_dict(orient="records"):
            true = f", true {row['true']:+.2f}" if "true" in row else ""
            ends = f"[{row[f'lo{which}']:+.2f}, {row[f'hi{which}']:+.2f}]"
            found.append(f"  {row['arm']} seed {row['seed']}, {row['task']}: {row['bias']:+.2f} {ends}{true}")
        return found

    def save(self, folder: Path) -> None:
        """Write ``placement.json`` and the tables ``placement.csv``, ``_biases.csv`` and ``_power.csv``, each whole.

        Raises:
            RunError: a file cannot be written; the previous one stays.
        """
        tables = {"": self.parameters, "_biases": self.biases, "_power": self.power}
        for name, table in tables.items():
            write_text(
                folder / f"placement{name}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
            )
        write_json(folder / "placement.json", self._plain())

    def _plain(self) -> dict[str, Any]:
        goodness = self.placement.goodness
        return {
            "sample": self.sample,
            "events": self.events,
            "simulated": self.simulated,
            "rejected": self.placement.rejected,
            "goodness": {name: getattr(goodness, name) for name in goodness.__dataclass_fields__},
            "effective_draws": self.placement.effective,
            "parameters": _records(self.parameters),
            "covariance": self.placement.covariance.tolist(),
            "other_minima": self.placement.other.tolist(),
            "combinations": _records(self.placement.directions()),
            "alike": _records(self.placement.pairs()),
            "expected_bias": _records(self.biases),
            "power": _records(self.power),
            "provenance": dict(self.provenance),
        }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain values, None for what is not known."""
    rows = table.to_dict(orient="records")
    return [{str(name): None if value != value else value for name, value in row.items()} for row in rows]
