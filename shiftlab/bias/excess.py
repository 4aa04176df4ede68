"""Excess correlation: how much more the biases of one arm's tasks move together than those of another arm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.covariance import RELIABLE, Part, correlation, nearest_psd
from shiftlab.bias.multiway import CROSSED, LEAST_SEEDS, Estimate, estimate, sum_blocks
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = [
    "EXCESS_COLUMNS",
    "Excess",
    "excess",
    "excess_table",
    "joint_rows",
    "log_inflation",
    "mean_correlation",
    "unisim_rows",
]

EXCESS_COLUMNS: Final = (
    *("arm", "minus_arm", "seed", "recalibrate", "excess", "lo", "hi", "lo95", "hi95"),
    *("log_kappa_ratio", "log_kappa_ratio_lo", "log_kappa_ratio_hi", "log_kappa_ratio_lo95", "log_kappa_ratio_hi95"),
    *("rho", "minus_rho", "pairs", "seeds", "blocks", "share_events", "share_universes", "share_seeds", "flag"),
)

_FEW: Final = 0.5
"""Stretch of the error over universes, 1 + 0.5 / sqrt(blocks): what 16 draws need, from pseudo-experiments."""


@dataclass(frozen=True)
class Excess:
    """Difference of two arms on the same events, universes and random numbers.

    The baseline is the other arm and never 0: tasks that see the same event move together without sharing a body.

    Attributes:
        rho: Mean over pairs of tasks, then over seeds, of rho(arm) - rho(minus arm).
        log_kappa: Log of the ratio of the arms' combination inflations; 0 = the same inflation.
        arm_rho: Mean rho of the arm.
        minus_rho: Mean rho of the other.
        seed_rho: ``rho`` of every seed, for the trainings at hand: no seed variance.
        seed_log_kappa: ``log_kappa`` of every seed, likewise.
        pairs: Number of pairs of tasks.
        unreliable: Tasks without a pair, since event noise makes up more than half of their variance in
            one arm and seed or other.
        blocks: Number of blocks of universes that count as draws; 0 for a catalogue.
    """

    rho: Estimate
    log_kappa: Estimate
    arm_rho: Estimate
    minus_rho: Estimate
    seed_rho: tuple[Estimate, ...]
    seed_log_kappa: tuple[Estimate, ...]
    pairs: int
    unreliable: tuple[str, ...]
    blocks: int

    @property
    def claim(self) -> bool:
        """Whether there are seeds enough to speak of the arms and not only of these trainings."""
        return len(self.seed_rho) >= LEAST_SEEDS

    @property
    def flag(self) -> str:
        """Why nothing is claimed; empty where something is."""
        if not self.pairs:
            return "fewer than two reliable tasks"
        return "" if self.claim else f"no claim: {len(self.seed_rho)} seeds, {LEAST_SEEDS} are needed"


def unisim_rows(parts: Sequence[Part]) -> Floats:
    """Return rows x whose sum of x x^T is the covariance of the one-nuisance universes, (1 + replica, row, task).

    Those of every nuisance (``Part.rows``), unknown maps included.
    """
    return np.concatenate([part.rows for part in parts], axis=1)


def joint_rows(displacement: Floats, blocks: Sequence[Sequence[int]]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return rows whose sum of x x^T is the second moment of joint universes about nominal, and each row's block.

    About nominal since the mean of antithetic pairs has no odd part: such pairs are independent draws about
    nominal only, each pair one block. Points of one Sobol scrambling are not independent: a scrambling is a block.

    Args:
        displacement: (..., 1 + replica, universe, task).
        blocks: The universes of each block, all blocks of one size.

    Raises:
        DataError: blocks of several sizes.
    """
    sizes = sorted({len(block) for block in blocks})
    if len(sizes) > 1:
        raise DataError(f"blocks of {sizes} joint universes: leaving one out needs blocks of one size.")
    order = [universe for block in blocks for universe in block]
    return displacement[..., order, :] / np.sqrt(len(order)), np.repeat(np.arange(len(blocks)), sizes[0])


def log_inflation(covariance: Floats, weights: Floats) -> Floats:
    """Return log kappa = log(w^T S w / sum_h w_h^2 S_hh) of covariances (..., task, task).

    kappa is the variance of the combination over what it would be if the tasks moved independently; NaN where nothing
    moves.
    """
    together = np.einsum("...ab,a,b->...", covariance, weights, weights)
    alone = np.einsum("...aa,a->...", covariance, weights**2)
    valid = (together > 0.0) & (alone > 0.0)
    ratio = np.divide(together, alone, out=np.full(together.shape, np.nan), where=valid)
    return np.asarray(np.log(ratio), dtype=np.float64)


