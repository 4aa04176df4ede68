"""The table case x estimator: bias and coverage of the estimators on synthetic responses, with a verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import numpy as np
from scipy import stats
from tqdm import tqdm

from shiftlab.bias.proof.cases import CASES, Case, draw
from shiftlab.bias.proof.estimator import LEVELS, Estimator, Found
from shiftlab.bias.proof.estimators import ESTIMATORS
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError

__all__ = ["LEAST", "Cell", "Mean", "Proof", "prove"]

LEAST: Final = 50
"""Fewest pseudo-experiments: with fewer, 3 binomial errors of 95% reach beyond 1 (convention)."""

_ERRORS: Final = 3.0
"""Binomial errors that a coverage may be off."""

_FEW: Final = 200
"""With fewer pseudo-experiments 3 errors are left by chance, by one in a hundred of the hundreds of cells."""

_CHANCE: Final = 3.4e-6
"""Binomial probability, 4.5 errors of a normal, below which a single task or pair is off: there are hundreds of them.

With few pseudo-experiments a cell is, and single tasks are not judged.
"""

_BIAS: Final = 0.2
"""Bias, in standard deviations of the estimate, that costs 1% of 68% coverage: phi(1) x 0.2^2, phi(1) = 0.242."""

_MEAN: Final = 0.01
"""Most that the mean coverage over cells may be off."""

_CHUNK: Final = 50
"""Pseudo-experiments at a time: some 300 MiB."""

_SAME: Final = 1e-9


@dataclass(frozen=True)
class Cell:
    """One estimator in one case, averaged over its tasks, pairs of tasks or universes.

    Attributes:
        case: Name of the case.
        estimator: Name of the estimator.
        experiments: Number of pseudo-experiments.
        bias: Mean of estimate less truth, in standard deviations of the estimate, of the task, pair or universe where
            it is largest.
        bias_error: Its error.
        coverage: Share of the intervals that hold the truth, at each of ``LEVELS``.
        error: Binomial error of the claimed coverage for as many experiments; tasks count as one.
        worst: Coverage of the task, pair or universe that is farthest off.
        unquoted: Share of estimates that are not quoted (an unreliable task); they count neither way.
        verdict: "covers", "exact" (nothing scatters), "conservative", "short, stated", "no interval", or what is wrong,
            in capitals.
        reason: What is known to be off, in words.
    """

    case: str
    estimator: str
    experiments: int
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
        return self.verdict in ("covers", "exact", "conservative", "short, stated", "no interval")


@dataclass(frozen=True)
class Mean:
    """Mean coverage over the cells for which nothing is stated to be off, exact ones left out.

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
    experiments: int = 100,
    seed: int = 0,
    *,
    replicas: int = 100,
    cases: Sequence[Case] = CASES,
    estimators: Sequence[Estimator] = ESTIMATORS,
) -> Proof:
    """Return bias and coverage of every estimator in every case.

    Args:
        experiments: Pseudo-experiments of each case.
        seed: Of all draws.
        replicas: Bootstrap replicas of each pseudo-experiment.
        cases: Kinds of responses.
        estimators: What is measured.

    Raises:
        ConfigError: too few pseudo-experiments, or fewer than 20 replicas.
    """
    if experiments < LEAST:
        raise ConfigError(
            f"{experiments} pseudo-experiments are too few: {LEAST} or more are needed, 2000 for a 1% error."
        )
    if replicas < 20:
        raise ConfigError(f"{replicas} bootstrap replicas are too few for a spread: 20 or more are needed.")
    cells: list[Cell] = []
    fair: list[list[Floats]] = []
    for case in tqdm(cases, desc="cases", unit="case", disable=None):
        fair.append([])
        chosen = [one for one in estimators if not one.cases or case.name in one.cases]
        found = _measured(case, chosen, experiments, replicas, seed)
        for estimator, (estimates, inside) in zip(chosen, found, strict=True):
            cell = _cell(case, estimator, estimates, inside)
            cells.append(cell)
            stated = any(estimator.note(kind, case.name) for kind in ("conservative", "short", "no interval"))
            if not stated and cell.verdict != "exact":
                fair[-1].append(_over(inside, 2))
    return Proof(tuple(cells), _mean(fair))


def _measured(
    case: Case, estimators: Sequence[Estimator], experiments: int, replicas: int, seed: int
) -> list[tuple[Floats, Floats]]:
    """Return per estimator estimates less truth (experiment, cell) and where it is inside (level, experiment, cell)."""
    truths = [estimator.truth(case) for estimator in estimators]
    parts: list[list[tuple[Floats, Floats]]] = [[] for _ in estimators]
    starts, number = range(0, experiments, _CHUNK), crc32(case.name.encode())  # the same draws beside any other cases
    for chunk, start in enumerate(tqdm(starts, desc=case.name, leave=False, disable=None)):
        drawn = draw(case, min(_CHUNK, experiments - start), replicas, (seed, number, chunk))
        for part, estimator, truth in zip(parts, estimators, truths, strict=True):
            found = estimator.find(drawn)
            part.append((found.estimate - truth, _inside(found, truth)))
    return [
        (np.concatenate([one for one, _ in part]), np.concatenate([one for _, one in part], axis=1)) for part in parts
    ]


