"""From steps with labels to deposits: what the readers of simulated steps have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.steps import Steps

__all__ = ["assemble"]


def assemble(
    steps: Steps,
    length: NDArray[np.float64],
    semantic: NDArray[np.int8],
    particle: NDArray[np.int8],
    *,
    key: NDArray[np.int64],
    vertex: NDArray[np.int64],
    weight: NDArray[np.float64],
    sample: tuple[str, ...],
    truth: Mapping[str, NDArray[np.float64]],
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Deposits:
    """Return deposits at the midpoints of steps, which must be in order of their events.

    Args:
        steps: Steps no longer than a cell.
        length: float64 (step,), cm, path length of each step.
        semantic: int8 (step,).
        particle: int8 (step,).
        key: int64 (event,).
        vertex: int64 (event,).
        weight: float64 (event,).
        sample: Name of each event's sample.
        truth: float64 (event,) columns; ``visible_energy``, the sum of the steps', is added if absent.
        origin: Subtracted from positions, cm.
    """
    count = len(key)
    visible = np.bincount(steps.event, steps.energy, count).astype(np.float64)
    every = {"visible_energy": visible, **truth}
    offsets = np.concatenate([[0], np.cumsum(np.bincount(steps.event, minlength=count))]).astype(np.int64)
    return Deposits(
        offsets=torch.from_numpy(offsets),
        position=torch.from_numpy((steps.midpoint - np.asarray(origin)).astype(np.float32)),
        energy=torch.from_numpy(steps.energy.astype(np.float32)),
        length=torch.from_numpy(length.astype(np.float32)),
        semantic=torch.from_numpy(semantic),
        particle=torch.from_numpy(particle),
        events=EventTable(
            key=torch.from_numpy(key),
            vertex=torch.from_numpy(vertex.copy()),
            weight=torch.from_numpy(weight),
            sample=sample,
            truth={name: torch.from_numpy(np.array(column, dtype=np.float64)) for name, column in every.items()},
            selected=torch.ones(count, dtype=torch.bool),
        ),
    )
