"""Pictures of single events: what was deposited, and what the nominal detector records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray

from shiftlab.detector import Detector, WireGeometry
from shiftlab.errors import DataError
from shiftlab.events import Deposits, Image
from shiftlab.provenance import write_whole
from shiftlab.report.style import WIDTH, drawn
from shiftlab.report.wire_view import wire_figure
from shiftlab.report.wording import fixed
from shiftlab.units import SEMANTIC

__all__ = [
    "Window",
    "energy_scale",
    "event_figure",
    "pick",
    "draw_pixels",
    "plain_ticks",
    "show_event",
    "window_of",
    "write",
]

Floats = NDArray[np.float64]

_VIEWS: Final = ((2, 0), (2, 1), (1, 0))
"""Horizontal and vertical axis of each projection: from above, from the side, along the beam."""

_AXES: Final = ("x (drift) / cm", "y / cm", "z (beam) / cm")

_CLASSES: Final = dict(zip(SEMANTIC, ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#8C8C8C"), strict=True))

_MARGIN: Final = 4.0
"""Empty space around an event, cm."""

_DOT: Final = 5.0
"""Area of a pixel's mark, points squared: more than the pixel's own, which would hardly be seen."""


@dataclass(frozen=True)
class Window:
    """The part of the detector that is drawn, in cells: ``low`` inclusive, ``high`` exclusive, along x, y, z."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    pitch: float

    def edges(self, axis: int) -> Floats:
        """Return the cell edges along an axis, cm."""
        return self.pitch * np.arange(self.low[axis], self.high[axis] + 1, dtype=np.float64)

    def span(self, axis: int) -> tuple[float, float]:
        """Return where the window begins and ends along an axis, cm."""
        return self.low[axis] * self.pitch, self.high[axis] * self.pitch

    def project(self, image: Image, across: int, up: int) -> Floats:
        """Return the energy summed along the third axis, shape (up, across), MeV."""
        index = image.index.numpy()
        return np.histogram2d(
            (index[:, up] + 0.5) * self.pitch,
            (index[:, across] + 0.5) * self.pitch,
            bins=(self.edges(up), self.edges(across)),
            weights=image.energy.numpy().astype(np.float64),
        )[0]


def show_event(
    deposits: Deposits, n: int, path: Path | str, *, detector: Detector | None = None, image: Image | None = None
) -> Path:
    """Write a PNG of three projections of event ``n``: true deposits by class, and the nominal image by energy.

    Of a wire read-out, the planes are drawn instead, wire against time.

    Args:
        deposits: of many events, in the detector's frame.
        n: place of the event in the file.
        path: where the PNG goes.
        detector: that records the event; ``pixel_lar`` when None.
        image: of the same events, when it is there already.

    Raises:
        DataError: there is no such event, or it has no deposits.
        RunError: the file cannot be written.
    """
    from shiftlab.detector import detector as preset

    one = pick(deposits, n)
    recorder = detector or preset("pixel_lar")
    recorded = image.take([n]) if image is not None else recorder.image(one)
    if isinstance(recorder.geometry, WireGeometry):
        return write(wire_figure(one, recorded, recorder.geometry), path)
    return write(event_figure(one, recorded, recorder), path)


@drawn
def event_figure(deposits: Deposits, image: Image, detector: Detector) -> Figure:
    """Draw one event: deposits above, recorded voxels below, three projections each."""
    window = window_of(deposits, detector)
    figure = Figure(figsize=(WIDTH, 6.6))
    above, below = figure.subplots(2, 3)
    views = [window.project(image, *view) for view in _VIEWS]
    norm = energy_scale(views)
    for axes, (across, up) in zip(above, _VIEWS, strict=True):
        _deposits(axes, deposits, across, up)
        _frame(axes, window, across, up)
    for axes, (across, up), energy in zip(below, _VIEWS, views, strict=True):
        pixels = draw_pixels(axes, window, across, up, energy, norm, "viridis")
        _frame(axes, window, across, up)
    bar = figure.colorbar(pixels, ax=list(below), pad=0.01)
    bar.set_label("energy / MeV per pixel", loc="center")
    plain_ticks(bar)
    above[0].set_title(f"deposits: {fixed(float(deposits.energy.sum()), 1)} MeV", loc="left")
    voxels = f"nominal image: {len(image.cell)} voxels, {fixed(float(image.energy.sum()), 1)} MeV"
    below[0].set_title(voxels, loc="left")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=colour, label=name.replace("_", " "))
        for name, colour in _CLASSES.items()
    ]
    key = f"{deposits.events.sample[0]}, event key {int(deposits.events.key[0])}"
    title = f"{key} (outside the view: at most 2 % of the energy on each side)"
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), title=title)
    return figure


