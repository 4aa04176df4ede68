"""Bins of one observable: quantile edges, bin numbers, and merging of bins with too little Monte Carlo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, DataError
from shiftlab.templates.processing.bins import join_bins

__all__ = ["EmptyPolicy", "Merge", "bin_number", "check_edges", "merge_bins", "quantile_edges"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

EmptyPolicy = Literal["merge", "error", "floor"]
"""What happens to a bin with too little Monte Carlo: it joins a neighbour, the templates are refused, or bins of a
sample that expect nothing are raised to 1e-6 events."""


@dataclass(frozen=True)
class Merge:
    """One removed edge.

    Attributes:
        edge: the edge that was removed, in units of the observable.
        effective: effective number of Monte Carlo events of the bin that was too thin.
    """

    edge: float
    effective: float


def quantile_edges(values: Floats, weights: Floats, bins: int) -> Floats:
    """Return float64 (bin + 1,) edges that share the summed expectation equally.

    An inner edge lies midway between two neighbouring values, so no event sits on an edge; values
    that occur often can leave fewer bins than asked. The outer edges are the smallest and largest
    value; both outer bins are open (``bin_number``).

    Args:
        values: (event,) the observable of selected events.
        weights: (event,) expected events; not negative.
        bins: number of bins wanted, at least 1.

    Raises:
        DataError: there are no events of positive weight.
        ConfigError: fewer than one bin.
    """
    if bins < 1:
        raise ConfigError(f"templates.bins = {bins}; at least 1 is needed (2 to 4 are usual).")
    if not weights.sum() > 0.0:
        raise DataError("no selected event of positive weight to choose bin edges from.")
    distinct, position = np.unique(values, return_inverse=True)
    if len(distinct) == 1:
        half = max(0.5 * abs(float(distinct[0])), 0.5)
        return np.array([distinct[0] - half, distinct[0] + half])
    below = np.cumsum(np.bincount(position, weights=weights))[:-1]
    wanted = np.arange(1, bins) / bins * weights.sum()
    place = np.unique(np.abs(below[None, :] - wanted[:, None]).argmin(axis=1))
    inner = 0.5 * (distinct[place] + distinct[place + 1])
    return np.concatenate([distinct[:1], inner, distinct[-1:]]).astype(np.float64)


def check_edges(edges: Sequence[float] | Floats, channel: str) -> Floats:
    """Return the edges as float64 (bin + 1,).

    Raises:
        ConfigError: fewer than two edges, or edges that are not finite and increasing.
    """
    found = np.asarray(edges, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all() or not (np.diff(found) > 0).all():
        raise ConfigError(f"templates.edges.{channel} = {found.tolist()}; at least two finite, increasing edges.")
    return found


def bin_number(values: Floats, edges: Floats) -> Ints:
    """Return int64 (event,): the bin of each value; the outer bins also hold under- and overflow."""
    return np.searchsorted(edges[1:-1], values, side="right").astype(np.int64)


def merge_bins(
    values: Floats, weights: Floats, edges: Floats, minimum: float, policy: EmptyPolicy, channel: str
) -> tuple[Floats, tuple[Merge, ...]]:
    """Remove edges until every bin has at least ``minimum`` effective events, (sum w)^2 / sum w^2.

    The thinnest bin joins its thinner neighbour (``processing.bins.join_bins``); nominal events alone decide.

    Args:
        values: (event,) observable of all selected nominal events of the channel.
        weights: (event,) expected events.
        edges: (bin + 1,).
        minimum: effective events that a bin needs under the policy ``merge``.
        policy: ``merge``, ``error`` to refuse bins that expect nothing, or ``floor`` to keep the edges.
        channel: name, for messages.

    Raises:
        DataError: policy ``error`` and a bin with no expectation.
        ConfigError: an unknown policy.
    """
    if policy not in ("merge", "error", "floor"):
        raise ConfigError(f"templates.empty = '{policy}'; allowed: merge, error, floor.")
    number = bin_number(values, edges)
    total = np.bincount(number, weights=weights, minlength=len(edges) - 1)
    if policy == "error" and not (total > 0).all():
        empty = int(np.argmin(total))
        raise DataError(f"channel '{channel}': bin {empty} expects no events; merge it or move the edges.")
    if policy != "merge":
        return edges, ()
    variance = np.bincount(number, weights=weights**2, minlength=len(edges) - 1)
    joined = join_bins(total.astype(np.float64), variance.astype(np.float64), minimum)
    removed = tuple(Merge(float(edges[one.edge]), one.effective) for one in joined)
    return np.delete(edges, [one.edge for one in joined]), removed
