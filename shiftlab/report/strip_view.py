"""A picture of one event in a scintillator tracker: lit strips in three views, coloured by what they became."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from shiftlab.detector import ScintillatorDetector
from shiftlab.detector.scintillator.chain import Recorded
from shiftlab.errors import DataError
from shiftlab.events import Deposits
from shiftlab.provenance import write_whole
from shiftlab.report.style import GREY, WIDTH, drawn

__all__ = ["show_strips", "strip_figure"]

Floats = NDArray[np.float64]

_BLOB, _MUON, _PRONG, _PHOTON = range(4)
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARGIN: Final = 6.0
"""Empty space around an event, cm."""


def show_strips(deposits: Deposits, n: int, path: Path | str, *, detector: ScintillatorDetector) -> Path:
    """Write a PNG of event ``n`` of the deposits as a scintillator detector sees it.

    Raises:
        DataError: there is no such event, no strip of it is lit, or the detector cannot record it.
        RunError: the file cannot be written.
    """
    if not 0 <= n < len(deposits):
        raise DataError(f"event {n} is asked for; there are events 0 to {len(deposits) - 1}.")
    figure = strip_figure(detector.record(deposits.take(torch.tensor([n]))), detector)
    with write_whole(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return Path(path)


@drawn
def strip_figure(recorded: Recorded, detector: ScintillatorDetector) -> Figure:
    """Return the views X, U and V of the first event: measured coordinate against z, one mark a strip.

    The area of a mark is the strip's energy. Prongs and photons have a colour each, blobs are grey, the
    matched muon is black.

    Raises:
        DataError: no strip is lit.
    """
    hits, found = recorded.hits, recorded.clusters
    if len(hits) == 0:
        raise DataError("no strip of the event is above threshold.")
    geometry = detector.geometry
    owners, place = torch.unique(found.owner, return_inverse=True)
    role = torch.zeros(len(owners), dtype=torch.int64).index_put((place,), recorded.reconstruction.role)
    energy = torch.zeros(len(owners), dtype=torch.float64).index_add_(0, place, found.energy)
    names, colours = _named(role.tolist(), energy.tolist())
    index = torch.searchsorted(owners, hits.owner)
    z, across = geometry.depth(hits.plane).numpy(), geometry.across(hits.strip).numpy()
    tint = np.array([colours[int(one)] for one in index])
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    view = np.array(list(geometry.views))[(hits.plane % len(geometry.views)).numpy()]
    for one, letter in zip(axes, "XUV", strict=True):
        mine = view == letter
        one.scatter(z[mine], across[mine], s=4.0 * hits.energy.numpy()[mine], c=tint[mine], linewidths=0)
        _frame(one, letter, across[mine], z)
    axes[-1].set_xlabel("z (beam) / cm")
    marks = [Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in names.items()]
    figure.legend(handles=marks, loc="outside upper center", ncols=min(len(marks), 4), frameon=False)
    return figure


def _named(role: list[int], energy: list[float]) -> tuple[dict[str, str], list[str]]:
    """Return the legend, name to colour, and the colour of each visible particle."""
    colours = [GREY] * len(role)
    names: dict[str, str] = {}
    order = sorted(range(len(role)), key=lambda i: (role[i] != _MUON, -energy[i]))
    free = 0
    for i in order:
        if role[i] == _BLOB:
            continue
        colours[i] = "#000000" if role[i] == _MUON else _COLOURS[free % len(_COLOURS)]
        free += role[i] != _MUON
        word = {_MUON: "matched muon", _PRONG: "prong", _PHOTON: "photon"}[role[i]]
        names[f"{word}, {energy[i]:.0f} MeV in strips"] = colours[i]
    if _BLOB in role:
        total = sum(e for e, r in zip(energy, role, strict=True) if r == _BLOB)
        names[f"blobs and smaller, {total:.0f} MeV"] = GREY
    return names, colours


def _frame(axes: Axes, letter: str, across: Floats, z: Floats) -> None:
    axes.set_ylabel(f"{letter} / cm")
    axes.set_xlim(z.min() - _MARGIN, z.max() + _MARGIN)
    if len(across):
        axes.set_ylim(across.min() - _MARGIN, across.max() + _MARGIN)
