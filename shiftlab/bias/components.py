"""Variance components of biases: what all trainings share under a shift, and what each training has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.covariance import nearest_psd
from shiftlab.bias.multiway import LEAST_SEEDS
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["NAMES", "Components", "components", "component_table", "correlation_shares"]

NAMES: Final = ("shift", "seed", "residual")
"""Components, in the order of ``Components.covariance``."""

_DRAWS: Final = 2000
"""Draws of the expected mean squares; 2,000 give the end of a 95% interval to 2% of its length."""


@dataclass(frozen=True)
class Components:
    """Components of b_hus = mu_h + shift_hu + seed_hs + residual_hus, universes and seeds as random draws.

    Attributes:
        mean: (task,), mu.
        covariance: (3, task, task), of the shift, the seed and the residual, freed of event noise, by the method of
            moments: unbiased, and so not always positive.
        variance_draws: (3, draw, task), plausible variances, from which intervals are read.
        pair_draws: (3, draw, pair, 3), plausible variance of the first task, covariance and variance of the second, of
            every pair of tasks in the order of ``itertools.combinations``.
        freedom: Degrees of freedom of the mean squares among universes, among seeds and of what is left, (3, task);
            the last corrected for a residual that is alike in many universes.
        seeds: Number of seeds.
        universes: Number of independent universes (or antithetic pairs).
    """

    mean: Floats
    covariance: Floats
    variance_draws: Floats
    pair_draws: Floats
    freedom: Floats
    seeds: int
    universes: int

    @property
    def claim(self) -> bool:
        """Whether there are seeds enough to quote the seed's and the residual's size."""
        return self.seeds >= LEAST_SEEDS


def components(bias: Floats, *, pairs: bool = False, tasks: Sequence[str] | None = None, seed: int = 0) -> Components:
    """Split biases over universes and seeds into shift, seed and residual by the two-way analysis of variance.

    The shift is what every training does alike in a universe: it comes from the input and the recipe. The seed is a
    training's own offset in all universes; the residual what a training does on its own in one universe, so mostly its
    own sensitivity to the shift. Correlation by the latter two is the training's accident and not the arm's doing.

    Mean squares among universes, among seeds and of the residual have expectations residual + S shift, residual + U
    seed and residual (Searle, Casella and McCulloch, Variance Components, 1992, ch. 4). With antithetic pairs the
    halves of the difference have mean zero and hold no seed offset: they are analysed apart and added.

    Intervals: generalised confidence intervals (Weerahandi 1993, J. Am. Stat. Assoc. 88, 899), from mean squares
    times freedom over draws of Wishart matrices, by Cholesky factors (Krishnamoorthy and Xia 2007, J. Stat. Plan.
    Inference 137, 2312); event noise enters by drawing the mean squares of a bootstrap replica. The residual of a
    training that answers to few nuisances is alike in many universes: its freedom is that of Box (1954, Ann. Math.
    Stat. 25, 290) with the unbiased moments of a Wishart matrix. The freedom of the mean square among universes is
    lowered where their squares scatter more than those of normals.

    Coverage of 68% and 95% intervals with 5 seeds and 16 or 64 universes or as many in pairs (``shiftlab validate
    statistics``, 2,000 pseudo-experiments of each of five kinds of response): shift 0.68-0.73 and 0.95-0.97, seed
    0.67-0.69 and 0.94-0.95, residual 0.68-0.71 and 0.93-0.96 (0.92 at 95% where all tasks are copies of one: five
    trainings of one task tell badly how much trainings differ), correlation and its parts 0.75-0.84 and 0.98
    (conservative).

    Args:
        bias: (1 + replica, seed, universe, task), every seed in every universe; replica 0 the sample itself.
            Universes are independent draws or, with ``pairs``, antithetic ones side by side.
        pairs: Universes 2 p and 2 p + 1 are an antithetic pair.
        tasks: Names of the tasks, for messages.
        seed: Seed of the draws.

    Raises:
        DataError: a bias is not finite, or there are fewer than 2 seeds or 3 universes (or pairs).
    """
    names = tasks or [f"number {t}" for t in range(bias.shape[-1])]
    _check(bias, pairs, names)
    parts = []
    if pairs:
        plus, minus = bias[:, :, 0::2], bias[:, :, 1::2]
        parts.append(_analysis((plus + minus) / 2.0, True))
        parts.append(_analysis((plus - minus) / 2.0, False))
    else:
        parts.append(_analysis(bias, True))
    rng = np.random.default_rng(seed)
    drawn = [part.drawn(rng) for part in parts]
    return Components(
        mean=bias[0].mean(axis=(0, 1)),
        covariance=np.sum([part.components(part.squares[0] - part.noise) for part in parts], axis=0),
        variance_draws=np.sum([variances for variances, _ in drawn], axis=0),
        pair_draws=np.sum([covariances for _, covariances in drawn], axis=0),
        freedom=np.mean([part.freedom for part in parts], axis=0),
        seeds=bias.shape[1],
        universes=bias.shape[2] // 2 if pairs else bias.shape[2],
    )


def _check(bias: Floats, pairs: bool, tasks: Sequence[str]) -> None:
    if bias.ndim != 4:
        raise DataError(f"variance components need biases (replica, seed, universe, task); given were {bias.shape}.")
    bad = ~np.isfinite(bias)
    if bad.any():
        replica, seed, universe, task = np.argwhere(bad)[0]
        raise DataError(
            f"{int(bad.sum())} biases are not finite, the first of task '{tasks[task]}', seed number {seed}, "
            f"universe number {universe}, replica {replica}."
        )
    number = bias.shape[2] // 2 if pairs else bias.shape[2]
    if bias.shape[0] < 3 or bias.shape[1] < 2 or number < 3 or (pairs and bias.shape[2] % 2):
        raise DataError(
            f"variance components need 2 replicas, 2 seeds and 3 independent universes or whole pairs; given were "
            f"{bias.shape[0] - 1} replicas, {bias.shape[1]} seeds and {bias.shape[2]} universes, pairs = {pairs}."
        )


@dataclass(frozen=True)
class _Analysis:
    """Mean squares (1 + replica, 3, task, task) among universes, among seeds and of the residual.

    ``cross`` (seed, task, task) is what each seed adds to the shift's covariance by the product of its residual with
    the mean response; it sums to zero over these seeds, and its spread is that of the shift over other seeds.
    """

    squares: Floats
    noise: Floats
    freedom: Floats
    cross: Floats
    universes: int
    offset: bool

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.cross)

    def components(self, squares: Floats) -> Floats:
        """Return shift, seed and residual of mean squares (3, ..., task, task)."""
        among_universes, among_seeds, residual = squares
        shift = (among_universes - residual) / self.seeds
        seed = (among_seeds - residual) / self.universes if self.offset else np.zeros_like(residual)
        return np.stack([shift, seed, residual])

    def drawn(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return draws of the components: variances (3, draw, task) and pairs (3, draw, pair, 3)."""
        replica = rng.integers(len(self.squares) - 1, size=_DRAWS)
        tasks = self.squares.shape[-1]
        first, second = np.triu_indices(tasks, 1)
        variances = np.zeros((3, _DRAWS, tasks))
        pairs = np.zeros((3, _DRAWS, len(first), 3))
        for kind in range(3):
            scale = np.diagonal(self.squares[0, kind])
            freed = nearest_psd(self.squares[1:, kind] - 2.0 * self.noise[kind], scale)[replica]
            freedom = self.freedom[kind]
            diagonal = np.diagonal(freed, axis1=1, axis2=2)
            variances[kind] = diagonal * freedom / rng.chisquare(freedom, size=diagonal.shape)
            pairs[kind] = _pivot(
                diagonal[:, first],
                freed[:, first, second],
                diagonal[:, second],
                np.minimum(freedom[first], freedom[second]),
                rng,
            )
        variances, pairs = self.components(variances), self.components(pairs)
        # Student's t with the seeds' own covariance: normal weights of the seeds over the root of chi^2.
        free = self.seeds - 1
        weight = rng.standard_normal((_DRAWS, self.seeds)) / np.sqrt(self.seeds * rng.chisquare(free, (_DRAWS, 1)))
        moved = np.tensordot(weight, self.cross - self.cross.mean(axis=0), axes=1)
        diagonal = np.diagonal(moved, axis1=1, axis2=2)
        variances[0] += diagonal
        pairs[0] += np.stack([diagonal[:, first], moved[:, first, second], diagonal[:, second]], axis=-1)
        return variances, pairs


