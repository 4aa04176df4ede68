"""Picture of one event as wire planes see it: wire against time, one panel a plane."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from shiftlab.detector import WireGeometry
from shiftlab.events import Deposits, Image
from shiftlab.report.style import WIDTH, drawn
from shiftlab.report.wording import fixed

__all__ = ["wire_figure"]

Floats = NDArray[np.float64]

_MARGIN: Final = 12
"""Wires and, times four, ticks of empty space around an event."""


@drawn
def wire_figure(deposits: Deposits, image: Image, geometry: WireGeometry) -> Figure:
    """Draw the calibrated energy of one event in every plane, wire against time."""
    figure = Figure(figsize=(WIDTH, 3.9))
    panels = figure.subplots(1, geometry.planes, sharey=True, squeeze=False)[0]
    index, energy = image.index.numpy(), image.energy.numpy().astype(np.float64)
    low, high = _spread(index[:, 0], energy)
    ticks = (low - 4 * _MARGIN, high + 4 * _MARGIN)
    views = [_view(index, energy, plane, ticks) for plane in range(geometry.planes)]
    filled = np.concatenate([view[view > 0] for _, view in views])
    smallest = float(np.quantile(filled, 0.02)) if filled.size else 0.01
    norm = LogNorm(smallest, max(float(filled.max(initial=0.0)), 1.01 * smallest))
    for plane, (axes, (first, view)) in enumerate(zip(panels, views, strict=True)):
        shown = np.ma.masked_less_equal(view, 0.0)
        times = (np.array(ticks, dtype=np.float64) - geometry.before) * geometry.tick
        extent = (float(first), float(first + view.shape[1]), float(times[0]), float(times[1]))
        pixels = axes.imshow(shown, origin="lower", aspect="auto", extent=extent, norm=norm, interpolation="none")
        _label(axes, plane, geometry, float(energy[index[:, 1] == plane].sum()))
    panels[0].set_ylabel("drift time / us")
    bar = figure.colorbar(pixels, ax=list(panels), pad=0.01)
    bar.set_label("energy / MeV per wire and tick", loc="center")
    deposited = fixed(float(deposits.energy.sum()), 1)
    figure.suptitle(f"{deposits.events.sample[0]}, event key {int(deposits.events.key[0])}: {deposited} MeV deposited")
    return figure


def _label(axes: Axes, plane: int, geometry: WireGeometry, energy: float) -> None:
    kind = "collection" if plane == geometry.planes - 1 else "induction"
    axes.set_title(f"{kind}, {geometry.angles[plane]:g}°: {fixed(energy, 1)} MeV", loc="left")
    axes.set_xlabel("wire")


def _view(index: NDArray[np.int64], energy: Floats, plane: int, ticks: tuple[int, int]) -> tuple[int, Floats]:
    """Return the first wire drawn and the energy (tick, wire) of one plane, MeV."""
    mine = index[:, 1] == plane
    low, high = _spread(index[mine, 2], energy[mine])
    edges = np.arange(ticks[0], ticks[1] + 1), np.arange(low - _MARGIN, high + _MARGIN + 1)
    view = np.histogram2d(index[mine, 0], index[mine, 2], bins=edges, weights=energy[mine])[0]
    return low - _MARGIN, view


def _spread(place: NDArray[np.int64], energy: Floats) -> tuple[int, int]:
    """Return where all but the outer 1 % of the energy on either side lies; 0 and 1 where there is none."""
    if not len(place):
        return 0, 1
    order = np.argsort(place, kind="stable")
    share = np.cumsum(energy[order])
    low, high = np.searchsorted(share, np.array([0.01, 0.99]) * share[-1])
    return int(place[order][low]), int(place[order][min(high, len(place) - 1)]) + 1
