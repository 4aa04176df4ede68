"""Error of an estimate for which events, universes and training seeds are crossed random factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["CROSSED", "LEAST_SEEDS", "Estimate", "estimate", "sum_blocks"]

LEAST_SEEDS: Final = 5
"""Fewest trainings from which anything is claimed about an arm and not only about its checkpoints (convention)."""

CROSSED: Final = 32
"""Replicas in which blocks of universes are left out; what events and universes share needs no more."""

_KNOWN: Final = 0.95
"""Least share of the replicas in which the estimate must have a value."""


@dataclass(frozen=True)
class Estimate:
    """A number and what the events, the universes and the seeds each add to its variance.

    Attributes:
        value: The estimate, the mean over seeds; NaN where it has none.
        events: Variance from the finite sample of events, as the bootstrap has it.
        universes: Further variance from the finite number of universes; 0 for a catalogue of universes.
        seeds: Further variance from the finite number of trainings; 0 for one.
        freedom: Degrees of freedom of the sum of the three.
    """

    value: float
    events: float
    universes: float
    seeds: float
    freedom: float

    @property
    def error(self) -> float:
        """One standard deviation."""
        return float(np.sqrt(self.events + self.universes + self.seeds))

    def interval(self, half: float = HALF_68) -> tuple[float, float]:
        """Return the interval of 2 ``half`` probability, from Student's t."""
        reach = float(student.ppf(0.5 + half, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    def columns(self, name: str, low: str = "", high: str = "") -> dict[str, float]:
        """Return the value under ``name`` and the ends of its 68% and 95% intervals."""
        low, high = low or f"{name}_lo", high or f"{name}_hi"
        ends, wide = self.interval(), self.interval(HALF_95)
        return {name: self.value, low: ends[0], high: ends[1], f"{low}95": wide[0], f"{high}95": wide[1]}


def estimate(whole: Floats, left_out: Floats | None = None) -> Estimate:
    """Return the mean over seeds with its variance.

    Events are resampled by the bootstrap, universes are left out block by block (jackknife: unlike the plain
    bootstrap it does not understate the variance of few blocks), seeds are compared with each other. What
    two factors share would be counted twice, so it is taken off: V = V_E + V_U + V_S - V_EU - V_ES - V_US +
    V_EUS (Cameron, Gelbach and Miller 2011, J. Bus. Econ. Stat. 29, 238), where neither the universes nor
    the seeds may add less than nothing. The degrees of freedom are Satterthwaite's (1946, Biometrics Bull. 2, 110).

    Args:
        whole: (seed, 1 + replica), the estimate of each seed, replica 0 the sample itself.
        left_out: (seed, 1 + some replicas, block), the same without one block of universes; None where the
            universes are a catalogue and not a draw.

    Raises:
        DataError: fewer than 2 replicas, or fewer than 2 blocks.
    """
    if whole.shape[1] < 3:
        raise DataError(f"{whole.shape[1] - 1} bootstrap replicas: a variance over events needs 2 or more.")
    if left_out is not None and left_out.shape[2] < 2:
        raise DataError(f"{left_out.shape[2]} block of universes: a variance over universes needs 2 or more.")
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(whole).all(axis=0))
    if not known[0] or known[1:].mean() < _KNOWN:
        return Estimate(float("nan"), float("nan"), float("nan"), float("nan"), 1.0)
    drawn = whole[:, 1:][:, known[1:]]
    value, mean = float(whole[:, 0].mean()), drawn.mean(axis=0)
    events, among_seeds = float(mean.var(ddof=1)), _between(whole[:, :1])
    seeds = among_seeds - _between(drawn - whole[:, :1])
    among_blocks, universes, shared = _universes(whole, left_out)
    universes, seeds = max(0.0, universes), max(0.0, seeds - shared)
    total = events + universes + seeds
    if not np.isfinite(total):
        return Estimate(value, float("nan"), float("nan"), float("nan"), 1.0)
    # Each spread has the freedom of what it was measured on, also where a part of it is taken off as the events'.
    spreads = np.array([among_seeds, among_blocks, max(0.0, total - among_seeds - among_blocks)])
    blocks = 2 if left_out is None else left_out.shape[2]
    freedoms = np.array([max(1, len(whole) - 1), blocks - 1, len(mean) - 1])
    square = float((spreads**2 / freedoms).sum())
    return Estimate(value, events, universes, seeds, max(1.0, total**2 / square) if square > 0.0 else float("inf"))


def _universes(whole: Floats, left_out: Floats | None) -> tuple[float, float, float]:
    """Return the variance among blocks, the same less what events share, and what seeds share with blocks."""
    if left_out is None:
        return 0.0, 0.0, 0.0
    blocks, seeds = left_out.shape[2], len(whole)
    pull = (blocks - 1) * (whole[:, : left_out.shape[1], None] - left_out)
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(pull).all(axis=(0, 2)))
    pull = pull[:, known]
    if not np.isfinite(left_out[:, 0]).all() or pull.shape[1] < 3:
        return float("nan"), float("nan"), float("nan")
    moved = pull[:, 1:] - pull[:, :1]
    among = _over_blocks(pull[:, :1].mean(axis=0))
    own, own_moved = pull[:, :1] - pull[:, :1].mean(axis=0), moved - moved.mean(axis=0)
    shared = (_over_blocks(own) - _over_blocks(own_moved)) / (seeds - 1) if seeds > 1 else 0.0
    return among, among - _over_blocks(moved.mean(axis=0)), shared


def _between(values: Floats) -> float:
    """Return the variance of the mean over seeds of (seed, replica), from the seeds' spread, mean over replicas."""
    return float(values.var(axis=0, ddof=1).mean() / len(values)) if len(values) > 1 else 0.0


def _over_blocks(pull: Floats) -> float:
    """Return the jackknife variance from pseudo-values (..., block), the mean over all leading axes."""
    return float(pull.var(axis=-1, ddof=1).mean() / pull.shape[-1])


def sum_blocks(values: Floats, block: npt.NDArray[np.int64]) -> Floats:
    """Return the sum over the rows of each block, (..., block, task, task), from (..., row, task, task)."""
    order = np.argsort(block, kind="stable")
    starts = np.flatnonzero(np.diff(block[order], prepend=block.min() - 1))
    return np.asarray(np.add.reduceat(values[..., order, :, :], starts, axis=-3), dtype=np.float64)
