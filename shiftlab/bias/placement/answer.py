"""The whole answer for one sample: where it is, how well that fits, and what each head's bias should be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from shiftlab.bias.covariance import Part, odd_even
from shiftlab.bias.design import Design, read_design
from shiftlab.bias.measure import Measured, measure
from shiftlab.bias.placement.interaction import interaction_covariance, joint_values, task_interaction
from shiftlab.bias.placement.library import Library, build_library
from shiftlab.bias.placement.model import Model, build_model, observe
from shiftlab.bias.placement.placing import Placement, locate
from shiftlab.bias.placement.store import Simulated
from shiftlab.bias.placement.summaries import Summaries, choose_summaries
from shiftlab.bias.statistic import Floats, Statistic
from shiftlab.errors import DataError

__all__ = ["Heads", "answer", "biases", "choose_size", "measure_heads"]

_VERTICES: Final = 8
"""Vertices, simulated or of the data, for each summary: the covariance is then known to 10% or so."""

_POWERS: Final = 1
_MOST_BINS: Final = 6


@dataclass(frozen=True)
class Heads:
    """Responses of every head, in units of the statistical error of the data.

    Attributes:
        names: Arm, seed and task of each head; those whose error the events do not tell are left out.
        parts: Responses to the nuisances (``odd_even``), heads on the last axis.
        interaction: (head, head), what nuisances do together.
        hidden: (head,), bias in the hidden universe, empty where there is none.
    """

    names: tuple[tuple[str, int, str], ...]
    parts: tuple[Part, ...]
    interaction: Floats
    hidden: Floats


def measure_heads(
    datasets: Mapping[str, xr.Dataset],
    statistics: Mapping[str, Statistic],
    *,
    hidden: str = "",
    exposure: Mapping[str, float] | None = None,
    replicas: int = 100,
    seed: int = 0,
) -> Heads:
    """Return the responses of every head of a store, and its bias in the hidden universe if there is one.

    Args:
        datasets: Task name to dataset, with the universes of the catalogue and the hidden one.
        statistics: Task name to statistic.
        hidden: Name of a universe that no response is made from.
        exposure: Expected data events per simulated sample, which set the unit; their own number by default.
        replicas: Bootstrap replicas over vertices.
        seed: Of the bootstrap.

    Raises:
        DataError: responses are not finite, or there is no one-sigma universe.
    """
    design = read_design(datasets)
    measured = measure(datasets, statistics, design, replicas=replicas, seed=seed, exposure=dict(exposure or {}))
    shift, names = _stacked(measured, design)
    terms = design.terms("none")
    nuisances = [term.nuisance for term in terms]
    joint, value = joint_values(design, nuisances)
    beside = [(u, z) for u, z in zip(joint, value, strict=True) if design.names[u] != hidden]
    parts = odd_even(shift, terms)
    values = {name: np.array([z[k] for _, z in beside]) for k, name in enumerate(nuisances)}
    together = task_interaction(parts, shift[:, [u for u, _ in beside]], values)
    seen = shift[0, design.names.index(hidden)] if hidden else np.zeros(0)
    return Heads(names, parts, together, seen)


def choose_size(columns: int, vertices: float) -> int:
    """Return the number of bins of each column, so that 8 vertices or more stand behind each summary.

    Raises:
        DataError: there are too few even for two bins.
    """
    bins = min(_MOST_BINS, int((vertices / _VERTICES - 1.0) / columns) + 1 - _POWERS)
    if bins < 2:
        raise DataError(
            f"{vertices:.0f} vertices for {columns} observables: {_VERTICES * (1 + columns * (1 + _POWERS))} are "
            "needed; place with fewer arms or tasks, or with more events."
        )
    return bins


def answer(
    simulated: Simulated,
    columns: Mapping[str, Floats],
    heads: Heads,
    *,
    exposure: Mapping[str, float] | None = None,
    composition: float = 0.2,
    level: float = 0.01,
    toys: int = 500,
    seed: int = 0,
) -> tuple[Placement, Model]:
    """Return where a sample is placed, and the model around nominal, of which power is asked.

    Args:
        simulated: The simulated events, none of which are in the sample.
        columns: Name to the sample's label-free values (event,).
        heads: Responses of the heads.
        exposure: Expected events per simulated sample, of which only the proportions count; those of the simulation
            when None. Their sum is set to the number of events of the sample.
        composition: Prior relative width of the normalisation of each simulated sample.
        level: p-value below which the catalogue is rejected.
        toys: Toys behind the p-value.
        seed: Of toys and draws.

    Raises:
        ConfigError: an exposure or a width that is not allowed.
        DataError: too few events, or a column that is missing, not finite or without variance.
        RunError: the fit does not converge.
    """
    events = len(next(iter(columns.values())))
    bins = choose_size(len(simulated.columns), min(events, len(np.unique(simulated.vertex))))
    design, share = simulated.design, _scale(simulated, exposure, events)
    nominal = {name: values[design.nominal] for name, values in simulated.columns.items()}
    summaries = choose_summaries(nominal, share, bins=bins, powers=_POWERS)
    sample = observe(summaries, columns)

    def build(centre: Floats | None) -> Library:
        return build_library(
            simulated.columns,
            design,
            summaries,
            vertex=simulated.vertex,
            sample=simulated.sample,
            weight=simulated.weight,
            modes=simulated.modes,
            centre=centre,
        )

    first = build(None)
    totals = {name: float(share[simulated.sample == name].sum()) for name in first.samples}
    extra = _interaction(simulated, summaries, first, share)

    def model_of(library: Library) -> Model:
        return build_model(
            library,
            observed=sample,
            exposure=totals,
            composition=composition,
            extra=extra,
            prior=design.prior_among(library.nuisances),
        )

    tasks = [" ".join(map(str, head)) for head in heads.names]
    placed = locate(
        lambda centre: first if centre is None else build(centre),
        model_of,
        sample,
        parts=heads.parts,
        tasks=tasks,
        interaction=heads.interaction,
        level=level,
        toys=toys,
        seed=seed,
    )
    return placed, model_of(first)


def _interaction(simulated: Simulated, summaries: Summaries, library: Library, scale: Floats) -> Floats:
    exposed = {
        name: np.array([float(scale[simulated.sample == one].sum()) for one in library.samples]) / library.weight
        for name in library.maps
    }
    return interaction_covariance(
        simulated.columns,
        simulated.design,
        summaries,
        vertex=simulated.vertex,
        scale=scale,
        maps={name: np.einsum("c,tcj->tj", exposed[name], throws) for name, throws in library.maps.items()},
    )


def _scale(simulated: Simulated, exposure: Mapping[str, float] | None, events: int) -> Floats:
    """Return how many data events each simulated one stands for, (event,), their sum the number of data events."""
    wanted = simulated.weight.copy()
    if exposure:
        for name in np.unique(simulated.sample):
            inside = simulated.sample == name
            wanted[inside] *= exposure.get(str(name), 0.0) / wanted[inside].sum()
    if not wanted.sum() > 0.0:
        raise DataError(f"no simulated sample has expected events; the samples are {sorted(set(simulated.sample))}.")
    return np.asarray(wanted * events / wanted.sum())


def _stacked(measured: Measured, design: Design) -> tuple[Floats, tuple[tuple[str, int, str], ...]]:
    """Return the biases of all heads, (1 + replica, universe, head), and which head is which."""
    found, names = [], []
    for (a, arm), (s, seed) in ((one, two) for one in enumerate(measured.arms) for two in enumerate(measured.seeds)):
        shift = measured.displacement(a, s, design.nominal)
        for t, task in enumerate(measured.tasks):
            if np.isfinite(measured.sigma_data[a, s, t]):
                found.append(shift[:, :, t])
                names.append((arm, seed, task))
    return np.stack(found, axis=2), tuple(names)


def biases(placed: Placement, heads: Heads) -> pd.DataFrame:
    """Return one row per head: arm, seed, task, expected bias with intervals and parts, and the true one if known."""
    if placed.expected is None:
        raise DataError("no responses of heads were given; there is no expected bias.")
    table = placed.expected.table().drop(columns="task")
    for place, (name, values) in enumerate(zip(("arm", "seed", "task"), zip(*heads.names, strict=True), strict=True)):
        table.insert(place, name, values)
    return table.assign(true=heads.hidden) if len(heads.hidden) else table
