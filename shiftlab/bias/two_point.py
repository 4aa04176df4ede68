"""Two-point variations of generation: the paired difference of any statistic, and when it may be quoted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from shiftlab.bias.bootstrap import interval, poisson_weights
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["QUOTABLE", "PairedDifference", "generation_nuisances", "mark", "paired_difference", "weighted_mean"]

QUOTABLE: Final = 5000
"""Vertices from which on the difference of two models is quoted: with fewer, single hard interactions decide it."""

Score: TypeAlias = Callable[[Floats, Floats], Floats]
"""A statistic of per-event values (event, ...) under weights (replica, event): (replica,) or (replica, number)."""

_BLOCK: Final = 2**24
"""Most numbers in one block of weights (128 MiB)."""


@dataclass(frozen=True)
class PairedDifference:
    """A statistic of the twin events minus that of the nominal ones; 68% intervals of the bootstrap over vertices.

    Attributes:
        nominal: (number,), the statistic of the nominal events.
        value: (number,), the difference.
        error: (number,), its spread over replicas.
        low: (number,), lower end of its percentile interval.
        high: (number,), upper end.
        vertices: number of different generator vertices.
    """

    nominal: Floats
    value: Floats
    error: Floats
    low: Floats
    high: Floats
    vertices: int

    @property
    def verdict(self) -> str:
        """Empty where the difference may be quoted, else why not."""
        return verdict(self.vertices)


def verdict(vertices: int) -> str:
    """Return ``not quoted: N vertices, 5000 needed``; empty where there are enough."""
    return "" if vertices >= QUOTABLE else f"not quoted: {vertices} vertices, {QUOTABLE} needed"


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean over events, (replica, ...), of values (event, ...)."""
    flat = values.reshape(len(values), -1)
    mean: Floats = (weights @ flat / weights.sum(axis=1, keepdims=True)).reshape(-1, *values.shape[1:])
    return mean


def paired_difference(
    nominal: Floats,
    twin: Floats,
    vertex: npt.NDArray[np.int64],
    statistic: Score = weighted_mean,
    *,
    weight: Floats | None = None,
    replicas: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Return the difference of a statistic between two models on the same vertices, with its bootstrap error.

    Both sides of a replica have the same Poisson(1) weight of each vertex, so that what they share cancels.

    Args:
        nominal: (event, ...), per-event values of the nominal model.
        twin: (event, ...), of the same events by the other model, in the same order.
        vertex: int64 (event,), uid of the generator vertex.
        statistic: of values and weights; the weighted mean by default.
        weight: (event,), generator weights; 1 when None.
        replicas: number of bootstrap replicas, at least 2.
        seed: of the bootstrap.

    Raises:
        ConfigError: fewer than 2 replicas.
        DataError: the two sides differ in shape or have other events than ``vertex``, or the statistic has no value.
    """
    if replicas < 2:
        raise ConfigError(f"replicas = {replicas}: a spread needs 2 or more.")
    if nominal.shape != twin.shape or len(nominal) != len(vertex):
        raise DataError(
            f"paired values of shapes {nominal.shape} and {twin.shape} for {len(vertex)} vertices: both sides need "
            "the same events in the same order."
        )
    own = np.ones(len(vertex)) if weight is None else weight
    step = max(1, _BLOCK // max(1, len(vertex)))
    sides: list[tuple[Floats, Floats]] = []
    for start in range(0, replicas + 1, step):
        block = range(start, min(start + step, replicas + 1))
        weights = poisson_weights(vertex, block, seed)
        if start == 0:
            weights[0] = 1.0  # replica 0 is the sample itself
        weights *= own
        sides.append((np.asarray(statistic(nominal, weights)), np.asarray(statistic(twin, weights))))
    first, second = (np.concatenate(side).reshape(replicas + 1, -1) for side in zip(*sides, strict=True))
    difference = second - first
    if not np.isfinite(difference).all():
        raise DataError(f"the statistic has no value in a bootstrap replica of {len(vertex)} events.")
    low, high = interval(difference[1:].T)
    return PairedDifference(
        nominal=first[0],
        value=difference[0],
        error=difference[1:].std(axis=0, ddof=1),
        low=low,
        high=high,
        vertices=len(np.unique(vertex)),
    )


def generation_nuisances(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the nuisances that vary generation, from the record of the detector that responses carry."""
    effects = attrs.get("detector", {}).get("effects", {})
    return tuple(
        f"{name}_{parameter}"
        for name, effect in effects.items()
        if effect["stage"] == "generate"
        for parameter in effect["parameters"]
    )


def mark(table: pd.DataFrame, datasets: Mapping[str, xr.Dataset], nuisances: Collection[str]) -> pd.DataFrame:
    """Return the bias table, in ``not_quoted`` also why a row of a two-point variation is not to be quoted.

    Args:
        table: one row per arm, seed, task and universe, with a column ``not_quoted``.
        datasets: the responses, by task; the vertices of the evaluated events count.
        nuisances: those that vary generation.
    """
    reasons = {}
    for task, data in datasets.items():
        vertex = data["vertex_uid"].values[data["evaluated"].values.astype(bool)]
        reasons[task] = verdict(len(np.unique(vertex)))
    varied = table["nuisance"].isin(list(nuisances))
    few = table["task"].map(reasons).where(varied, "")
    return table.assign(not_quoted=few.where(few != "", table["not_quoted"]))
