"""Thin, empty and negative bins: joined with a neighbour, raised to a floor, or refused; and where predictions end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.templates.processing.split import NormShape, extrapolate

__all__ = ["FLOOR", "MINIMUM_EFFECTIVE", "SCANNED", "Floored", "Joined", "floor_bins", "join_bins", "positivity"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MINIMUM_EFFECTIVE: Final = 10.0
"""Effective events below which a Gaussian error of a bin is doubtful (Combine's autoMCStats threshold)."""

FLOOR: Final = 1e-6
"""Expected events that stand in for none (TRExFitter)."""

SCANNED: Final = (-3.0, -1.0, 1.0, 3.0)
"""Strengths, in sigma, at which predictions must be positive; code 4p is linear beyond one."""


@dataclass(frozen=True)
class Joined:
    """One removed edge.

    Attributes:
        edge: number of the edge among those given, from 0 for the outermost.
        effective: effective events, n^2 / variance, of the bin that was too thin.
    """

    edge: int
    effective: float


@dataclass(frozen=True, eq=False)
class Floored:
    """Templates after ``floor_bins``.

    Attributes:
        nominal: (sample, bin).
        up: (nuisance, sample, bin).
        down: (nuisance, sample, bin).
        raised: bool (sample, bin): the nominal was raised.
        added: (sample, bin) expected events that were added to it.
    """

    nominal: Floats
    up: Floats
    down: Floats
    raised: Bools
    added: Floats


def join_bins(total: Floats, variance: Floats, minimum: float = MINIMUM_EFFECTIVE) -> tuple[Joined, ...]:
    """Return the edges to remove, in order, until every bin has ``minimum`` effective events or one bin is left.

    The thinnest bin joins its thinner neighbour.

    Args:
        total: (bin,) expected events.
        variance: (bin,) their Monte Carlo variance.
        minimum: effective events, total^2 / variance, that a bin needs.
    """
    edges, found = list(range(len(total) + 1)), list[Joined]()
    while len(edges) > 2:
        n = np.add.reduceat(total, edges[:-1])
        v = np.add.reduceat(variance, edges[:-1])
        effective = np.divide(n**2, v, out=np.zeros_like(n), where=v > 0.0)
        thin = int(effective.argmin())
        if effective[thin] >= minimum:
            break
        left = thin > 0 and (thin == len(n) - 1 or effective[thin - 1] <= effective[thin + 1])
        found.append(Joined(edges.pop(thin if left else thin + 1), float(effective[thin])))
    return tuple(found)


def floor_bins(nominal: Floats, up: Floats, down: Floats, level: float = FLOOR) -> Floored:
    """Raise expectations below ``level`` to it, in the nominal (sample, bin) and in both sides (nuisance, …)."""
    raised = nominal < level
    return Floored(
        np.where(raised, level, nominal),
        np.maximum(up, level),
        np.maximum(down, level),
        raised,
        np.where(raised, level - nominal, 0.0),
    )


def positivity(
    nominal: Floats, up: Floats, down: Floats, splits: Sequence[NormShape], strengths: Sequence[float] = SCANNED
) -> dict[float, Bools]:
    """Return, by strength in sigma, bool (bin,): one nuisance takes the sum over samples below zero.

    Args:
        nominal: (sample, bin) expected events of one channel.
        up: (sample, bin) at +1 sigma.
        down: (sample, bin) at -1 sigma.
        splits: norm and shape of each sample, as they are in the workspace.
        strengths: at least 1 in size.
    """
    rows = list(zip(nominal, up, down, splits, strict=True))
    return {
        strength: np.sum([extrapolate(n, u, d, strength, split=one) for n, u, d, one in rows], axis=0) < 0.0
        for strength in strengths
    }
