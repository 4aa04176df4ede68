"""Where events lie in the virtual detector, and what of them falls outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.steps import Steps

__all__ = ["FIDUCIAL", "SIDE", "VISIBLE_ENERGY", "Fiducial", "first_visible", "inside", "move"]

SIDE = 230.4
"""Side of the virtual detector's cube, cm: 768 cells of 0.3 cm; anode at x = 0, beam along z."""

VISIBLE_ENERGY = 0.1
"""A step of at most 0.3 cm that leaves more than this (MeV) is visible; a sixth of a minimum-ionising one."""


@dataclass(frozen=True)
class Fiducial:
    """The box over which first visible deposits are uniform, cm: the same for every sample.

    Attributes:
        low: lower corner, x y z.
        high: upper corner, x y z.
    """

    low: tuple[float, float, float] = (0.0, 30.0, 20.0)
    high: tuple[float, float, float] = (SIDE, SIDE - 30.0, 150.0)

    def throw(self, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return float64 (count, 3), cm: uniform points."""
        return generator.uniform(self.low, self.high, (count, 3))


FIDUCIAL = Fiducial()
"""The whole drift; 30 cm off the sides in y; 20 cm behind the front face and 80 cm before the back in z."""


def first_visible(steps: Steps, count: int) -> NDArray[np.float64]:
    """Return float64 (count, 3), cm: midpoint of each event's earliest step above VISIBLE_ENERGY.

    Steps must be subdivided already and in order along each track. An event without such a step gets
    the origin, its vertex.
    """
    visible = np.flatnonzero(steps.energy > VISIBLE_ENERGY)
    order = visible[np.lexsort((steps.time[visible], steps.event[visible]))]
    events, rows = np.unique(steps.event[order], return_index=True)
    where = np.zeros((count, 3))
    where[events] = steps.midpoint[order[rows]]
    return where


def move(steps: Steps, shift: NDArray[np.float64]) -> Steps:
    """Return the steps, those of event i moved by ``shift[i]`` (cm)."""
    by = shift[steps.event]
    return Steps(steps.event, steps.track, steps.start + by, steps.end + by, steps.energy, steps.time)


def inside(steps: Steps) -> NDArray[np.bool_]:
    """Return bool (step,): the midpoint lies in the virtual detector."""
    middle = steps.midpoint
    return np.asarray(((middle >= 0.0) & (middle < SIDE)).all(axis=1), dtype=bool)
