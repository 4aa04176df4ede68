"""Training curves: validation loss against steps, presentations, operations and seconds, and arms compared on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftlab.errors import ConfigError
from shiftlab.provenance import provenance_record, write_json, write_whole

__all__ = ["COLUMNS", "Budget", "Curve", "compare", "write_curve", "write_origin"]

COLUMNS: Final = (
    *("step", "samples", "tokens", "flops", "wall_s"),
    *("train_loss", "validation_loss", "learning_rate", "epoch"),
)
"""Columns of a curve's file; one row for each validation.

step: optimiser steps done. samples: presentations of events. tokens: tokens shown. flops: operations, forward and
backward (``shiftlab.arms.training.flops``). wall_s: seconds in steps, without validations and writes, over all
resumptions.
train_loss: mean since the previous row. validation_loss: on held-out vertices. learning_rate: of the row's last step.
epoch: presentations over distinct events. What is not known is empty.
"""

Budget = Literal["step", "samples", "tokens", "flops", "wall"]

_LEVEL = 0.95
_DRAWS = 1000

Floats = NDArray[np.float64]


def write_curve(path: Path, rows: Sequence[Mapping[str, float | None]]) -> None:
    """Replace a curve's CSV file: one mapping with ``COLUMNS`` for each point."""
    with write_whole(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False)


def write_origin(path: Path, about: Mapping[str, object]) -> None:
    """Write ``<name>.json`` beside a curve's CSV file: plain values on the training, versions and digests."""
    write_json(path.with_suffix(".json"), provenance_record(about))


@dataclass(frozen=True)
class Curve:
    """The curve of one training.

    Attributes:
        points: One row a validation, with ``COLUMNS``.
    """

    points: pd.DataFrame

    @classmethod
    def load(cls, path: Path) -> Curve:
        """Read a curve's CSV file.

        Raises:
            ConfigError: there is none, or it lacks columns.
        """
        try:
            points = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"training curve '{path}' cannot be read: {error}.") from error
        missing = [name for name in COLUMNS if name not in points.columns]
        if missing:
            raise ConfigError(f"training curve '{path}' lacks the columns {', '.join(missing)}.")
        return cls(points)

    def spent(self, by: Budget) -> Floats:
        """Return what was spent up to each validation, float64 (validation,).

        Raises:
            ConfigError: the curve has no validations, or does not know this budget.
        """
        validated = self.points[self.points["validation_loss"].notna()]
        column = "wall_s" if by == "wall" else by
        if column not in ("step", "samples", "tokens", "flops", "wall_s"):
            raise ConfigError(f"curves are compared by step, samples, tokens, flops or wall, not by '{by}'.")
        found = validated[column].to_numpy(dtype=np.float64)
        if not len(found) or np.isnan(found).any():
            what = f"'{column}' in every row" if len(found) else "validation losses"
            raise ConfigError(f"this training curve has no {what}; it cannot be compared by {by}.")
        return found

    @property
    def lowest(self) -> Floats:
        """Lowest validation loss up to each validation, float64 (validation,): of the weights that were kept."""
        losses = self.points["validation_loss"].dropna().to_numpy(dtype=np.float64)
        return np.minimum.accumulate(losses)

    def at(self, by: Budget, budget: float) -> float:
        """Return the lowest validation loss within a budget, NaN before the first validation.

        A training that ended below the budget keeps what it had.
        """
        return float(_within(self.spent(by), self.lowest, np.array([budget]))[0])

    @property
    def best(self) -> float:
        """Lowest validation loss of all."""
        self.spent("step")
        return float(self.lowest[-1])

    def best_at(self, by: Budget) -> float:
        """Return what was spent when the lowest loss was reached."""
        return float(self.spent(by)[np.argmin(self.lowest)])


def _within(spent: Floats, lowest: Floats, budgets: Floats) -> Floats:
    last = np.searchsorted(spent, budgets, side="right") - 1
    return np.where(last >= 0, lowest[np.maximum(last, 0)], np.nan)


