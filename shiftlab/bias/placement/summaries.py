"""Label-free summaries: sums over events of bin indicators and clipped powers of observable columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["Summaries", "choose_summaries", "event_columns"]

_CLIP: Final = 4.0
"""Standard deviations at which a column is clipped before its powers are summed, so that one event never decides."""


@dataclass(frozen=True)
class Summaries:
    """Functions of one event whose sums over events summarise a sample.

    Every summary is a sum over events, so the summaries of a mixture of simulated samples are the sums of theirs, and
    the covariance of a Poisson sample is the sum over vertices of products. The first is the number of events. Of the
    bins of a column the first is left out: it is the number of events minus the others.

    Attributes:
        columns: Names of the label-free columns.
        edges: Per column, the inner edges of its bins, increasing.
        centre: (column,), subtracted before powers are taken, in the column's unit.
        width: (column,), divided by, in the column's unit.
        powers: Highest power of the standardised column that is summed; 0 for none.
    """

    columns: tuple[str, ...]
    edges: tuple[Floats, ...]
    centre: Floats
    width: Floats
    powers: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the summaries, in the order of ``values``."""
        names = ["events"]
        for column, edges in zip(self.columns, self.edges, strict=True):
            names += [f"{column} bin {number + 2}" for number in range(len(edges))]
            names += [f"{column} power {power + 1}" for power in range(self.powers)]
        return tuple(names)

    def values(self, columns: Mapping[str, npt.ArrayLike]) -> Floats:
        """Return each event's contribution to each summary, (event, summary).

        Args:
            columns: Name to values (event,); others than ``self.columns`` are not looked at.

        Raises:
            DataError: a column is missing, or a value is not finite.
        """
        given = event_columns(columns, self.columns)
        parts = [np.ones((given.shape[1], 1))]
        for number, edges in enumerate(self.edges):
            which = np.searchsorted(edges, given[number], side="right")
            parts.append((which[:, None] == np.arange(1, len(edges) + 1)).astype(np.float64))
            scaled = np.clip((given[number] - self.centre[number]) / self.width[number], -_CLIP, _CLIP)
            parts.append(scaled[:, None] ** np.arange(1, self.powers + 1))
        return np.concatenate(parts, axis=1)


def choose_summaries(
    columns: Mapping[str, npt.ArrayLike], weight: Floats | None = None, *, bins: int = 6, powers: int = 2
) -> Summaries:
    """Choose bins of equal content and the scale of the powers from the nominal simulation.

    A column of few different values (a count, a flag) gets fewer bins. Labels must not be among the columns: the same
    numbers have to exist for data.

    Args:
        columns: Name to nominal values (event,).
        weight: (event,), weights that make the simulation look like the expected data; 1 when None.
        bins: Number of bins per column.
        powers: Highest power that is summed, 0 to 4.

    Raises:
        ConfigError: fewer than 2 bins, or powers outside 0 to 4.
        DataError: there is no column, a value is not finite, or a column has only one value.
    """
    if bins < 2 or not 0 <= powers <= 4:
        raise ConfigError(f"bins = {bins}, powers = {powers}: allowed are 2 or more bins and powers from 0 to 4.")
    names = tuple(columns)
    values = event_columns(columns, names)
    share = np.ones(values.shape[1]) if weight is None else np.asarray(weight, dtype=np.float64)
    edges, centre, width = [], [], []
    for name, column in zip(names, values, strict=True):
        mean = float(np.average(column, weights=share))
        spread = float(np.sqrt(np.average((column - mean) ** 2, weights=share)))
        if not spread > 1e-12 * abs(mean):
            raise DataError(f"column '{name}' has the value {mean:.6g} in every event: it cannot tell universes apart.")
        edges.append(_quantile_edges(column, share, bins))
        centre.append(mean)
        width.append(spread)
    return Summaries(names, tuple(edges), np.array(centre), np.array(width), powers)


def event_columns(columns: Mapping[str, npt.ArrayLike], names: tuple[str, ...]) -> Floats:
    """Return the named columns, (column, event), all finite.

    Raises:
        DataError: there is none, one is missing or of another length, or a value is not finite.
    """
    if not names:
        raise DataError("no label-free column was given; at least one is needed to place a sample.")
    missing = [name for name in names if name not in columns]
    if missing:
        raise DataError(f"label-free columns {missing} are missing; given are {sorted(columns)}.")
    found = [np.asarray(columns[name], dtype=np.float64) for name in names]
    for name, column in zip(names, found, strict=True):
        if column.shape != (len(found[0]),):
            raise DataError(f"column '{name}' has shape {column.shape}, '{names[0]}' {found[0].shape}: one per event.")
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            listed = ", ".join(str(place) for place in bad[:5]) + (", ..." if len(bad) > 5 else "")
            raise DataError(f"column '{name}': {len(bad)} of {len(column)} events are not finite (events {listed}).")
    return np.stack(found)


def _quantile_edges(column: Floats, weight: Floats, bins: int) -> Floats:
    """Return at most ``bins`` - 1 different inner edges with about equal weight between them."""
    order = np.argsort(column, kind="stable")
    cumulated = np.cumsum(weight[order])
    wanted = cumulated[-1] * np.arange(1, bins) / bins
    place = np.searchsorted(cumulated, wanted, side="right")
    edges = np.unique(column[order][np.minimum(place, len(order) - 1)])
    # Between two values that occur, and not on one: counts that a response moves by less than one stay on their side.
    below = np.unique(column)
    edges = edges[edges > below[0]]
    return np.asarray((edges + below[np.searchsorted(below, edges) - 1]) / 2.0, dtype=np.float64)
