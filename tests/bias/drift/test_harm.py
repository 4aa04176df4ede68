"""Drift against harm: ranks, families of nuisances as the draws, coverage."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.drift.harm import drift_against_harm
from shiftlab.errors import DataError

FAMILIES = [f"n{k}" for k in range(12) for _ in range(2)]


def _coverage(rho: float, experiments: int, level: float) -> float:
    """Return how often the interval holds Spearman's rho of a normal pair, 6 / pi arcsin(rho / 2).

    Both universes of a family share nearly all of their drift and harm.
    """
    rng = np.random.default_rng(5)
    truth = 6.0 / np.pi * np.arcsin(rho / 2.0)
    root = np.linalg.cholesky(np.array([[1.0, rho], [rho, 1.0]]))
    inside = []
    for _ in range(experiments):
        shared, own = rng.standard_normal((2, 24, 2)) @ root.T
        values = np.sqrt(0.9) * np.repeat(shared[:12], 2, axis=0) + np.sqrt(0.1) * own
        row = drift_against_harm(values[:, 0], values[:, 1:], FAMILIES, ["a"], level).iloc[0]
        inside.append(row.lo <= truth <= row.hi)
    return float(np.mean(inside))


def test_equal_ranks_correlate_fully_whatever_the_scale() -> None:
    drift = np.random.default_rng(0).random(24)
    table = drift_against_harm(drift, np.column_stack([drift**3, -drift]), FAMILIES, ["follows", "against"])
    assert table["rho"].tolist() == pytest.approx([1.0, -1.0])
    assert table["error"].tolist() == pytest.approx([0.0, 0.0])
    assert table.loc[0, ["universes", "families"]].tolist() == [24, 12]


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_interval_covers_with_universes_in_families(rho: float) -> None:
    assert _coverage(rho, 100, 0.683) > 0.683 - 3.0 * np.sqrt(0.683 * 0.317 / 100)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("level", [0.683, 0.95])
def test_the_interval_covers_in_2000_experiments(rho: float, level: float) -> None:
    share = _coverage(rho, 2000, level)
    print(f"drift against harm, rho {rho}, {level}: {share:.3f}")
    assert share > level - 3.0 * np.sqrt(level * (1.0 - level) / 2000)


def test_what_has_no_ranks_is_refused() -> None:
    drift = np.arange(24.0)
    with pytest.raises(DataError, match="3 families"):
        drift_against_harm(drift[:6], drift[:6, None], FAMILIES[:6], ["a"])
    with pytest.raises(DataError, match="harm of task 'a' is the same"):
        drift_against_harm(drift, np.ones((24, 1)), FAMILIES, ["a"])
    with pytest.raises(DataError, match="do not fit"):
        drift_against_harm(drift, np.ones((24, 2)), FAMILIES, ["a"])
    with pytest.raises(DataError, match="not finite"):
        drift_against_harm(np.full(24, np.nan), np.ones((24, 1)), FAMILIES, ["a"])
