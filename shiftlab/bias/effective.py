"""How many independent tasks the biases of several tasks are worth, and whether that differs from chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from scipy.special import hyp2f1

from shiftlab.bias.joint_moments import Moments, Sampling, joint_moments, loose_correlation
from shiftlab.bias.statistic import Floats
from shiftlab.bias.universe_interval import LEVEL_68, Limits, jackknife_error, parts_of, pivot_interval, stretched
from shiftlab.errors import ConfigError, DataError

__all__ = [
    *("Band", "chance", "effective_interval", "effective_number", "entropy_rank", "leading_fraction", "null_band"),
    "sign_coherence",
]

_CHUNK: Final = 2**22
"""Most numbers in one chunk of permuted universes (32 MiB)."""


def effective_number(rho: Floats, freedom: float | None = None) -> Floats:
    """Return H_eff = (tr C)^2 / tr(C^2) = H / (1 + (H - 1) mean rho^2), shape (...).

    With few universes chance adds about (1 - rho^2)^2 / freedom to every rho^2, so that independent tasks look
    correlated. With ``freedom`` rho^2 is replaced by its unbiased estimate for normal biases, and the mean over pairs
    of tasks is cut off at 0. For small rho that is (rho^2 - 1 / freedom) / (1 - 1 / freedom); for large rho the
    latter would take off too much.

    Args:
        rho: (..., task, task), correlations.
        freedom: Independent draws less the fitted mean: universes - 1 for single draws about the mean, the number of
            pairs for antithetic pairs about nominal; None for a catalogue of universes, which is no sample.

    Raises:
        ConfigError: fewer than 4 degrees of freedom.
    """
    return _number(_mean_square(rho, freedom), rho.shape[-1])


def _number(square: Floats, tasks: int) -> Floats:
    return np.asarray(tasks / (1.0 + (tasks - 1.0) * np.clip(square, 0.0, 1.0)), dtype=np.float64)


def _mean_square(rho: Floats, freedom: float | None) -> Floats:
    """Return the mean of rho^2 over pairs of tasks (...), freed of what chance adds; it may be below 0.

    Olkin and Pratt (1958, Ann. Math. Stat. 29, 201) for one regressor and N = freedom + 1 observations:
    1 - (N - 3) / (N - 2) (1 - r^2) 2F1(1, 1; N / 2; 1 - r^2).
    """
    if rho.shape[-1] == 1:
        return np.zeros(rho.shape[:-2])
    square = rho[..., *np.triu_indices(rho.shape[-1], 1)] ** 2
    if freedom is not None:
        if freedom < 4:
            raise ConfigError(f"{freedom:g} degrees of freedom for a correlation over universes; 4 or more are needed.")
        ratio = (freedom - 2.0) / (freedom - 1.0)
        square = 1.0 - ratio * (1.0 - square) * hyp2f1(1.0, 1.0, (freedom + 1.0) / 2.0, 1.0 - square)
    return np.asarray(square.mean(axis=-1), dtype=np.float64)


def entropy_rank(rho: Floats) -> Floats:
    """Return exp(-sum p log p), p the eigenvalues over their sum, shape (...) (Roy and Vetterli 2007, EUSIPCO)."""
    share = _shares(rho)
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0.0)
    return np.asarray(np.exp(-(share * logarithm).sum(axis=-1)), dtype=np.float64)


def leading_fraction(rho: Floats) -> Floats:
    """Return the largest eigenvalue over the sum, shape (...): 1 / H for independent tasks, 1 for copies of one."""
    return np.asarray(_shares(rho)[..., -1], dtype=np.float64)


def sign_coherence(rho: Floats) -> Floats:
    """Return |sum_h sign(v_h) v_h^2| of the leading eigenvector v, shape (...).

    1 where all tasks of the leading mode move to the same side, 0 where as much moves up as down.
    """
    leading = np.linalg.eigh(rho)[1][..., -1]
    return np.asarray(np.abs((np.sign(leading) * leading**2).sum(axis=-1)), dtype=np.float64)


def _shares(rho: Floats) -> Floats:
    """Return the eigenvalues over their sum, ascending, those below 0 (of a debiased matrix) set to 0; (..., task)."""
    values = np.clip(np.linalg.eigvalsh(rho), 0.0, None)
    return np.asarray(values / values.sum(axis=-1, keepdims=True), dtype=np.float64)


def effective_interval(moments: Moments, level: float = LEVEL_68) -> Limits:
    """Return H_eff of the debiased correlations with its interval over events, universes and seeds, one cell (1,).

    The mean of rho^2, freed of what chance adds, is the pivot; H_eff falls with it and lies between 1 and H. With 32
    draws and 6 tasks it covers 0.98, 0.71 and 0.74 where 0.68 is claimed for rho = 0, 0.3 and 0.7, and 1.00, 0.92 and
    0.96 where 0.95 is: slightly too few for weak correlations, where the mean of rho^2 is skewed.

    Raises:
        DataError: a task has no variance beyond event noise.
    """
    variances = np.diagonal(moments.estimate, axis1=-2, axis2=-1)
    still = np.flatnonzero((variances <= 0.0).any(axis=0))
    if len(still):
        names = ", ".join(str(task) for task in still)
        raise DataError(f"task number {names}: no variance beyond event noise; leave it out of the effective number.")
    tasks, freedom = moments.estimate.shape[-1], chance(moments)
    squares = (_mean_square(loose_correlation(part), freedom)[..., None] for part in parts_of(moments))
    stretch = (stretched(moments),) * 2
    centre, low, high, universe, event, seed = pivot_interval(*squares, level=level, stretch=stretch)
    number, low, high = (_number(square, tasks) for square in (centre, high, low))
    return Limits(number, low, high, level, universe, event, seed, np.full(centre.shape, "mean rho^2"))


def chance(moments: Moments) -> float | None:
    """Return the degrees of freedom of a correlation over these universes; None where they are no sample.

    Single draws and pairs: their number, less 1 about the mean. Scramblings, which fill space more evenly than
    draws: 1 over the mean jackknife variance of rho.
    """
    if not moments.blocks:
        return None
    if moments.draws == moments.blocks:
        return float(moments.draws - (moments.about == "mean"))
    each = loose_correlation(moments.left_out).mean(axis=0)[:, *np.triu_indices(moments.estimate.shape[-1], 1)]
    variance = float((jackknife_error(each) ** 2).mean())
    return max(float(moments.draws - 1), 1.0 / variance) if variance > 0.0 else None


@dataclass(frozen=True)
class Band:
    """A number of the tasks' correlation matrix beside what independent tasks give in as many universes.

    Attributes:
        observed: The number.
        low: Lower end of the band of the permuted universes.
        high: Upper end.
        median: Their median.
        p_value: Share of permutations, the observation counted as one, that are at least as far from independence.
    """

    observed: float
    low: float
    high: float
    median: float
    p_value: float


def null_band(
    displacement: Floats,
    blocks: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    permutations: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Band]:
    """Return effective number, entropy rank and leading fraction beside their bands for independent tasks.

    Universes are permuted independently for each task, which keeps each task's distribution and breaks all
    correlation; antithetic pairs are permuted as pairs and turned round at random. About the mean, event noise
    included on both sides (it correlates tasks, so debiased numbers are quoted for the strength, these for chance).

    Args:
        displacement: (universe, task) of one arm and seed.
        blocks: Numbers of the joint universes, block by block.
        sampling: How they were drawn.
        permutations: How many.
        level: Probability of the band.
        seed: Of the permutations.

    Raises:
        ConfigError: fewer than 20 permutations.
        DataError: too few blocks, or a task that does not move.
    """
    if permutations < 20:
        raise ConfigError(f"permutations = {permutations}; 20 or more are needed for a band.")
    moments = joint_moments(displacement[None], blocks, sampling, "mean")
    still = np.flatnonzero(np.diag(moments.raw[0]) <= 0.0)
    if len(still):
        raise DataError(f"task number {', '.join(map(str, still))} moves alike in every universe; leave it out.")
    size = len(blocks[0]) if sampling == "pairs" else 1
    ordered = displacement[[universe for block in blocks for universe in block]]
    grouped = ordered.reshape(-1, size, ordered.shape[1])
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // ordered.size)
    counts = [min(chunk, permutations - start) for start in range(0, permutations, chunk)]
    null = np.concatenate([_correlations(_permuted(grouped, count, rng)) for count in counts])
    observed, freedom = _correlations(ordered[None]), chance(moments)
    numbers: dict[str, tuple[Callable[[Floats], Floats], float]] = {
        "effective number": (partial(effective_number, freedom=freedom), -1.0),
        "entropy rank": (entropy_rank, -1.0),
        "leading fraction": (leading_fraction, 1.0),
    }
    return {
        name: _band(function(observed)[0], function(null), sign, level) for name, (function, sign) in numbers.items()
    }


def _band(observed: float, null: Floats, sign: float, level: float) -> Band:
    low, median, high = np.quantile(null, [0.5 - level / 2.0, 0.5, 0.5 + level / 2.0])
    beyond = int((sign * null >= sign * observed - 1e-12).sum())
    return Band(float(observed), float(low), float(high), float(median), (1.0 + beyond) / (1.0 + len(null)))


def _permuted(grouped: Floats, number: int, rng: np.random.Generator) -> Floats:
    """Return (permutation, universe, task) of (block, universe of the block, task), shuffled task by task."""
    blocks, size, tasks = grouped.shape
    order = np.argsort(rng.random((number, blocks, tasks)), axis=1)
    turn = rng.integers(size, size=(number, blocks, 1, tasks))
    inside = (np.arange(size)[:, None] + turn) % size
    drawn = grouped[order[:, :, None, :], inside, np.arange(tasks)]
    return np.asarray(drawn.reshape(number, blocks * size, tasks), dtype=np.float64)


def _correlations(displacement: Floats) -> Floats:
    """Return (permutation, task, task) of (permutation, universe, task)."""
    centred = displacement - displacement.mean(axis=1, keepdims=True)
    return loose_correlation(np.swapaxes(centred, 1, 2) @ centred)
