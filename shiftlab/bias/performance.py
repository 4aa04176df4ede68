"""Nominal performance of every head with its statistical interval, beside a predictor that knows nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol, runtime_checkable

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

_LIFTED: Final = "ECE"
"""Beginning of the names of statistics that the scatter of few events makes larger than they are."""


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
    for name, (unit, plain) in found.items():
        replicated = _without_noise(plain) if name.startswith(_LIFTED) else plain
        low, high = known_interval(replicated[1:])
        low95, high95 = known_interval(replicated[1:], HALF_95)
        label, reference = references.get(name, ("", float("nan")))
        words = {"statistic": name, "unit": unit, "value": float(replicated[0]), "n_events": len(sample.index)}
        ends = {"lo": low, "hi": high, "lo95": low95, "hi95": high95}
        rows.append({**words, **ends, "reference": label, "reference_value": float(reference)})
    return rows


def _without_noise(values: Floats) -> Floats:
    """Return a sum of absolute values, (1 + replica,), without what the scatter of events adds to it; never below 0.

    Scatter adds to the sample's value about what the bootstrap adds once more, so that 2 v - mean of the replicas has
    less of it; a replica holds it twice (``shiftlab.bias.covariance.systematic`` does the same with squares). It is one
    step: where nothing but scatter is there, 2 - sqrt(2) = 0.59 of it stays (mean of |x| for a normal x).
    """
    known = values[1:][np.isfinite(values[1:])]
    noise = float(known.mean() - values[0]) if len(known) else 0.0
    value = max(0.0, float(values[0]) - noise)
    # About the value that is quoted, so that one cut off at 0 keeps the width of its interval above.
    around = values[1:] - values[0] - noise
    freed: Floats = np.clip(np.concatenate([[value], value + around]), 0.0, None)
    return freed


def performance_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return the rows as a table with the published columns."""
    return pd.DataFrame([dict(row) for row in rows], columns=list(_COLUMNS))