def excess(
    rows: Floats,
    tasks: Sequence[str],
    *,
    block: npt.NDArray[np.int64] | None = None,
    weights: Floats | None = None,
) -> Excess:
    """Return how much more the first arm's tasks move together than the second's, with joint intervals.

    The interval is over events, seeds (by number: seed s of one arm against seed s of the other) and, where ``block``
    says that the universes are draws, universes.

    Coverage of the 68% and 95% intervals with 5 seeds (``shiftlab validate statistics``, 2,000 pseudo-experiments of
    each kind of response): on one-nuisance universes 0.67-0.69 and 0.94-0.95 (excess), 0.66-0.69 and 0.93-0.95 (log
    kappa; the lowest where tasks do not correlate); on 16 and 64 independent universes 0.72 and 0.71, 0.95 and 0.96
    (excess), 0.74 and 0.71, 0.97 and 0.96 (log kappa), since the error over universes is stretched by
    1 + 0.5 / sqrt(universes). Where events scatter most and seeds hardly it is conservative: 0.71-0.74 and 0.97.

    Args:
        rows: (2, seed, 1 + replica, row, task), from ``unisim_rows`` or ``joint_rows``, in one currency; replica 0 is
            the sample itself, and replicas share their event weights over arms and seeds.
        tasks: Names of the tasks.
        block: int (row,), the block of draws that a row belongs to; None for a catalogue of universes.
        weights: (task,), weights of the combination; equal ones by default.

    Raises:
        DataError: not two arms, fewer than 2 tasks, a value is not finite, or shapes differ.
    """
    _check(rows, tasks)
    weight = np.ones(len(tasks)) if weights is None else np.asarray(weights, dtype=np.float64)
    keep = np.flatnonzero(_reliability(rows).min(axis=(0, 1)) >= RELIABLE)
    whole, left = _statistics(rows, block, keep, weight)
    difference, difference_left = whole[0] - whole[1], None if left is None else left[0] - left[1]

    def over(values: Floats, without: Floats | None, which: int) -> Estimate:
        if without is None:
            return estimate(values[..., which])
        return estimate(values[..., which], without[..., which], stretch=1.0 + _FEW / np.sqrt(without.shape[2]))

    def each(which: int) -> tuple[Estimate, ...]:
        one = (slice(s, s + 1) for s in range(rows.shape[1]))
        return tuple(over(difference[s], None if difference_left is None else difference_left[s], which) for s in one)

    return Excess(
        rho=over(difference, difference_left, 0),
        log_kappa=over(difference, difference_left, 1),
        arm_rho=over(whole[0], None if left is None else left[0], 0),
        minus_rho=over(whole[1], None if left is None else left[1], 0),
        seed_rho=each(0),
        seed_log_kappa=each(1),
        pairs=len(keep) * (len(keep) - 1) // 2,
        unreliable=tuple(task for t, task in enumerate(tasks) if t not in keep),
        blocks=0 if block is None else len(np.unique(block)),
    )


def mean_correlation(rows: Floats) -> tuple[Estimate, int]:
    """Return the mean rho over an arm's pairs of reliable tasks with its interval, and the number of these pairs.

    Unlike ``Excess.arm_rho`` it does not depend on which tasks are reliable in another arm.

    Args:
        rows: (seed, 1 + replica, row, task), from ``unisim_rows``.
    """
    keep = np.flatnonzero(_reliability(rows[None]).min(axis=(0, 1)) >= RELIABLE)
    whole, _ = _statistics(rows[None], None, keep, np.ones(rows.shape[-1]))
    return estimate(whole[0, ..., 0]), len(keep) * (len(keep) - 1) // 2


def _check(rows: Floats, tasks: Sequence[str]) -> None:
    if rows.ndim != 5 or rows.shape[0] != 2:
        raise DataError(f"excess compares 2 arms, axes (arm, seed, replica, row, task); the rows have {rows.shape}.")
    if rows.shape[4] != len(tasks) or len(tasks) < 2:
        raise DataError(f"rows of {rows.shape[4]} tasks, {len(tasks)} names; a correlation needs 2 tasks or more.")
    bad = ~np.isfinite(rows)
    if bad.any():
        arm, seed, replica, row, task = np.argwhere(bad)[0]
        raise DataError(
            f"{int(bad.sum())} responses are not finite, the first for task '{tasks[task]}', arm {arm}, seed number "
            f"{seed}, replica {replica}, row {row}."
        )


