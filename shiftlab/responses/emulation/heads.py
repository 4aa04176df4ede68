"""The outputs of one head in the universes of a store, as displacements from which others are emulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.errors import UnknownNameError
from shiftlab.responses.emulation.scale import OutputScale, Scale, Singles, scale_of
from shiftlab.tasks import named_tasks

__all__ = ["Head", "Judge", "judges", "read_head"]

Floats = npt.NDArray[np.float64]


class Judge(Protocol):
    """What emulation asks of a task; ``shiftlab.tasks.Task`` is one."""

    @property
    def output_scale(self) -> OutputScale:
        """What its outputs are."""

    def score(self, outputs: Floats, truth: Floats, weights: Floats) -> Floats:
        """Return the statistic (..., replica) of outputs (..., event, output) with weights (replica, event)."""

    def observable(self, outputs: Floats) -> Floats:
        """Return the per-event quantity that is histogrammed, (..., event)."""


def judges(datasets: Mapping[str, xr.Dataset], tasks: Mapping[str, Judge] | Iterable[str] | None) -> dict[str, Judge]:
    """Return name to task, in the order of the store; names alone are looked up in the registry of tasks.

    Raises:
        UnknownNameError: the store or the registry has no such task.
    """
    chosen = list(datasets) if tasks is None else list(tasks)
    for name in chosen:
        if name not in datasets:
            raise UnknownNameError("task", name, datasets)
    names = [name for name in datasets if name in chosen]
    if isinstance(tasks, Mapping):
        return {name: tasks[name] for name in names}
    return dict(zip(names, named_tasks(names), strict=True))


@dataclass(frozen=True)
class Head:
    """One arm, seed and task.

    Attributes:
        where: Its names, for messages.
        scale: The scale on which its outputs move.
        direct: float32 (universe, event, output), the simulated outputs.
        displacement: float32 (universe, event, output), the same as displacements on that scale.
    """

    where: str
    scale: Scale
    direct: Singles
    displacement: Singles

    def outputs(self, weights: Floats) -> Singles:
        """Return float32 (asked universe, event, output) for ``weights`` (asked universe, universe), by one product."""
        used = np.flatnonzero(weights.any(axis=0))
        shape = self.displacement.shape
        parts = self.displacement[used].reshape(len(used), -1)
        moved: Singles = weights[:, used].astype(np.float32) @ parts
        return self.scale.outputs(moved.reshape(len(weights), *shape[1:]))


def read_head(
    data: xr.Dataset, task: str, judge: Judge, arm: int, seed: int, nominal: int, anchors: npt.NDArray[np.int64]
) -> Head:
    """Return a head of the dataset of its task.

    Args:
        data: The dataset.
        task: Name of the task.
        judge: The task.
        arm: Number of the arm.
        seed: Number of the seed.
        nominal: Number of the nominal universe.
        anchors: Numbers of the universes that responses are made from.

    Raises:
        DataError: outputs that are declared positive are negative.
    """
    direct: Singles = data["output"].isel(arm=arm, seed=seed).transpose("universe", "event", "output").values
    where = f"arm '{data['arm'].values[arm]}', seed {int(data['seed'].values[seed])}, task '{task}'"
    scale = scale_of(judge.output_scale, direct[nominal], direct[anchors], where)
    return Head(where, scale, direct, scale.displacement(direct))
