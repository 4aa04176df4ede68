"""Poisson(1) bootstrap weights of generator vertices, a pure function of seed, replica and vertex."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.statistic import Floats

__all__ = ["HALF_68", "HALF_95", "interval", "known_interval", "poisson_weights"]

HALF_68: Final = 0.341344746068543
"""Half the probability within one standard deviation of a normal."""

HALF_95: Final = 0.475
"""Half of 95%."""

_KNOWN: Final = 0.95
"""Least share of the replicas that an interval is made of."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)

_COLUMNS: Final = 2**14
"""Events drawn at a time: their numbers stay in the processor's cache."""


def _poisson_thresholds() -> npt.NDArray[np.uint64]:
    """Return floor(2^64 P(n <= k)) for k = 0, 1, ... until it reaches 2^64, exact on any machine."""
    with localcontext() as context:
        context.prec = 60
        term = Decimal(-1).exp()
        total, k = term, 0
        found: list[int] = []
        while int(total * 2**64) < 2**64 - 1:
            found.append(int(total * 2**64))
            k += 1
            term /= k
            total += term
    return np.array(found, dtype=np.uint64)


_THRESHOLDS: Final = _poisson_thresholds()
_UNDECIDED: Final = 255


def _poisson_table() -> npt.NDArray[np.uint8]:
    """Return the Poisson count for each value of the top 16 bits; ``_UNDECIDED`` where all 64 are needed."""
    lowest = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    first, last = (_count(bits) for bits in (lowest, lowest + np.uint64(2**48 - 1)))
    return np.where(first == last, first, _UNDECIDED).astype(np.uint8)


def _count(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return the Poisson(1) quantile of uniform 64-bit integers."""
    return np.searchsorted(_THRESHOLDS, bits, side="right").astype(np.uint8)


_TABLE: Final = _poisson_table()


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit integers."""
    mixed = value.copy()
    _mix_in_place(mixed, np.empty_like(mixed))
    return mixed


def _mix_in_place(value: npt.NDArray[np.uint64], spare: npt.NDArray[np.uint64]) -> None:
    """Mix ``value`` where it lies; ``spare`` is memory of the same shape."""
    value += _GOLDEN
    for shift, factor in ((np.uint64(30), _FIRST), (np.uint64(27), _SECOND)):
        value ^= np.right_shift(value, shift, out=spare)
        value *= factor
    value ^= np.right_shift(value, np.uint64(31), out=spare)


def poisson_weights(vertex: npt.NDArray[np.int64], replicas: range, seed: int) -> Floats:
    """Return how often each vertex occurs in each bootstrap replica, Poisson(1) distributed.

    The weight depends on (seed, replica, vertex_uid) alone, so that tasks, universes, arms and
    seeds share it and neither the order nor the chunking of events matters. Poisson weights in
    place of multinomial ones: ATL-PHYS-PUB-2021-011.

    Args:
        vertex: int64 (event,), uid of the generator vertex.
        replicas: Numbers of the replicas wanted.
        seed: Seed of the bootstrap.

    Returns:
        float64 (replica, event).
    """
    key = _mix(np.array([seed % 2**64], dtype=np.uint64))
    rows = _mix(key ^ _mix(np.arange(replicas.start, replicas.stop, replicas.step).astype(np.uint64)))
    columns = _mix(np.ascontiguousarray(vertex, dtype=np.int64).view(np.uint64))
    weights = np.empty((len(rows), len(columns)))
    for start in range(0, len(columns), _COLUMNS):
        inside = slice(start, start + _COLUMNS)
        _draw(rows, columns[inside], weights[:, inside])
    return weights


def _draw(rows: npt.NDArray[np.uint64], columns: npt.NDArray[np.uint64], weights: Floats) -> None:
    """Fill ``weights`` (row, column) with the Poisson counts of each pair, in memory that is taken once."""
    bits, spare = np.empty_like(columns), np.empty_like(columns)
    counts = np.empty(len(columns), dtype=np.uint8)
    for row, mixed in enumerate(rows):
        np.bitwise_xor(columns, mixed, out=bits)
        _mix_in_place(bits, spare)
        np.right_shift(bits, np.uint64(48), out=spare)
        _TABLE.take(spare.view(np.int64), out=counts, mode="clip")  # all are inside; "clip" needs no second copy
        undecided = np.flatnonzero(counts == _UNDECIDED)
        counts[undecided] = _count(bits[undecided])
        weights[row] = counts


def interval(replicas: Floats, half: float = HALF_68) -> tuple[Floats, Floats]:
    """Return the percentile interval over the last axis, 2 ``half`` of the probability, equal tails.

    The k-th smallest of n replicas is taken for the quantile k / (n + 1), below which one more draw falls with that
    probability. With k / n or (k - 1) / (n - 1) intervals of 100 replicas cover 0.666 and 0.924 where 0.683 and 0.95
    is claimed (correlations of one-nuisance universes, 2,000 pseudo-experiments).
    """
    low, high = np.quantile(replicas, [0.5 - half, 0.5 + half], axis=-1, method="weibull")
    return low, high


def known_interval(replicas: Floats, half: float = HALF_68) -> tuple[float, float]:
    """Return the percentile interval of the replicas (replica,) in which a statistic has a value.

    A statistic of a rare class has none where no event of the class is drawn. Where that is so in more than one
    replica in twenty, the rest would understate the error: both ends are NaN.
    """
    known = replicas[np.isfinite(replicas)]
    if len(known) < _KNOWN * len(replicas):
        return float("nan"), float("nan")
    low, high = interval(known, half)
    return float(low), float(high)