def compare(
    arms: Mapping[str, Sequence[Curve]],
    by: Budget,
    *,
    budget: float | None = None,
    reference: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare arms at one budget, at their own best, and by what they need to match a reference.

    A loss is the mean over an arm's seeds. ``parity`` is the budget at which this mean reaches the best one of the
    reference, ``speedup`` is what the reference spent until its best over that, and ``crossing`` is the budget from
    which on the arm stays at or below the reference up to where the shorter of them ends; infinite where it
    never happens. Intervals are 95% percentile bootstraps over seeds (1000 draws, each arm's seeds on their own; Efron
    and Tibshirani, An Introduction to the Bootstrap, chapter 13), NaN for an arm with one seed.

    Args:
        arms: The curves of each arm, one a seed.
        by: What is spent: step, samples, tokens, flops or wall (seconds).
        budget: Where the losses are compared; what the cheapest training of all spent when None.
        reference: Name of the arm that parity is about; the first when None.
        seed: Seed of the bootstrap.

    Returns:
        One row for each arm with columns arm, seeds, by, budget, loss, best, best_at, parity, speedup, crossing, and
        ``*_low``, ``*_high`` of loss, best and parity.

    Raises:
        ConfigError: there are no arms, an arm has no curves, or the reference is none of them.
    """
    if not arms or not all(arms.values()):
        raise ConfigError(f"arms to compare: {list(arms) or 'none'}; each needs at least one training curve.")
    named = next(iter(arms)) if reference is None else reference
    if named not in arms:
        raise ConfigError(f"reference '{named}' is none of the arms {list(arms)}.")
    every = [curve.spent(by) for curves in arms.values() for curve in curves]
    at = min(float(spent[-1]) for spent in every) if budget is None else budget
    grid = np.unique(np.concatenate([*every, [at]]))
    tables = {
        name: np.stack([_within(curve.spent(by), curve.lowest, grid) for curve in curves])
        for name, curves in arms.items()
    }
    rows = []
    for name, curves in arms.items():
        row = {"arm": name, "seeds": len(curves), "by": by, "budget": at}
        found = _measures(tables[name], tables[named], grid, at)
        row |= {"best_at": float(np.mean([curve.best_at(by) for curve in curves])), **found}
        row["speedup"] = _first(grid, tables[named].mean(0) <= tables[named].mean(0)[-1]) / found["parity"]
        row["crossing"] = _crossing(arms, name, named, grid, tables, by)
        rows.append(row | _intervals(tables[name], tables[named], grid, at, np.random.default_rng(seed)))
    return pd.DataFrame(rows)


def _measures(own: Floats, reference: Floats, grid: Floats, at: float) -> dict[str, float]:
    mean = own.mean(0)
    return {
        "loss": float(mean[np.searchsorted(grid, at)]),
        "best": float(mean[-1]),
        "parity": _first(grid, mean <= reference.mean(0)[-1]),
    }


def _first(grid: Floats, reached: NDArray[np.bool_]) -> float:
    return float(grid[np.argmax(reached)]) if reached.any() else float("inf")


def _crossing(
    arms: Mapping[str, Sequence[Curve]], name: str, reference: str, grid: Floats, tables: dict[str, Floats], by: Budget
) -> float:
    """Return from where on the mean of an arm stays at or below that of the reference."""
    end = min(float(curve.spent(by)[-1]) for one in (name, reference) for curve in arms[one])
    shared = grid <= end
    # A place where one of them has no validation yet decides nothing.
    below = ~(tables[name].mean(0)[shared] > tables[reference].mean(0)[shared])
    known = np.isfinite(tables[name].mean(0)[shared]) & np.isfinite(tables[reference].mean(0)[shared])
    after = np.logical_and.accumulate(below[::-1])[::-1] & known
    return _first(grid[shared], after)


def _intervals(own: Floats, reference: Floats, grid: Floats, at: float, rng: np.random.Generator) -> dict[str, float]:
    keys = ("loss", "best", "parity")
    if len(own) < 2:
        return {f"{key}_{side}": float("nan") for key in keys for side in ("low", "high")}
    draw: Callable[[Floats], Floats] = lambda table: table[rng.integers(0, len(table), len(table))]  # noqa: E731
    drawn = [_measures(draw(own), draw(reference), grid, at) for _ in range(_DRAWS)]
    tail = (1 - _LEVEL) / 2
    found: dict[str, float] = {}
    for key in keys:
        # Of infinite parities there is no mean: the interval ends at a draw.
        low, high = np.quantile([one[key] for one in drawn], [tail, 1 - tail], method="inverted_cdf")
        found |= {f"{key}_low": float(low), f"{key}_high": float(high)}
    return found
