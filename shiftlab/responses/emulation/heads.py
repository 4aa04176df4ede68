"""The outputs of one head in the universes of a store, as displacements from which others are emulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.errors import UnknownNameError
from shiftlab.responses.emulation.scale import OutputScale, Scale, Singles, scale_of
from shiftlab.tasks import named_tasks

if TYPE_CHECKING:
    from shiftlab.responses.emulation.points import Points
    from shiftlab.responses.emulation.slopes import Slopes

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
        slopes: Derivatives that are used in place of some of them.
    """

    where: str
    scale: Scale
    direct: Singles
    displacement: Singles
    slopes: Slopes | None = None

    def outputs(self, weights: Floats, asked: Points) -> Singles:
        """Return float32 (asked universe, event, output), by one product.

        Args:
            weights: (asked universe, universe), see ``curves.weights``.
            asked: The asked universes; where they are not recalibrated, ``slopes`` stand for their curves.
        """
        along = None
        if self.slopes is not None:
            plain = np.array([word == "none" for word in asked.recalibrate])
            weights = weights.copy()
            weights[np.ix_(plain, self.slopes.replaced)] = 0.0
            along = (asked.value * plain[:, None])[:, self.slopes.nuisance].astype(np.float32)
        used = np.flatnonzero(weights.any(axis=0))
        shape = self.displacement.shape
        parts = self.displacement[used].reshape(len(used), shape[1] * shape[2])
        moved: Singles = weights[:, used].astype(np.float32) @ parts
        if self.slopes is not None and along is not None:
            moved += along @ self.slopes.value.reshape(len(self.slopes.nuisance), shape[1] * shape[2])
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
