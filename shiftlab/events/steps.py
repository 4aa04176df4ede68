"""Simulated steps of charged particles: straight segments and points that carry the energy they leave."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_STEP", "Steps", "cell_midpoints", "subdivide"]

MAX_STEP = 0.3
"""Longest step that deposits may have, cm: one cell of the virtual detector."""


_ROWS = 8192


@dataclass(frozen=True)
class Steps:
    """Steps of many events; every array has one row per step.

    Attributes:
        event: int64 (step,), index of the event, from 0.
        track: int64 (step,), row of the track that made the step.
        start: float64 (step, 3), cm.
        end: float64 (step, 3), cm; equal to ``start`` for points, as neutral particles leave.
        energy: float64 (step,), MeV.
        time: float64 (step,), us, at the start.
    """

    event: NDArray[np.int64]
    track: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    energy: NDArray[np.float64]
    time: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.energy)

    @property
    def length(self) -> NDArray[np.float64]:
        """float64 (step,), cm: distance from start to end; 0 for points."""
        return _norm(self.end - self.start)

    @property
    def midpoint(self) -> NDArray[np.float64]:
        """float64 (step, 3), cm."""
        middle = self.start + self.end
        middle *= 0.5
        return middle

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Steps:
        """Return the steps at ``rows`` (indices or a mask)."""
        return Steps(
            self.event[rows], self.track[rows], self.start[rows], self.end[rows], self.energy[rows], self.time[rows]
        )


def subdivide(steps: Steps, longest: float = MAX_STEP) -> tuple[Steps, NDArray[np.int64]]:
    """Cut every step into equal parts no longer than ``longest`` (cm), with the same dE/dx.

    The parts of a step of energy E have E/n each, rounded once: their exact sum is E to within 1.2e-16 of it.

    Returns:
        The parts, in the order of the steps, and int64 (part,), the row of the step that each comes from.
    """
    pieces = _pieces(steps.length, longest)
    span = steps.end - steps.start
    if pieces.max(initial=1) == 1:
        span += steps.start
        return replace(steps, end=span), np.arange(len(steps))
    span /= pieces[:, None]
    source = np.repeat(np.arange(len(steps)), pieces)
    number = np.arange(len(source)) - (np.cumsum(pieces) - pieces)[source]
    span = span[source]
    start = span * number[:, None]
    start += steps.start[source]
    span += start
    parts = Steps(
        event=steps.event[source],
        track=steps.track[source],
        start=start,
        end=span,
        energy=(steps.energy / pieces)[source],
        time=steps.time[source],
    )
    return parts, source


def cell_midpoints(
    steps: Steps, origin: tuple[float, float, float] = (0.0, 0.0, 0.0), longest: float = MAX_STEP
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Return what ``subdivide`` gives where only places are wanted; worked out by parts that fit a processor's cache.

    Returns:
        float32 (part, 3), cm, the midpoints of the parts less ``origin``; int64 (step,), the number of parts of each
        step; and float64 (step,), cm, the length of each step.
    """
    pieces, length = np.empty(len(steps), dtype=np.int64), np.empty(len(steps))
    blocks = [np.empty((0, 3), dtype=np.float32)]
    for first in range(0, len(steps), _ROWS):
        part = slice(first, first + _ROWS)
        start, span = steps.start[part], steps.end[part] - steps.start[part]
        length[part] = _norm(span)
        pieces[part] = _pieces(length[part], longest)
        blocks.append((_middles(start, span, pieces[part]) - np.asarray(origin)).astype(np.float32))
    return np.concatenate(blocks), pieces, length


def _middles(start: NDArray[np.float64], span: NDArray[np.float64], pieces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64 (part, 3): midpoints of the equal parts of steps; ends are rounded as ``subdivide`` does."""
    if pieces.max(initial=1) > 1:
        span = np.repeat(span / pieces[:, None], pieces, axis=0)
        number = np.arange(len(span)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        start = span * number[:, None] + np.repeat(start, pieces, axis=0)
    span = span + start
    span += start
    span *= 0.5
    return span


def _norm(span: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64 (step,): the length of each vector of (step, 3)."""
    square = span * span
    return np.asarray(np.sqrt(square[:, 0] + square[:, 1] + square[:, 2]), dtype=np.float64)


def _pieces(length: NDArray[np.float64], longest: float) -> NDArray[np.int64]:
    """Return int64 (step,): into how many parts a step is cut."""
    return np.maximum(np.ceil(length / longest * (1.0 - 1e-9)), 1.0).astype(np.int64)
