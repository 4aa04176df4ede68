"""Coverage of the intervals less what they claim: one row per estimator, one mark per kind of response."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shiftlab.bias.proof.coverage import Cell, Proof
from shiftlab.bias.proof.estimator import LEVELS
from shiftlab.report.style import GREY, WIDTH, drawn

__all__ = ["coverage_figure"]

_ROW: Final = 0.24
"""Height of a row in inches."""

_SHOWN: Final = {"covers": ("#0072B2", "o", "covers"), "conservative": ("#E69F00", "D", "conservative, as stated")}
_WRONG: Final = ("#D55E00", "X", "not as claimed")
_STATED: Final = ("#CC79A7", "s", "too short, as stated")

_BAND: Final = 3.0
"""Binomial errors within which coverage is as claimed."""


@drawn
def coverage_figure(proof: Proof) -> Figure:
    """Return the figure: 68% on the left, 95% on the right, binomial errors as bars and three of them as a band.

    Cells where nothing scatters and estimators without an interval are left out.
    """
    cells = [cell for cell in proof.cells if cell.verdict not in ("exact", "no interval", "NEVER QUOTED")]
    names = list(dict.fromkeys(cell.estimator for cell in cells))
    cases = list(dict.fromkeys(cell.case for cell in cells))
    figure = Figure(figsize=(WIDTH, 1.6 + _ROW * len(names)))
    panels = figure.subplots(1, 2, sharey=True)
    for place, axes in enumerate(panels):
        _panel(axes, cells, names, cases, place)
    panels[0].set_yticks(range(len(names)), names, fontsize=7.5)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    panels[0].tick_params(axis="y", length=0)
    kinds = [_kind(cell) for cell in cells]
    known = [kind for kind in (*_SHOWN.values(), _STATED, _WRONG) if kind in kinds]
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=label) for colour, marker, label in known
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    worst = f"{proof.cells[0].experiments} pseudo-experiments of each of {len(cases)} kinds of response, one mark each"
    figure.supxlabel(f"coverage − claimed / %   ({worst}; grey: {_BAND:g} binomial errors)", fontsize=9)
    return figure


def _panel(axes: Axes, cells: list[Cell], names: list[str], cases: list[str], place: int) -> None:
    level = LEVELS[place]
    error = cells[0].error[place]
    axes.axvspan(-100.0 * _BAND * error, 100.0 * _BAND * error, color="0.92", zorder=0)
    axes.axvline(0.0, color=GREY, linewidth=0.8, zorder=1)
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color="0.9", linewidth=0.5, zorder=0)
    offsets = np.linspace(-0.32, 0.32, len(cases))
    for cell in cells:
        colour, marker, _ = _kind(cell)
        axes.errorbar(
            100.0 * (cell.coverage[place] - level),
            names.index(cell.estimator) + offsets[cases.index(cell.case)],
            xerr=100.0 * error,
            color=colour,
            marker=marker,
            markersize=2.6,
            linewidth=0.6,
        )
    axes.set_title(f"{level:.0%} intervals")


def _kind(cell: Cell) -> tuple[str, str, str]:
    if cell.verdict == "short, stated":
        return _STATED
    return _SHOWN.get(cell.verdict, _WRONG)