def _analysis(bias: Floats, offset: bool) -> _Analysis:
    """Return the mean squares; without offset the expectation of every bias is known to be zero."""
    seeds, universes = bias.shape[1:3]
    among_universes = bias.mean(axis=1)
    if offset:
        mean = among_universes.mean(axis=1)
        among_seeds = bias.mean(axis=2) - mean[:, None]
        rest = bias - among_universes[:, None] - among_seeds[:, :, None]
        among_universes = among_universes - mean[:, None]
        free = universes - 1
        seed_square = universes * _moment(among_seeds) / (seeds - 1)
    else:
        rest = bias - among_universes[:, None]
        free = universes
        seed_square = np.zeros((len(bias), bias.shape[3], bias.shape[3]))
    flat = rest.reshape(len(bias), -1, bias.shape[3])
    residual = _moment(flat) / (free * (seeds - 1))
    squares = np.stack([seeds * _moment(among_universes) / free, seed_square, residual], axis=1)
    own = np.array([_freedom(rest[0, :, :, t], free) for t in range(bias.shape[3])])
    # One number for all tasks, the harmonic mean: each task alone has too few seeds to tell its own.
    pooled = np.full(len(own), 1.0 / np.mean(1.0 / own))
    spread = max(2.0 / free, _relative_variance(among_universes[0]))
    freedom = np.stack([np.full(len(own), 2.0 / spread), np.full(len(own), seeds - 1.0), pooled])
    product = np.einsum("ua,sub->sab", among_universes[0], rest[0]) / free
    cross = product + np.swapaxes(product, 1, 2)
    return _Analysis(squares, squares[1:].mean(axis=0) - squares[0], freedom, cross, universes, offset)


