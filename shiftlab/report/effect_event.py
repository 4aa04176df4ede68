"""Which event, and which part of it, shows best what an effect does to images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from shiftlab.detector import NOMINAL, Detector, Universe
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import Deposits, Image
from shiftlab.report.show import Window, window_of

__all__ = ["View", "changes", "telling_event"]

Floats = NDArray[np.float64]

_SEARCHED: Final = {"pixels": 200, "wires": 20}
"""Events in which a change is looked for, by read-out."""

_MARGIN: Final = (50, 13)
"""Empty space around an event, ticks and wires: 4 cm of the shipped wire detector."""


def telling_event(detector: Detector, deposits: Deposits, universes: Sequence[Universe]) -> int:
    """Return the event in which most of the universes are seen: a nue CC one if possible, the first of equals.

    Raises:
        DataError: none of the events that are searched has deposits.
    """
    counts = (deposits.offsets[1:] - deposits.offsets[:-1]).numpy()
    filled = [n for n in range(len(deposits)) if counts[n]]
    if not filled:
        raise DataError("no event of the file has deposits: there is nothing to show.")
    order = sorted(filled, key=lambda n: deposits.events.sample[n] != "nue_cc")[: _SEARCHED[detector.geometry.readout]]
    best, most = order[0], -1
    for some in (order[:1], order[1:]):
        # One event is quick, and mostly enough.
        if some and most < len(universes):
            seen = _seen(detector, deposits.take(some), universes)
            if int(seen.max()) > most:
                best, most = some[int(seen.argmax())], int(seen.max())
    return best


def _seen(detector: Detector, deposits: Deposits, universes: Sequence[Universe]) -> NDArray[np.int64]:
    """Return int64 (event,): in how many of the universes each event's image changes."""
    prepared = detector.prepare(deposits)
    nominal = _sums(detector.image(prepared, NOMINAL))
    seen = np.zeros(len(deposits), dtype=np.int64)
    for universe in universes:
        with suppress(ConfigError, DataError):
            seen += (_sums(detector.image(prepared, universe)) != nominal).any(axis=0)
    return seen


def _sums(image: Image) -> Floats:
    """Return float64 (3, event): numbers that a change of an event's image hardly leaves equal."""
    events, energy = image.event_index.numpy(), image.energy.numpy().astype(np.float64)
    weights = (np.ones_like(energy), energy, energy * (1.0 + image.cell.numpy() % 9973))
    return np.stack([np.bincount(events, one, len(image)) for one in weights])


def changes(one: Image, other: Image) -> bool:
    """Return whether two images differ in any cell."""
    return len(one.cell) != len(other.cell) or bool(
        (one.cell != other.cell).any() or (one.energy != other.energy).any()
    )


@dataclass(frozen=True)
class View:
    """How images are projected: from above for pixels; for wires one plane, wire against time.

    Attributes:
        window: The part that is drawn.
        plane: Number of the wire plane, None for pixels.
        labels: Of the horizontal and the vertical axis.
    """

    window: Window
    plane: int | None
    labels: tuple[str, str]

    @classmethod
    def of(cls, detector: Detector, deposits: Deposits, nominal: Image, shifted: Image) -> View:
        """Return the view of an event; of wire planes the one that changes most, the last one of equals."""
        if detector.geometry.readout == "pixels":
            return cls(window_of(deposits, detector), None, ("z (beam) / cm", "x (drift) / cm"))
        plane = _changed_plane(nominal, shifted)
        index, energy = nominal.index.numpy(), nominal.energy.numpy()
        mine = index[:, 1] == plane
        ends = [_inner(index[mine, axis], energy[mine].astype(np.float64)) for axis in (0, 2)]
        (low, high), (first, last) = [(a - m, b + m) for (a, b), m in zip(ends, _MARGIN, strict=True)]
        labels = (f"wire of plane {plane + 1} of {nominal.shape[1]}", "tick")
        return cls(Window((low, plane, first), (high, plane + 1, last), 1.0), plane, labels)

    @property
    def cells(self) -> str:
        """What the image's cells are called."""
        return "voxels" if self.plane is None else "cells"

    @property
    def unit(self) -> str:
        """What an energy is given per."""
        return "pixel" if self.plane is None else "wire and tick"

    def seen(self, image: Image) -> tuple[int, float]:
        """Return the number of cells and their energy in MeV; of wires, those of the plane."""
        if self.plane is None:
            return len(image.cell), float(image.energy.sum())
        mine = image.index[:, 1] == self.plane
        return int(mine.sum()), float(image.energy[mine].sum())

    def project(self, image: Image) -> Floats:
        """Return the energy of the view's pixels, (up, across), MeV."""
        if self.plane is None:
            return self.window.project(image, 2, 0)
        index = image.index.numpy()
        mine = index[:, 1] == self.plane
        counts: Floats = np.histogram2d(
            index[mine, 0] + 0.5,
            index[mine, 2] + 0.5,
            bins=(self.window.edges(0), self.window.edges(2)),
            weights=image.energy.numpy()[mine].astype(np.float64),
        )[0]
        return counts

    def frame(self, axes: Axes) -> None:
        """Set limits, aspect and labels."""
        axes.set_xlim(*self.window.span(2))
        axes.set_ylim(*self.window.span(0))
        if self.plane is None:
            axes.set_aspect("equal")
        axes.set_xlabel(self.labels[0])
        axes.set_ylabel(self.labels[1])


def _changed_plane(nominal: Image, shifted: Image) -> int:
    """Return the wire plane in which the energies of cells change most, the last one of equals."""
    cells = np.concatenate([nominal.cell.numpy(), shifted.cell.numpy()])
    energy = np.concatenate([-nominal.energy.numpy(), shifted.energy.numpy()]).astype(np.float64)
    where, place = np.unique(cells, return_inverse=True)
    change = np.abs(np.bincount(place, energy, len(where)))
    _, planes, wires = nominal.shape
    total = np.bincount(where // wires % planes, change, planes)
    return int(planes - 1 - np.argmax(total[::-1]))


def _inner(places: NDArray[np.int64], weight: Floats) -> tuple[int, int]:
    """Return the 2 % and 98 % quantiles of weighted places."""
    if not len(places):
        return 0, 10
    order = np.argsort(places, kind="stable")
    share = np.cumsum(weight[order]) / max(weight.sum(), 1e-12)
    first, last = np.searchsorted(share, (0.02, 0.98)).clip(max=len(order) - 1)
    return int(places[order[first]]), int(places[order[last]])
