"""The fourth step: from responses to paired biases with covariance and correlation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import xarray as xr

from shiftlab.bias.comparison import compare_arms
from shiftlab.bias.correlated import correlated
from shiftlab.bias.currency import resolutions, with_currencies
from shiftlab.bias.design import read_design
from shiftlab.bias.measure import measure
from shiftlab.bias.record import Bias
from shiftlab.bias.sample import check_exposure
from shiftlab.bias.statistic import Statistic
from shiftlab.bias.tables import bias_table, joint_table
from shiftlab.bias.two_point import generation_nuisances, mark
from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["Store", "bias"]


class Store(Protocol):
    """Anything with one dataset per task, say ``shiftlab.responses.Responses``."""

    @property
    def datasets(self) -> Mapping[str, xr.Dataset]:
        """Task name to dataset."""


def bias(
    responses: Store,
    *,
    tasks: Mapping[str, Statistic] | Iterable[str] | None = None,
    replicas: int = 200,
    seed: int = 0,
    exposure: Mapping[str, float] | None = None,
    slopes: Mapping[str, float] | None = None,
) -> Bias:
    """Return the paired bias of every head in every universe, and how the heads move together.

    Args:
        responses: Outputs of all arms and seeds in all universes.
        tasks: Which tasks, by name, or name to statistic for a synthetic store; all by default.
        replicas: Number of Poisson(1) bootstrap replicas over vertices.
        seed: Seed of the bootstrap.
        exposure: Expected number of data events per simulated sample; biases are quoted in units
            of the statistical error that such data would have. A sample that is not named counts
            with the size of its evaluation sample.
        slopes: d mu / d statistic per task, by which a bias moves a fitted parameter mu; the fit gives it.

    Raises:
        ConfigError: fewer than 2 replicas, an unknown task or sample, an exposure that is not positive.
        DataError: responses are not finite, a universe is there twice, there is no nominal, a
            statistic has no variance, or there are too few events.
    """
    if replicas < 2:
        raise ConfigError(f"bias.replicas = {replicas}: a spread needs 2 or more.")
    statistics = _statistics(responses.datasets, tasks)
    datasets = {name: responses.datasets[name] for name in statistics}
    design = read_design(datasets)
    events = check_exposure(exposure, responses.datasets)
    measured = measure(datasets, statistics, design, replicas=replicas, seed=seed, exposure=events)
    together = correlated(measured, design, seed)
    rows = mark(bias_table(measured, design), datasets, generation_nuisances(getattr(responses, "attrs", {})))
    table = with_currencies(rows, measured, resolutions(datasets, statistics, measured, design), slopes)
    return Bias(
        tasks=measured.tasks,
        replicas=replicas,
        table=table,
        joint_significance=joint_table(measured, design),
        performance=measured.performance,
        exposure=measured.exposure,
        unisims=together.unisims,
        reliability=together.reliability,
        correlation=together.correlation,
        seed_range=together.seed_range,
        excess=together.excess,
        closure=together.closure,
        joint_correlation=together.joint_correlation,
        structure=together.structure,
        modes=together.modes,
        maps=together.maps,
        comparison=compare_arms(datasets, statistics, measured, design, table, seed=seed),
        covariance={key: part.covariance for key, part in together.systematic.items()},
        raw_covariance={key: part.raw for key, part in together.systematic.items()},
        map_covariance=together.over_maps,
        emulated=_emulated(datasets),
    )


def _emulated(datasets: Mapping[str, xr.Dataset]) -> tuple[str, ...]:
    """Return the names of the universes that are marked as emulated."""
    first = next(iter(datasets.values()))
    if "emulated" not in first.coords:
        return ()
    marked = first["emulated"].values.astype(bool)
    return tuple(str(name) for name in first["universe"].values[marked])


def _statistics(
    datasets: Mapping[str, xr.Dataset], tasks: Mapping[str, Statistic] | Iterable[str] | None
) -> dict[str, Statistic]:
    """Return name to statistic, in the order of the store; names alone are looked up in the registry of tasks."""
    chosen = list(datasets) if tasks is None else list(tasks)
    for name in chosen:
        if name not in datasets:
            raise UnknownNameError("task", name, datasets)
    if isinstance(tasks, Mapping):
        return {name: tasks[name] for name in datasets if name in tasks}
    from shiftlab.tasks import named_tasks  # here, so that a synthetic store needs no torch

    names = [name for name in datasets if name in chosen]
    return dict(zip(names, named_tasks(names), strict=True))
