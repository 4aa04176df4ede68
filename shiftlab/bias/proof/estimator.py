"""What an estimator under test is: how it is run, what it is to find, and what is known to be off about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from shiftlab.bias.proof.cases import Case, Draw
from shiftlab.bias.statistic import Floats

__all__ = ["LEVELS", "Estimator", "Found", "Note", "at_levels", "symmetric"]

LEVELS: Final = (0.6826894921370859, 0.95)
"""Probabilities of the intervals."""


@dataclass(frozen=True)
class Found:
    """What an estimator gives in some pseudo-experiments.

    Attributes:
        estimate: (pseudo-experiment, cell).
        low: (level, pseudo-experiment, cell), lower ends of the intervals at ``LEVELS``.
        high: (level, pseudo-experiment, cell), upper ends.
    """

    estimate: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Note:
    """Something that is known to be off, and said beside the numbers.

    Attributes:
        kind: "conservative": intervals may cover more than they claim; "short": they cover less, but not less than
            ``least``; "biased": the estimate may lie beside the truth; "no interval": none is quoted.
        why: The reason, in words.
        cases: Names of the cases that it is about; empty = all.
        least: Coverage that a short interval keeps, at ``LEVELS``.
    """

    kind: Literal["conservative", "short", "biased", "no interval"]
    why: str
    cases: tuple[str, ...] = ()
    least: tuple[float, ...] = (0.0, 0.0)


@dataclass(frozen=True)
class Estimator:
    """One estimator.

    Attributes:
        name: What is estimated, and from what.
        find: From pseudo-experiments to what is found.
        truth: From a case to the true values, (cell,).
        notes: What is off.
        cases: Names of the cases in which it is measured; empty = all.
    """

    name: str
    find: Callable[[Draw], Found]
    truth: Callable[[Case], Floats]
    notes: tuple[Note, ...] = ()
    cases: tuple[str, ...] = ()

    def note(self, kind: str, case: str) -> Note | None:
        """Return what is off of one kind in one case, if anything is."""
        found = (note for note in self.notes if note.kind == kind and (not note.cases or case in note.cases))
        return next(found, None)


def at_levels(find: Callable[[Draw, float], tuple[Floats, Floats, Floats]]) -> Callable[[Draw], Found]:
    """Return what finds the intervals of all levels, from what finds estimate, low and high (pseudo, ...) of one."""

    def every(draw: Draw) -> Found:
        each = [[part.reshape(len(part), -1) for part in find(draw, level)] for level in LEVELS]
        return Found(each[0][0], np.stack([low for _, low, _ in each]), np.stack([high for _, _, high in each]))

    return every


def symmetric(estimate: Floats, error: Floats, quantile: float) -> tuple[Floats, Floats, Floats]:
    """Return estimate, low and high."""
    return estimate, estimate - quantile * error, estimate + quantile * error
