"""Where events lie in the virtual detector, and what of them falls outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shiftlab.events.steps import Steps

__all__ = [
    "ARGON_CUBE",
    "FIDUCIAL",
    "SCINTILLATOR_BOX",
    "SIDE",
    "VISIBLE_ENERGY",
    "Fiducial",
    "Placement",
    "first_visible",
    "inside",
    "move",
]

Point = tuple[float, float, float]

SIDE = 230.4
"""Side of the virtual argon detector's cube, cm: 768 cells of 0.3 cm; anode at x = 0, beam along z."""

VISIBLE_ENERGY = 0.1
"""A step of at most 0.3 cm that leaves more than this (MeV) is visible; a sixth of a minimum-ionising one."""


@dataclass(frozen=True)
class Fiducial:
    """The box over which events are uniform, cm: the same for every sample of one detector.

    Attributes:
        low: lower corner, x y z.
        high: upper corner, x y z.
    """

    low: Point = (0.0, 30.0, 20.0)
    high: Point = (SIDE, SIDE - 30.0, 150.0)

    def throw(self, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return float64 (count, 3), cm: uniform points."""
        return generator.uniform(self.low, self.high, (count, 3))

    def points(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (count, 3), cm: the points at the fractions ``uniform`` (count, 3) of the box."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray(low + uniform * (high - low), dtype=np.float64)


FIDUCIAL = Fiducial()
"""The whole drift; 30 cm off the sides in y; 20 cm behind the front face and 80 cm before the back in z."""


@dataclass(frozen=True)
class Placement:
    """A virtual detector's box, and which point of an event is uniform in it.

    Attributes:
        box: Sides, cm; positions lie in [0, side).
        fiducial: Where the anchor lies.
        anchor: ``first_visible`` is the midpoint of the earliest visible step, so that nothing tells where an
            unseen vertex was; ``vertex`` is the vertex itself.
    """

    box: Point = (SIDE, SIDE, SIDE)
    fiducial: Fiducial = FIDUCIAL
    anchor: Literal["first_visible", "vertex"] = "first_visible"

    def describe(self) -> dict[str, str]:
        """Return what a sample's attributes must say of its frame."""
        low, high = self.fiducial.low, self.fiducial.high
        where = ", ".join(f"{axis} {low[i]:g}-{high[i]:g}" for i, axis in enumerate("xyz"))
        step = f"first visible deposit (step of at most 0.3 cm above {VISIBLE_ENERGY} MeV)"
        what = step if self.anchor == "first_visible" else "vertex"
        box = " x ".join(f"{side:g}" for side in self.box)
        return {
            "placement": f"{what} uniform in {where} cm of a box of {box} cm; what lies outside the box is dropped "
            "(truth/outside_energy)",
            "frame": "cm, MeV; the corner of the box is at 0, the beam runs along z",
        }


ARGON_CUBE = Placement()
"""The argon samples: a cube of 230.4 cm, x is the distance to the anode."""

SCINTILLATOR_BOX = Placement(
    box=(230.0, 230.0, 600.0), fiducial=Fiducial(low=(30.0, 30.0, 50.0), high=(200.0, 200.0, 300.0)), anchor="vertex"
)
"""The polystyrene samples: the beam axis is at x = y = 115 cm; vertices within 85 cm of it, z 50 to 300 cm."""


def first_visible(steps: Steps, count: int) -> NDArray[np.float64]:
    """Return float64 (count, 3), cm: midpoint of each event's earliest step above VISIBLE_ENERGY.

    Steps must be subdivided already and in order along each track. An event without such a step gets
    the origin, its vertex.
    """
    visible = np.flatnonzero(steps.energy > VISIBLE_ENERGY)
    event, time = steps.event[visible], steps.time[visible]
    # The first of those with the event's smallest time: what a stable sort by event and time puts first.
    earliest = np.full(count, np.inf)
    np.minimum.at(earliest, event, time)
    candidates = visible[time == earliest[event]]
    events, first = np.unique(steps.event[candidates], return_index=True)
    where = np.zeros((count, 3))
    rows = candidates[first]
    where[events] = 0.5 * (steps.start[rows] + steps.end[rows])
    return where


def move(steps: Steps, shift: NDArray[np.float64]) -> Steps:
    """Return the steps, those of event i moved by ``shift[i]`` (cm)."""
    by = shift[steps.event]
    return Steps(steps.event, steps.track, steps.start + by, steps.end + by, steps.energy, steps.time)


def inside(middle: NDArray[np.float64], box: Point = (SIDE, SIDE, SIDE)) -> NDArray[np.bool_]:
    """Return bool (step,): the midpoint ``middle`` (step, 3), cm, lies in the box."""
    return np.asarray(((middle >= 0.0) & (middle < np.asarray(box))).all(axis=1), dtype=bool)
