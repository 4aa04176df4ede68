"""Per-event response to nuisances by automatic differentiation: one backward pass per output for all nuisances at once.

Each event has its own value of every nuisance, so the derivative of the sum of an output over events is its derivative
event by event. It goes through the network and the detector's chain, whose threshold is smoothed by the noise in this
pass alone (``shiftlab.detector.smooth``). Responses in universes are those of the plain chain.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from shiftlab.arms.arm import Arm
from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.network import Network
from shiftlab.arms.network_arm import NetworkArm, OneBody
from shiftlab.arms.smooth_patches import SmoothPatches, smooth_patches
from shiftlab.detector import Detector
from shiftlab.detector.nuisances import Nuisance
from shiftlab.detector.recorder import Recorder
from shiftlab.detector.smooth import SmoothChain, displaced_value, why_not_smooth, why_not_smooth_chain
from shiftlab.errors import ConfigError
from shiftlab.events import Deposits
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.task import Task

__all__ = ["Gradients", "differentiate", "smooth_outputs", "why_not_differentiable"]

_BATCH: Final = 16
"""Events of one pass: a graph of some hundred megabytes (a choice)."""


@dataclass(frozen=True)
class Gradients:
    """Derivatives of the outputs of one arm and seed at nominal, by nuisances in units of their sigma.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        nuisances: Names of the nuisances that have a derivative.
        events: int64 (event,), event keys.
        value: Task to float32 (event, output, nuisance); NaN for an event that the task does not score.
        why_not: By name, why other nuisances have none.
    """

    arm: str
    seed: int
    nuisances: tuple[str, ...]
    events: npt.NDArray[np.int64]
    value: Mapping[str, npt.NDArray[np.float32]]
    why_not: Mapping[str, str]


def why_not_differentiable(arm: Arm, task: Task) -> str:
    """Return why the outputs of an arm for a task have no known derivative, empty where they have one."""
    if not isinstance(arm, NetworkArm):
        return f"arm '{arm.name}' is made of no networks, whose answers would be smooth"
    body = arm._network().body
    if not isinstance(body, VoxelTransformer):
        return f"body '{body.name}' knows no voxels that are more or less there; 'voxel_transformer' does"
    return "" if task.level == "event" else "its outputs are counts of parts of an event"


def differentiate(
    events: Deposits,
    detector: Recorder,
    arm: Arm,
    tasks: Sequence[Task],
    *,
    dtype: torch.dtype = torch.float32,
    progress: bool = False,
) -> Gradients:
    """Return the derivatives of an arm's outputs for all tasks, event by event.

    An event that the nominal detector records nothing of has the declared answer, and derivative 0.

    Args:
        events: Deposits of the events.
        detector: The detector.
        arm: A trained arm.
        tasks: Tasks that the arm answers.
        dtype: Of the numbers that the network sees, its own.
        progress: Show a bar on stderr.

    Raises:
        ConfigError: the detector, the arm or a task has no derivative; the message says why.
    """
    reason = why_not_smooth_chain(detector)
    if reason or not isinstance(detector, Detector):
        raise ConfigError(f"detector '{detector.name}' cannot be differentiated: {reason}.")
    for task in tasks:
        reason = why_not_differentiable(arm, task)
        if reason:
            raise ConfigError(f"arm '{arm.name}', task '{task.name}' cannot be differentiated: {reason}.")
    why_not = {one.name: why_not_smooth(detector, one) for one in detector.nuisances}
    smooth = [one for one in detector.nuisances if not why_not[one.name]]
    scored = {task.name: task.scored(events.events) for task in tasks}
    shape = len(events), len(smooth)
    value = {task.name: np.full((shape[0], task.outputs, shape[1]), np.nan, dtype=np.float32) for task in tasks}
    starts = range(0, shape[0], _BATCH)
    for first in tqdm(starts, desc="gradients", file=sys.stderr, disable=not progress):
        rows = np.arange(first, min(first + _BATCH, shape[0]))
        for name, found in _batch(events, detector, arm, tasks, rows, smooth, dtype):
            value[name][rows] = found
    for name, known in value.items():
        known[~scored[name]] = np.nan
    return Gradients(
        arm.name,
        arm.seed,
        tuple(one.name for one in smooth),
        events.events.key.numpy(),
        value,
        {name: reason for name, reason in why_not.items() if reason},
    )


def _batch(
    events: Deposits,
    detector: Detector,
    arm: Arm,
    tasks: Sequence[Task],
    rows: npt.NDArray[np.int64],
    smooth: Sequence[Nuisance],
    dtype: torch.dtype,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Give the derivatives (event, output, nuisance) of each task of some events; 0 for those without a voxel."""
    prepared = detector.prepare(events.take(rows.tolist()))
    seen = detector.image(prepared).offsets.diff() > 0
    kept = rows[seen.numpy()]
    found = {task.name: np.zeros((len(rows), task.outputs, len(smooth)), dtype=np.float32) for task in tasks}
    if len(kept):
        chain = SmoothChain(
            detector, prepared if len(kept) == len(rows) else detector.prepare(events.take(kept.tolist()))
        )
        z = [torch.zeros(len(kept), dtype=torch.float64, requires_grad=True) for _ in smooth]
        for task, outputs in smooth_outputs(chain, arm, tasks, smooth, z, dtype):
            for column in range(task.outputs):
                slopes = torch.autograd.grad(outputs[:, column].sum(), z, retain_graph=True, materialize_grads=True)
                found[task.name][seen.numpy(), column] = torch.stack(slopes, dim=1).numpy()
    yield from found.items()


def smooth_outputs(
    chain: SmoothChain,
    arm: Arm,
    tasks: Sequence[Task],
    nuisances: Sequence[Nuisance],
    z: Sequence[Tensor],
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Task, Tensor]]:
    """Give each task with its outputs (event, output) in the smooth chain, as functions of the nuisances.

    Args:
        chain: Detector and events, each of which has a voxel.
        arm: A network arm.
        tasks: What it is asked.
        nuisances: What is displaced.
        z: float64 (event,) for each of them, displacements in sigma.
        dtype: Of the numbers that the network sees, its own.
    """
    displaced: dict[str, dict[str, Tensor]] = {}
    for one, by in zip(nuisances, z, strict=True):
        displaced.setdefault(one.effect, {})[one.parameter.name] = displaced_value(one, by)
    seen = smooth_patches(chain.image(displaced), arm.contract, dtype)
    summary = EventSummary(seen.patches.summed_energy, seen.patches.centroid)
    for network, asked in _networks(arm, tasks):
        encoded = _encoded(network, seen)
        for task in asked:
            yield task, task.decode(network.heads[task.name](encoded), summary)


def _encoded(network: Network, seen: SmoothPatches) -> object:
    return network.body(seen.patches, seen.presence)


def _networks(arm: Arm, tasks: Sequence[Task]) -> list[tuple[Network, Sequence[Task]]]:
    """Return the networks that answer, each with what it is asked."""
    if isinstance(arm, OneBody):
        return [(arm.network, tasks)]
    assert isinstance(arm, NetworkArm)
    return [(arm._network(task.name), (task,)) for task in tasks]
