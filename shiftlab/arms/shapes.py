"""Shape of an event as a physicist would sum it up: principal axes, containment and the dE/dx of both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shiftlab.units import MIP_DEDX

__all__ = ["CORE", "DISTANCES", "LEAST_SPREAD", "RADII", "SHAPES", "START", "Ends", "ends_of", "event_shapes"]

RADII: Final = (1.0, 2.0, 4.0, 8.0)
DISTANCES: Final = (5.0, 10.0, 20.0, 40.0)
CORE: Final = 3.0
LEAST_SPREAD: Final = 1e-4
START: Final = 3.0

SHAPES: Final = 6 + 2 * (len(RADII) + len(DISTANCES)) + 6
"""Number of quantities."""

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def _sums(columns: Doubles, offsets: Integers) -> Doubles:
    """Return (event, column): sums over the voxels of each event, of its own voxels alone."""
    sums = np.zeros((len(offsets) - 1, columns.shape[1]))
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        sums[filled] = np.add.reduceat(columns, offsets[:-1][filled], axis=0)
    return sums


def _within(distance: Doubles, limits: tuple[float, ...], energy: Doubles, event: Integers, events: int) -> Doubles:
    """Return (2, event, limit): energy and number of voxels nearer than each limit."""
    bins = len(limits) + 1
    place = event * bins + np.searchsorted(limits, distance, side="right")
    shape = (events, bins)
    summed = np.bincount(place, energy, events * bins).reshape(shape)
    number = np.bincount(place, minlength=events * bins).reshape(shape)
    within: Doubles = np.stack([summed, number]).cumsum(axis=2)[:, :, :-1]
    return within


def event_shapes(position: Doubles, energy: Doubles, event: Integers, offsets: Integers) -> Array:
    """Return float32 (event, SHAPES): where the energy is, how it spreads and how dense its ends are.

    All are of order one: the centroid about the middle of the 230.4 cm cube in half its edge; ln of the
    spread along the principal axes, cm; the fraction of the energy within ``RADII`` of the main axis
    and ``DISTANCES`` of the centroid, cm, and ln of the mean voxel energy there; and ln of the dE/dx
    of both ends with the length between them, for two definitions of the ends. An event without
    voxels gives zeros.

    Args:
        position: (voxel, 3), cm.
        energy: (voxel,), MeV, positive.
        event: (voxel,), the event of each voxel.
        offsets: (event + 1,).
    """
    total = np.maximum(_sums(energy[:, None], offsets), 1e-9)
    centre = _sums(position * energy[:, None], offsets) / total
    away = position - centre[event]
    pairs = away[:, [0, 1, 2, 0, 0, 1]] * away[:, [0, 1, 2, 1, 2, 2]] * energy[:, None]
    spread = (_sums(pairs, offsets) / total)[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    values, vectors = np.linalg.eigh(spread)
    values = np.sqrt(np.maximum(values, LEAST_SPREAD))
    along = np.einsum("vi,vi->v", away, vectors[event, :, 2])
    aside = np.sqrt(np.maximum(np.einsum("vi,vi->v", away, away) - along**2, 0.0))
    around = _within(aside, RADII, energy, event, len(total))
    near = _within(np.hypot(along, aside), DISTANCES, energy, event, len(total))
    inside, number = np.concatenate([around, near], axis=2)
    fraction, mean = inside / total, inside / np.maximum(number, 1.0)
    ends = _ends(along, aside, energy, event, offsets)
    ends[:, [2, 5]] = ends[:, [2, 5]] / 100.0 - 1.0
    ends[:, [0, 1, 3, 4]] = np.log(ends[:, [0, 1, 3, 4]] / MIP_DEDX + 0.05)
    place = centre / 115.2 - 1.0
    shapes = np.hstack([place, np.log(values) / 2 - 1, fraction * 2 - 1, np.log(mean / 0.5 + 0.01), ends])
    shapes[offsets[1:] == offsets[:-1]] = 0.0
    return shapes.astype(np.float32)


def _ends(along: Doubles, aside: Doubles, energy: Doubles, event: Integers, offsets: Integers) -> Doubles:
    """Return (event, 6): dE/dx (MeV/cm) of both ends of the core along the main axis, and its length."""
    running, windows = ends_of(along, aside, energy, event, offsets)
    quantities = []
    for one in windows:
        near, far = (
            (running[last] - running[first]) / START for first, last in ((one.start, one.ahead), (one.behind, one.stop))
        )
        quantities += [np.minimum(near, far), np.maximum(near, far), one.last - one.first]
    if not quantities:
        return np.zeros((len(offsets) - 1, 6))
    found: Doubles = np.stack(quantities, axis=1)
    return found


@dataclass(frozen=True)
class Ends:
    """Where both ends of each event are, in voxels sorted by event and place along its main axis.

    The first end is the voxels ``start`` to ``ahead``, the other ``behind`` to ``stop``, (event,) each, without the
    last.

    Attributes:
        start: int64.
        ahead: int64.
        behind: int64.
        stop: int64.
        first: Place of ``start`` along the main axis, cm.
        last: Place of the last voxel of the other end, cm.
    """

    start: Integers
    ahead: Integers
    behind: Integers
    stop: Integers
    first: Doubles
    last: Doubles


def ends_of(
    along: Doubles, aside: Doubles, energy: Doubles, event: Integers, offsets: Integers
) -> tuple[Doubles, tuple[Ends, ...]]:
    """Return (voxel + 1,), the running sum of the core's energy over sorted voxels, and the ends by two definitions."""
    shifted = along + event * 1e4  # no event is 100 m long, so that one sort serves all
    order = np.argsort(shifted, kind="stable")
    shifted, along, core = shifted[order], along[order], energy[order] * (aside[order] < CORE)
    running = np.concatenate([[0.0], np.cumsum(core)])
    first, last = offsets[:-1], offsets[1:]
    total = running[last] - running[first]
    found = []
    for low, high in ((0.02, 0.98), (0.05, 0.95)):
        start = np.searchsorted(running, running[first] + low * total, side="right") - 1
        stop = np.searchsorted(running, running[first] + high * total, side="left") - 1
        start, stop = np.clip(start, 0, max(len(along) - 1, 0)), np.clip(stop, 0, max(len(along) - 1, 0))
        if not len(along):
            return running, ()
        ahead = np.searchsorted(shifted, shifted[start] + START)
        behind = np.searchsorted(shifted, shifted[stop] - START)
        inside = np.minimum(ahead, last), np.maximum(behind, first)
        found.append(Ends(start, *inside, stop + 1, along[start], along[stop]))
    return running, tuple(found)