def _moment(values: Floats) -> Floats:
    """Return the sum over rows of x x^T, (..., task, task), from (..., row, task)."""
    return np.asarray(np.swapaxes(values, -1, -2) @ values, dtype=np.float64)


def _relative_variance(values: Floats) -> float:
    """Return that of the mean square over universes of (universe, task), the mean over tasks: 2 / number for normals.

    Where responses are even, or nuisances heavy-tailed, few universes make most of a mean square.
    """
    square = values**2
    mean = square.mean(axis=0)
    moves = mean > 0.0
    each = square[:, moves].var(axis=0, ddof=1) / (len(square) * mean[moves] ** 2)
    return float(each.mean()) if moves.any() else 0.0


def _freedom(rest: Floats, free: int) -> float:
    """Return the degrees of freedom of the residual's mean square, from residuals (seed, universe).

    2 / freedom is its relative variance: that over seeds by ``_dimension``, and what few universes add to it beyond
    that of independent residuals.
    """
    n = len(rest) - 1
    square = (rest**2).sum(axis=0)
    if not square.any():
        return float(n * free)
    over_universes = square.var(ddof=1) / (len(square) * square.mean() ** 2)
    dimension = _dimension(rest, free)
    # Few seeds tell the dimension badly, and too large a one where their spread comes out too small: by 1 + 1 / n the
    # intervals cover (pseudo-experiments with 5 seeds); nothing is to be told where all universes are independent.
    dimension /= 1.0 + (1.0 - (dimension / free) ** 2) / n
    return float(2.0 / (2.0 / (n * dimension) + max(0.0, over_universes - 2.0 / (n * free))))


def _dimension(rest: Floats, free: int) -> float:
    """Return (tr C)^2 / tr C^2 of the covariance C over universes of a training's residual, 1 to ``free``.

    From W = sum over n + 1 seeds of r r^T, a Wishart matrix of n degrees of freedom: E (tr W)^2 = n^2 (tr C)^2 +
    2 n tr C^2 and E tr W^2 = n (n + 1) tr C^2 + n (tr C)^2 (Haff 1979, J. Multivar. Anal. 9, 531).
    """
    n = len(rest) - 1
    gram = rest @ rest.T
    trace, square = float(np.trace(gram)), float((gram**2).sum())
    if trace <= 0.0 or n < 2:
        return float(free) if n >= 2 else 1.0
    norm = n * (n - 1.0) * (n + 2.0)
    squared_trace = ((n + 1.0) * trace**2 - 2.0 * square) / norm
    trace_square = (n * square - trace**2) / norm
    return float(np.clip(squared_trace / trace_square, 1.0, free)) if trace_square > 0.0 else float(free)