def plain_ticks(bar: Colorbar) -> None:
    """Mark a logarithmic bar at 1, 2 and 5 times the powers of ten, in plain numbers."""
    if isinstance(bar.norm, LogNorm):
        bar.locator = LogLocator(10, (1.0, 2.0, 5.0))
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
        bar.minorticks_off()
        bar.update_ticks()


def pick(deposits: Deposits, n: int) -> Deposits:
    """Return event ``n`` alone.

    Raises:
        DataError: there is no such event, or it has no deposits.
    """
    if not 0 <= n < len(deposits):
        raise DataError(f"event {n} is asked for; the file has events 0 to {len(deposits) - 1}.")
    one = deposits.take([n])
    if len(one.energy) == 0:
        raise DataError(f"event {n} (key {int(one.events.key[0])}) has no deposits: there is nothing to show.")
    return one


def window_of(deposits: Deposits, detector: Detector) -> Window:
    """Return a cube of cells around all but the outer 2 % of the energy on either side of each axis."""
    pitch = detector.geometry.pitch
    position, energy = deposits.position.numpy().astype(np.float64), deposits.energy.numpy()
    inner = np.array([_inner(position[:, axis], energy) for axis in range(3)])
    side = math.ceil(((inner[:, 1] - inner[:, 0]).max() + 2 * _MARGIN) / pitch)
    low = np.floor(inner.mean(axis=1) / pitch - 0.5 * side).astype(int)
    x, y, z = (int(value) for value in low)
    return Window((x, y, z), (x + side, y + side, z + side), pitch)


def _inner(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return the 2 % and 98 % quantiles of weighted values."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order], dtype=np.float64)
    low, high = np.searchsorted(share, np.array([0.02, 0.98]) * share[-1])
    return float(values[order][low]), float(values[order][min(high, len(values) - 1)])


def energy_scale(views: list[Floats]) -> LogNorm:
    """Return a logarithmic colour scale from the 2 % quantile of the filled pixels to the largest."""
    filled = np.concatenate([view[view > 0] for view in views])
    if filled.size == 0:
        return LogNorm(0.01, 1.0)
    low, high = float(np.quantile(filled, 0.02)), float(filled.max())
    return LogNorm(low, max(high, 1.01 * low))


def _deposits(axes: Axes, deposits: Deposits, across: int, up: int) -> None:
    position, label = deposits.position.numpy(), deposits.semantic.numpy()
    size = 0.5 + 6.0 * np.sqrt(np.clip(deposits.energy.numpy(), 0, 1))
    axes.scatter(position[:, across], position[:, up], s=size, color="0.8", linewidths=0)
    for place, colour in enumerate(_CLASSES.values()):
        mask = label == place
        axes.scatter(position[mask, across], position[mask, up], s=size[mask], color=colour, linewidths=0)


def draw_pixels(
    axes: Axes, window: Window, across: int, up: int, values: Floats, norm: Normalize, colours: str
) -> PathCollection:
    """Draw the pixels of a view that are not zero, the largest last."""
    rows, columns = np.nonzero(values)
    order = np.argsort(np.abs(values[rows, columns]), kind="stable")
    x, y = (window.edges(axis)[:-1] + 0.5 * window.pitch for axis in (across, up))
    filled = values[rows, columns][order]
    return axes.scatter(
        x[columns][order], y[rows][order], s=_DOT, c=filled, marker="s", linewidths=0, norm=norm, cmap=colours
    )


def _frame(axes: Axes, window: Window, across: int, up: int) -> None:
    axes.set_xlim(*window.span(across))
    axes.set_ylim(*window.span(up))
    axes.set_aspect("equal")
    axes.set_xlabel(_AXES[across])
    axes.set_ylabel(_AXES[up])


def write(figure: Figure, path: Path | str) -> Path:
    """Write a figure as PNG, whole or not at all, and return its path."""
    path = Path(path)
    save: Callable[..., None] = drawn(figure.savefig)
    with write_whole(path) as temporary:
        save(temporary, format="png", dpi=140, metadata={"Software": None})
    return path
