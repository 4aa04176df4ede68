"""Sentences that several studies answer with: the largest bias, and what detector systematics cost the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from shiftlab.bias import Bias
    from shiftlab.fit import FitResult

__all__ = ["fits", "largest", "largest_of_each", "single"]


def single(bias: Bias) -> pd.DataFrame:
    """Return the biases that may be quoted: one displacement, not recalibrated, above their Monte Carlo error."""
    table = bias.table
    plain = (table["group"] == "unisim") & (table["recalibrate"] == "none") & (table["not_quoted"] == "")
    return table[plain & ~table["mc_limited"].astype(bool)]


def largest(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return the row whose bias is largest in units of the data's statistical error."""
    return rows.sort_values("bias_over_sigma_data", key=abs).iloc[-1]


def largest_of_each(bias: Bias, by: Sequence[str]) -> list[str]:
    """Return a sentence for each result: the universe that moves it most.

    Args:
        bias: biases of all arms, seeds and tasks.
        by: what tells results apart: ``arm`` or nothing; task and statistic always do.
    """
    lines = []
    for (*arm, task, statistic), rows in single(bias).groupby([*by, "task", "statistic"], sort=False):
        row = largest(rows)
        who = f"Arm {arm[0]}, {task}" if arm else task
        lines.append(
            f"{who}: {statistic} moves most in universe {row['universe']}, by {row['bias']:+.3g} ± "
            f"{row['bias_error']:.1g}, {abs(row['bias_over_sigma_data']):.2f} data statistical errors "
            f"(seed {row['seed']})."
        )
    return lines or ["No bias is larger than its Monte Carlo error."]


def fits(results: Mapping[tuple[str, int], FitResult]) -> list[str]:
    """Return a sentence for each arm and seed: the error of mu and its part from the detector."""
    return [
        f"Fit of arm {arm}, seed {seed}: sigma(mu) = {result.summary['sigma']:.3f}, of which detector systematics "
        f"{result.summary['sigma_systematic']:.3f}."
        for (arm, seed), result in results.items()
    ]