def _inside(found: Found, truth: Floats) -> Floats:
    """Return 1 where an interval holds the truth, 0 where not, NaN where none is quoted; rounding is forgiven.

    Shape (level, experiment, cell).
    """
    room = _SAME * np.maximum(1.0, np.abs(truth))
    inside = (found.low - room <= truth) & (truth <= found.high + room)
    return np.where(np.isfinite(found.estimate) & np.isfinite(found.low), inside, np.nan)


def _cell(case: Case, estimator: Estimator, off: Floats, inside: Floats) -> Cell:
    """Return the row of the table."""
    experiments = len(off)
    bias, bias_error = _relative_bias(off)
    error = tuple(float(np.sqrt(level * (1.0 - level) / experiments)) for level in LEVELS)
    each = _over(inside, 1)
    coverage = tuple(float(share) for share in _over(each, 1))
    quoted = each[:, np.isfinite(each[0])]
    levels = zip(quoted, LEVELS, strict=True)
    worst = tuple(float(row[np.argmax(np.abs(row - level))]) if len(row) else float("nan") for row, level in levels)
    verdict = _verdict(off, abs(bias) - _ERRORS * bias_error, quoted, error, _Stated(estimator, case.name))
    notes = [note.why for note in estimator.notes if not note.cases or case.name in note.cases]
    reason = "; ".join(dict.fromkeys(notes))
    unquoted = float(np.isnan(inside).mean())
    name = case.name, estimator.name
    return Cell(*name, experiments, bias, bias_error, coverage, error, worst, unquoted, verdict, reason)


def _over(values: Floats, axis: int) -> Floats:
    """Return the mean over an axis of the values that are there; NaN where none is."""
    there = np.isfinite(values)
    number = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0), dtype=np.float64)


def _relative_bias(off: Floats) -> tuple[float, float]:
    """Return the largest mean of (experiment, cell) over its deviation, 0 where nothing varies, and its error."""
    mean = _over(off, 0)
    spread, number = np.sqrt(_over((off - mean) ** 2, 0)), np.isfinite(off).sum(axis=0)
    certain = np.where(np.abs(mean) < _SAME, 0.0, np.copysign(np.inf, mean))
    relative = np.divide(mean, spread, out=certain, where=spread > _SAME)
    if not number.any():
        return float("nan"), float("nan")
    largest = int(np.argmax(np.where(number > 0, np.abs(relative), -1.0)))
    return float(relative[largest]), float(1.0 / np.sqrt(number[largest]))


@dataclass(frozen=True)
class _Stated:
    """What is stated to be off about an estimator in a case."""

    estimator: Estimator
    case: str

    def __contains__(self, kind: str) -> bool:
        return self.estimator.note(kind, self.case) is not None

    @property
    def least(self) -> tuple[float, ...]:
        """Coverage that a short interval keeps."""
        note = self.estimator.note("short", self.case)
        return LEVELS if note is None else note.least


def _verdict(off: Floats, excess: float, quoted: Floats, error: tuple[float, ...], stated: _Stated) -> str:
    """Say what a cell shows.

    Args:
        off: (experiment, cell), estimates less truth.
        excess: Size of the largest relative bias, 3 of its errors taken off.
        quoted: (level, cell), coverage of each cell that is quoted.
        error: Binomial errors, per level.
        stated: What is stated to be off.
    """
    if not np.isfinite(off).any():
        return "NEVER QUOTED"
    if excess > _BIAS and "biased" not in stated:
        return "BIASED"
    if "no interval" in stated:
        return "no interval"
    if not quoted.size:
        return "NEVER QUOTED"
    if quoted.min() == 1.0 and np.nanmax(np.abs(off)) < _SAME:
        return "exact"
    mean, levels = quoted.mean(axis=1), np.array(LEVELS)[:, None]
    few, many = (np.asarray(stats.binom.ppf(p, len(off), levels)) / len(off) for p in (_CHANCE, 1.0 - _CHANCE))
    room = _ERRORS * np.array(error)
    least, most, single = np.array(LEVELS) - room, np.array(LEVELS) + room, quoted
    if len(off) < _FEW:
        least, most, single = few[:, 0], many[:, 0], mean[:, None]
    if (mean < least).any() or (single < few).any():
        kept = (mean >= np.array(stated.least) - room).all()
        return "short, stated" if "short" in stated and kept else "UNDERCOVERS"
    if (mean > most).any() or (single > many).any():
        return "conservative" if "conservative" in stated else "OVERCOVERS"
    return "covers"


def _mean(fair: Sequence[Sequence[Floats]]) -> Mean:
    """Return the mean over cells from (case, estimator) arrays (level, experiment)."""
    cases = [np.stack(case) for case in fair if case]
    cells = sum(len(case) for case in cases)
    if not cells:
        raise ConfigError(
            "something is stated to be off about every estimator chosen: there is no mean coverage to check."
        )
    coverage = sum(case.mean(axis=2).sum(axis=0) for case in cases) / cells
    variance = sum((case.sum(axis=0).var(axis=1, ddof=1) / case.shape[2]) for case in cases) / cells**2
    each = [tuple(float(value) for value in values) for values in (coverage, np.sqrt(variance))]
    return Mean(each[0], each[1], cells)
