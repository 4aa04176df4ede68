"""Nominal performance of every head with its statistical interval, beside a predictor that knows nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from shiftlab.bias.bootstrap import HALF_95, known_interval
from shiftlab.bias.sample import Sample
from shiftlab.bias.statistic import Floats, Statistic

__all__ = ["performance_rows", "performance_table"]

_COLUMNS = (
    *("arm", "seed", "task", "statistic", "unit", "value", "lo", "hi"),
    *("reference", "reference_value", "n_events", "lo95", "hi95"),
)


@runtime_checkable
class _WithReferences(Protocol):
    def references(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, tuple[str, float]]:
        """Return statistic -> (label, value of the predictor that knows nothing)."""


@runtime_checkable
class _WithFurther(Protocol):
    def further(self, outputs: Floats, truth: Floats, weights: Floats) -> Mapping[str, Floats]:
        """Return further statistics, each (replica,), by name; a unit stands in brackets after the name."""


def performance_rows(
    statistic: Statistic, sample: Sample, outputs: Floats, values: Floats, seed: int
) -> list[dict[str, object]]:
    """Return one row for the task's statistic and one for each further statistic that it offers.

    Args:
        statistic: The task.
        sample: Its evaluated events.
        outputs: (event, output), nominal.
        values: (1 + replica,), the statistic, the sample itself first.
        seed: Seed of the bootstrap.
    """
    found = {statistic.statistic: (statistic.unit, values)}
    if isinstance(statistic, _WithFurther):
        parts = [
            statistic.further(outputs, sample.truth, sample.weights(block, seed))
            for block in sample.blocks(len(values))
        ]
        for label in parts[0]:
            name, _, unit = label.partition(" [")
            found[name] = (unit.rstrip("]"), np.concatenate([part[label] for part in parts]))
    references: Mapping[str, tuple[str, float]] = {}
    if isinstance(statistic, _WithReferences):
        references = statistic.references(outputs, sample.truth, sample.weight)
    rows: list[dict[str, object]] = []
    for name, (unit, replicated) in found.items():
        low, high = known_interval(replicated[1:])
        low95, high95 = known_interval(replicated[1:], HALF_95)
        label, reference = references.get(name, ("", float("nan")))
        words = {"statistic": name, "unit": unit, "value": float(replicated[0]), "n_events": len(sample.index)}
        ends = {"lo": low, "hi": high, "lo95": low95, "hi95": high95}
        rows.append({**words, **ends, "reference": label, "reference_value": float(reference)})
    return rows


def performance_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return the rows as a table with the published columns."""
    return pd.DataFrame([dict(row) for row in rows], columns=list(_COLUMNS))