def _reliability(rows: Floats) -> Floats:
    """Return the share of each task's variance that is not event noise, (arm, seed, task); 0 where nothing moves."""
    raw = (rows**2).sum(axis=3)
    size, noise = raw[:, :, 0], raw[:, :, 1:].mean(axis=2) - raw[:, :, 0]
    share: Floats = np.divide(size - noise, size, out=np.zeros_like(size), where=size > 0.0)
    return share


def _statistics(
    rows: Floats, block: npt.NDArray[np.int64] | None, keep: npt.NDArray[np.int64], weight: Floats
) -> tuple[Floats, Floats | None]:
    """Return mean rho and log kappa on the last axis: (arm, seed, 1 + replica, 2), and without each block."""
    arms, seeds = rows.shape[:2]
    whole = np.empty((arms, seeds, rows.shape[2], 2))
    left = []
    for a, s in np.ndindex(arms, seeds):
        total, without = _covariances(rows[a, s], block)
        scale = (rows[a, s, 0] ** 2).sum(axis=0)
        whole[a, s] = _read(total, scale, keep, weight)
        if without is not None:
            left.append(_read(without, scale, keep, weight))
    return whole, np.stack(left).reshape(arms, seeds, *left[0].shape) if left else None


def _covariances(rows: Floats, block: npt.NDArray[np.int64] | None) -> tuple[Floats, Floats | None]:
    """Return covariances freed of event noise, (1 + replica, task, task), and without each block.

    The noise adds its covariance to every product once, and once more in a replica.
    """
    product = np.swapaxes(rows, -1, -2) @ rows
    noise = product[1:].mean(axis=0) - product[0]
    times = np.full((len(rows), 1, 1), 2.0)
    times[0] = 1.0
    total = product - times * noise
    if block is None:
        return total, None
    number = len(np.unique(block))
    second = np.einsum("rka,rkb->kab", rows[1:], rows[1:], optimize=True) / (len(rows) - 1)
    row_noise = second - rows[0, :, :, None] * rows[0, :, None, :]
    few = rows[: 1 + CROSSED]
    parts = few[..., :, None] * few[..., None, :] - times[: len(few), None] * row_noise
    return total, (total[: len(few), None] - sum_blocks(parts, block)) * (number / (number - 1.0))


def _read(covariance: Floats, scale: Floats, keep: npt.NDArray[np.int64], weight: Floats) -> Floats:
    """Return the mean correlation of the kept tasks and the log of the inflation of all, (..., 2)."""
    out = np.full((*covariance.shape[:-2], 2), np.nan)
    if len(keep) > 1:
        rows, columns = np.ix_(keep, keep)
        rho = correlation(nearest_psd(covariance[..., rows, columns], scale[keep]))
        out[..., 0] = rho[..., *np.triu_indices(len(keep), 1)].mean(axis=-1)
    out[..., 1] = log_inflation(nearest_psd(covariance, scale), weight)
    return out


def excess_table(
    found: Excess, arm: str, minus_arm: str, seeds: Sequence[int], recalibrate: str = "none"
) -> pd.DataFrame:
    """Return one row per seed and, of several, one of seed "all" with the seeds' spread in its intervals.

    Columns: ``EXCESS_COLUMNS``. Shares are those of the variance of ``excess``.
    """
    head = {
        "arm": arm,
        "minus_arm": minus_arm,
        "recalibrate": recalibrate,
        "pairs": found.pairs,
        "blocks": found.blocks,
    }
    rows: list[dict[str, object]] = [
        {**head, "seed": seed, "seeds": 1, **_columns(rho, kappa), "flag": "these trainings only"}
        for seed, rho, kappa in zip(seeds, found.seed_rho, found.seed_log_kappa, strict=True)
    ]
    means = {"rho": found.arm_rho.value, "minus_rho": found.minus_rho.value}
    if len(seeds) > 1:
        every = _columns(found.rho, found.log_kappa)
        rows.append({**head, "seed": "all", "seeds": len(seeds), **every, **means, "flag": found.flag})
    else:
        rows[0] |= {**means, "flag": found.flag}
    return pd.DataFrame(rows, columns=list(EXCESS_COLUMNS))


def _columns(rho: Estimate, log_kappa: Estimate) -> dict[str, float]:
    total = rho.error**2
    shares = {
        f"share_{name}": value / total if total > 0.0 else float("nan")
        for name, value in (("events", rho.events), ("universes", rho.universes), ("seeds", rho.seeds))
    }
    return {**rho.columns("excess", "lo", "hi"), **log_kappa.columns("log_kappa_ratio"), **shares}
