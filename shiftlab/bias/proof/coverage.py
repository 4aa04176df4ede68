"""The table case x estimator: bias and coverage of the estimators on synthetic responses, with a verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from shiftlab.bias.proof.cases import CASES, Case, draw
from shiftlab.bias.proof.estimators import ESTIMATORS, Estimator, Found
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError

__all__ = ["LEAST", "LEVELS", "Cell", "Mean", "Proof", "prove"]

LEVELS: Final = (0.6826894921370859, 0.95)
"""Probabilities of the intervals."""

LEAST: Final = 50
"""Fewest pseudo-experiments: with fewer, 3 binomial errors of 95% reach beyond 1 (convention)."""

_ERRORS: Final = 3.0
"""Binomial errors that a coverage may be off."""

_CHANCE: Final = 3.4e-6
"""Binomial probability below which a single task or pair is off, 4.5 errors of a normal: there are hundreds of them."""

_BIAS: Final = 0.2
"""Bias, in standard deviations of the estimate, that costs 1% of 68% coverage: phi(1) x 0.2^2, phi(1) = 0.242."""

_MEAN: Final = 0.01
"""Most that the mean coverage over cells may be off."""

_CHUNK: Final = 100
"""Pseudo-experiments at a time: some 50 MiB."""

_SAME: Final = 1e-9


@dataclass(frozen=True)
class Cell:
    """One estimator in one case, averaged over its tasks, pairs of tasks or universes.

    Attributes:
        case: Name of the case.
        estimator: Name of the estimator.
        pseudo: Number of pseudo-experiments.
        bias: Mean of estimate less truth, in standard deviations of the estimate, of the task, pair or universe where
            it is largest.
        bias_error: Its error.
        coverage: Share of the intervals that hold the truth, at each of ``LEVELS``.
        error: Binomial error of the claimed coverage for ``pseudo`` experiments; tasks count as one.
        worst: Coverage of the task, pair or universe that is farthest off.
        unquoted: Share of estimates that are not quoted (an unreliable task); they count neither way.
        verdict: "covers", "exact" (nothing scatters), "conservative", or what is wrong, in capitals.
        reason: Why it is conservative or biased, where it may be.
    """

    case: str
    estimator: str
    pseudo: int
    bias: float
    bias_error: float
    coverage: tuple[float, ...]
    error: tuple[float, ...]
    worst: tuple[float, ...]
    unquoted: float
    verdict: str
    reason: str = ""

    @property
    def believed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict in ("covers", "exact", "conservative")


@dataclass(frozen=True)
class Mean:
    """Mean coverage over the cells of the estimators that are not conservative by construction, exact ones left out.

    Attributes:
        coverage: At each of ``LEVELS``.
        error: Its error, from the scatter over pseudo-experiments (the estimators of a case share theirs).
        cells: Number of cells.
    """

    coverage: tuple[float, ...]
    error: tuple[float, ...]
    cells: int

    @property
    def believed(self) -> bool:
        """Whether the means are within 1% of what is claimed, or 3 of their errors where that is more."""
        each = zip(self.coverage, self.error, LEVELS, strict=True)
        return all(abs(mean - level) <= max(_MEAN, _ERRORS * error) for mean, error, level in each)


@dataclass(frozen=True)
class Proof:
    """All cells and their mean."""

    cells: tuple[Cell, ...]
    mean: Mean

    @property
    def believed(self) -> bool:
        """Whether no cell is wrong and the mean is right."""
        return all(cell.believed for cell in self.cells) and self.mean.believed


def prove(
    pseudo: int = 200,
    seed: int = 0,
    *,
    replicas: int = 100,
    cases: Sequence[Case] = CASES,
    estimators: Sequence[Estimator] = ESTIMATORS,
) -> Proof:
    """Return bias and coverage of every estimator in every case.

    Args:
        pseudo: Pseudo-experiments of each case.
        seed: Of all draws.
        replicas: Bootstrap replicas of each pseudo-experiment.
        cases: Kinds of responses.
        estimators: What is measured.

    Raises:
        ConfigError: too few pseudo-experiments, or fewer than 20 replicas.
    """
    if pseudo < LEAST:
        raise ConfigError(f"{pseudo} pseudo-experiments are too few: {LEAST} or more are needed, 2000 for a 1% error.")
    if replicas < 20:
        raise ConfigError(f"{replicas} bootstrap replicas are too few for a spread: 20 or more are needed.")
    cells: list[Cell] = []
    fair: list[list[Floats]] = []
    for number, case in enumerate(cases):
        fair.append([])
        found = _measured(case, number, estimators, pseudo, replicas, seed)
        for estimator, (estimates, inside) in zip(estimators, found, strict=True):
            cell = _cell(case, estimator, estimates, inside)
            cells.append(cell)
            if not estimator.conservative and cell.verdict != "exact":
                fair[-1].append(_over(inside, 2))
    return Proof(tuple(cells), _mean(fair))


def _measured(
    case: Case, number: int, estimators: Sequence[Estimator], pseudo: int, replicas: int, seed: int
) -> list[tuple[Floats, Floats]]:
    """Return estimates (pseudo, cell) and whether the truth is inside, (level, pseudo, cell), of each estimator."""
    parts: list[list[tuple[Floats, Floats]]] = [[] for _ in estimators]
    for chunk, start in enumerate(range(0, pseudo, _CHUNK)):
        drawn = draw(case, min(_CHUNK, pseudo - start), replicas, (seed, number, chunk))
        for part, estimator in zip(parts, estimators, strict=True):
            found = [estimator.find(drawn, level) for level in LEVELS]
            part.append((found[0].estimate, np.stack([_inside(one, estimator.truth(case)) for one in found])))
    return [
        (np.concatenate([one for one, _ in part]), np.concatenate([one for _, one in part], axis=1)) for part in parts
    ]


def _inside(found: Found, truth: Floats) -> Floats:
    """Return 1 where the interval holds the truth, 0 where not, NaN where none is quoted; rounding is forgiven."""
    room = _SAME * np.maximum(1.0, np.abs(truth))
    inside = (found.low - room <= truth) & (truth <= found.high + room)
    return np.where(np.isfinite(found.estimate), inside, np.nan)


def _cell(case: Case, estimator: Estimator, estimates: Floats, inside: Floats) -> Cell:
    """Return the row of the table."""
    off = estimates - estimator.truth(case)
    pseudo = len(off)
    bias, bias_error = _relative_bias(off)
    error = tuple(float(np.sqrt(level * (1.0 - level) / pseudo)) for level in LEVELS)
    each = _over(inside, 1)
    coverage = tuple(float(share) for share in _over(each, 1))
    quoted = each[:, np.isfinite(each[0])]
    levels = zip(quoted, LEVELS, strict=True)
    worst = tuple(float(row[np.argmax(np.abs(row - level))]) if len(row) else float("nan") for row, level in levels)
    verdict = _verdict(off, abs(bias) - _ERRORS * bias_error, quoted, error, estimator)
    reason = "; ".join(dict.fromkeys(filter(None, (estimator.conservative, estimator.biased))))
    unquoted = float(np.isnan(inside).mean())
    name = case.name, estimator.name
    return Cell(*name, pseudo, bias, bias_error, coverage, error, worst, unquoted, verdict, reason)


def _over(values: Floats, axis: int) -> Floats:
    """Return the mean over an axis of the values that are there; NaN where none is."""
    there = np.isfinite(values)
    number = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0), dtype=np.float64)


def _relative_bias(off: Floats) -> tuple[float, float]:
    """Return the largest mean of (pseudo, cell) over its standard deviation, 0 where nothing varies, and its error."""
    mean = _over(off, 0)
    spread, number = np.sqrt(_over((off - mean) ** 2, 0)), np.isfinite(off).sum(axis=0)
    certain = np.where(np.abs(mean) < _SAME, 0.0, np.copysign(np.inf, mean))
    relative = np.divide(mean, spread, out=certain, where=spread > _SAME)
    if not number.any():
        return float("nan"), float("nan")
    largest = int(np.argmax(np.where(number > 0, np.abs(relative), -1.0)))
    return float(relative[largest]), float(1.0 / np.sqrt(number[largest]))


def _verdict(off: Floats, excess: float, quoted: Floats, error: tuple[float, ...], estimator: Estimator) -> str:
    """Say what a cell shows.

    Args:
        off: (pseudo, cell), estimates less truth.
        excess: Size of the largest relative bias, 3 of its errors taken off.
        quoted: (level, cell), coverage of each cell that is quoted.
        error: Binomial errors, per level.
        estimator: What was measured.
    """
    if not np.isfinite(off).any():
        return "NEVER QUOTED"
    if np.nanmax(np.abs(off)) < _SAME:
        return "exact"
    if excess > _BIAS and not estimator.biased:
        return "BIASED"
    pulls = (quoted.mean(axis=1) - LEVELS) / error
    levels = np.array(LEVELS)[:, None]
    few, many = (stats.binom.ppf(chance, len(off), levels) / len(off) for chance in (_CHANCE, 1.0 - _CHANCE))
    if pulls.min() < -_ERRORS or (quoted < few).any():
        return "UNDERCOVERS"
    if pulls.max() > _ERRORS or (quoted > many).any():
        return "conservative" if estimator.conservative else "OVERCOVERS"
    return "covers"


def _mean(fair: Sequence[Sequence[Floats]]) -> Mean:
    """Return the mean over cells from (case, estimator) arrays (level, pseudo)."""
    cases = [np.stack(case) for case in fair if case]
    cells = sum(len(case) for case in cases)
    if not cells:
        raise ConfigError("every estimator chosen is conservative by construction: there is no mean coverage to check.")
    coverage = sum(case.mean(axis=2).sum(axis=0) for case in cases) / cells
    variance = sum((case.sum(axis=0).var(axis=1, ddof=1) / case.shape[2]) for case in cases) / cells**2
    each = [tuple(float(value) for value in values) for values in (coverage, np.sqrt(variance))]
    return Mean(each[0], each[1], cells)