def _pivot(first: Floats, product: Floats, second: Floats, freedom: Floats, rng: np.random.Generator) -> Floats:
    """Return draws of the 2 x 2 matrix expected of mean squares: variance, covariance, variance, (draw, pair, 3).

    With freedom x mean square = A A^T, A lower triangular, and V the factor of a Wishart matrix of unit scale
    (chi^2 on the diagonal, a normal below) a draw is (A V^-1)(A V^-1)^T; exact for the correlation of two tasks.

    Args:
        first: (draw, pair), mean squares of the first task.
        product: (draw, pair), mean products.
        second: (draw, pair), mean squares of the second task.
        freedom: (pair,), degrees of freedom; at 1 a correlation is not determined and keeps its value.
        rng: Source of the draws.
    """
    a11 = np.sqrt(first)
    a21 = np.divide(product, a11, out=np.zeros_like(a11), where=a11 > 0.0)
    a22 = np.sqrt(np.clip(second - a21**2, 0.0, None))
    v11 = np.sqrt(rng.chisquare(freedom, size=first.shape))
    determined = freedom > 1.0
    v22 = np.sqrt(rng.chisquare(np.where(determined, freedom - 1.0, 1.0), size=first.shape))
    v22 = np.where(determined, v22, v11)
    v21 = np.where(determined, rng.standard_normal(first.shape), 0.0)
    b11 = a11 / v11
    b21 = a21 / v11 - a22 * v21 / (v11 * v22)
    b22 = a22 / v22
    return np.asarray(freedom[:, None] * np.stack([b11**2, b11 * b21, b21**2 + b22**2], axis=-1), dtype=np.float64)


_ENDS: Final = ("lo", "hi", "lo95", "hi95")


def _ends(draws: Floats) -> Floats:
    """Return the ends of the 68% and of the 95% interval over the last axis, (4, ...), in the order of ``_ENDS``."""
    return np.quantile(draws, [0.5 - HALF_68, 0.5 + HALF_68, 0.5 - HALF_95, 0.5 + HALF_95], axis=-1)


def component_table(found: Components, tasks: Sequence[str]) -> pd.DataFrame:
    """Return one row per task and component: variance with intervals, and its share of the task's total.

    A variance below zero is one that cannot be told from zero.
    """
    total = np.diagonal(found.covariance, axis1=1, axis2=2).sum(axis=0)
    flag = "" if found.claim else f"no claim: {found.seeds} seeds, {LEAST_SEEDS} are needed"
    every = np.clip(_ends(np.moveaxis(found.variance_draws, 1, -1)), 0.0, None)
    rows = []
    for t, task in enumerate(tasks):
        for kind, name in enumerate(NAMES):
            variance = float(found.covariance[kind, t, t])
            ends = dict(zip(_ENDS, every[:, kind, t].tolist(), strict=True))
            share = variance / float(total[t]) if total[t] > 0.0 else float("nan")
            head = {"task": task, "component": name, "variance": variance, **ends, "share": share}
            rows.append({**head, "freedom": float(found.freedom[kind, t]), "flag": flag})
    return pd.DataFrame(rows)


def correlation_shares(found: Components, tasks: Sequence[str]) -> pd.DataFrame:
    """Return one row per pair of tasks: its correlation, split into what the shift and what the training drives.

    rho = sum over components of covariance / root of the product of total variances; ``shift_driven`` is the shift's
    term, ``seed_driven`` those of the seed and the residual. Only the former is a property of the arm.
    """
    total = found.covariance.sum(axis=0)
    drawn = _ends(_shares(np.moveaxis(found.pair_draws, 2, 0)))
    rows = []
    for pair, (a, b) in enumerate(combinations(range(len(tasks)), 2)):
        norm = total[a, a] * total[b, b]
        terms = found.covariance[:, a, b] / np.sqrt(norm) if norm > 0.0 and total[a, a] > 0.0 else np.full(3, np.nan)
        row: dict[str, object] = {"task_a": tasks[a], "task_b": tasks[b], "seeds": found.seeds}
        values = {"rho": terms.sum(), "shift_driven": terms[0], "seed_driven": terms[1] + terms[2]}
        for which, (name, value) in enumerate(values.items()):
            row[name] = float(value)
            row |= {f"{name}_{end}": float(at) for end, at in zip(_ENDS, drawn[:, pair, which], strict=True)}
        row["flag"] = "" if found.claim else f"no claim: {found.seeds} seeds, {LEAST_SEEDS} are needed"
        rows.append(row)
    return pd.DataFrame(rows)


def _shares(draws: Floats) -> Floats:
    """Return rho, shift-driven and seed-driven part, (pair, 3, draw), from draws (pair, 3, draw, 3)."""
    total = draws.sum(axis=1)
    norm = np.sqrt(np.clip(total[..., 0], 0.0, None) * np.clip(total[..., 2], 0.0, None))
    covariance = draws[..., 1]
    parts = np.stack([covariance.sum(axis=1), covariance[:, 0], covariance[:, 1] + covariance[:, 2]], axis=1)
    shares: Floats = np.divide(parts, norm[:, None], out=np.zeros_like(parts), where=norm[:, None] > 0.0)
    return shares
