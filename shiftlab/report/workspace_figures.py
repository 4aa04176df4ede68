"""Figures of one fitted workspace: pulls beside impacts, post-fit correlations, likelihood scans, toys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from shiftlab.report.record import each
from shiftlab.report.style import DIVERGING, GREY, WIDTH, drawn

__all__ = ["correlation_figure", "pull_impact_figure", "scan_figure", "toy_figure"]

Floats = npt.NDArray[np.float64]

_UP, _DOWN, _FLAG = "#D55E00", "#0072B2", "#CC79A7"
_NUMBERS: Final = 16
"""Most parameters of a correlation matrix whose cells hold numbers."""


@drawn
def pull_impact_figure(parameters: pd.DataFrame, impacts: pd.DataFrame, poi: str, *, data: bool = True) -> Figure:
    """Draw the nuisances, largest impact on top: left pull and constraint, right the change of the poi.

    Args:
        parameters: from ``parameter_table``.
        impacts: from ``impact_table``, the rows to draw.
        poi: name of the parameter of interest.
        data: whether data were fitted; pulls of Asimov data are zero by construction, and said to be.
    """
    names = list(impacts["name"])
    rows = parameters.set_index("name").loc[names]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.26 * max(3, len(names))))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.0, 1.25])
    left.axvspan(-2, 2, color="0.96", zorder=0)
    left.axvspan(-1, 1, color="0.90", zorder=0)
    left.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    flagged = (rows["flag"] != "").to_numpy()
    place = np.arange(len(names))
    for use, colour in ((~flagged, "k"), (flagged, _FLAG)):
        pull, error = rows["pull"].to_numpy()[use], rows["constraint"].to_numpy()[use]
        left.errorbar(pull, place[use], xerr=error, fmt="o", color=colour, markersize=4, elinewidth=1.2, capsize=0)
    reach = float(np.nanmax([2.2, *(rows["pull"].abs() + rows["constraint"])]))
    left.set_xlim(-1.05 * reach, 1.05 * reach)
    left.set_xlabel("(best fit − prior) / prior σ" + ("" if data else "; Asimov data"))
    for row in each(impacts.assign(y=place)):
        _impact(right, row)
    right.axvline(0, color=GREY, linewidth=0.8)
    limit = 1.12 * max(1e-9, float(impacts[["impact", "up", "down"]].abs().max().max()))
    right.set_xlim(-limit, limit)
    right.set_xlabel(f"change of {poi}")
    for axes in (left, right):
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", which="both", length=0)
    left.set_yticks(place, names)
    figure.legend(handles=_pull_handles(bool(flagged.any()), impacts), loc="outside upper center", ncols=6)
    return figure


def _impact(axes: Axes, row: Any) -> None:
    y = row.y
    # One above the other, so that both are seen where they go the same way.
    for value, colour, step in ((row.up, _UP, -0.17), (row.down, _DOWN, 0.17)):
        if np.isfinite(value):
            axes.barh(y + step, value, height=0.34, color=colour, linewidth=0)
    if row.one_sided:
        axes.text(0.995, y, "one-sided", transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=6.5)
    else:
        axes.plot(row.postfit, y, marker="|", color="k", markersize=9, markeredgewidth=1.3)


def _pull_handles(flagged: bool, impacts: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], marker="o", color="k", markersize=4, label="pull and post-fit σ"),
        Patch(color=_UP, label="refit at +1σ"),
        Patch(color=_DOWN, label="refit at −1σ"),
        Line2D([], [], linestyle="", marker="|", color="k", markersize=9, markeredgewidth=1.3, label="closed form"),
    ]
    if flagged:
        handles.insert(1, Line2D([], [], marker="o", color=_FLAG, markersize=4, label="pull > 1 or σ < 0.7"))
    if impacts["up"].isna().all():
        del handles[-3:-1]
    return handles


@drawn
def correlation_figure(matrix: pd.DataFrame) -> Figure:
    """Draw post-fit correlations of the parameters, names as index and columns, in the order given."""
    names, count = list(matrix.index), len(matrix)
    side = min(WIDTH, 2.6 + 0.36 * max(count, 6))
    figure = Figure(figsize=(side, side - 0.9))
    axes = figure.subplots()
    norm = Normalize(-1.0, 1.0)
    axes.pcolormesh(
        np.arange(count + 1) - 0.5, np.arange(count + 1) - 0.5, matrix.to_numpy(), norm=norm, cmap=DIVERGING
    )
    size = 8.0 if count <= 24 else 6.0
    axes.set_xticks(range(count), names, rotation=90, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_ylim(count - 0.5, -0.5)
    axes.tick_params(which="both", length=0)
    axes.set_aspect("equal")
    if count <= _NUMBERS:
        for (i, j), rho in np.ndenumerate(matrix.to_numpy()):
            text = "1" if i == j else f"{rho:.2f}".replace("-0.", "−.").replace("0.", ".")
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if abs(rho) > 0.68 else "k")
    bar = figure.colorbar(ScalarMappable(norm, DIVERGING), ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label("post-fit correlation ρ", loc="center")
    bar.minorticks_off()
    return figure


@drawn
def scan_figure(table: pd.DataFrame) -> Figure:
    """Draw profile likelihoods (columns of ``scan_table``), each with the parabola that its error stands for."""
    names = list(dict.fromkeys(table["parameter"]))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.3 * lines))
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, name in zip(panels, names, strict=False):
        part = table[table["parameter"] == name]
        for level in (1.0, 4.0):
            axes.axhline(level, color="0.85", linewidth=0.8, zorder=0)
        axes.plot(part["value"], part["parabola"], color=GREY, linestyle="--", linewidth=1.0)
        axes.plot(part["value"], part["delta"], color=_DOWN)
        axes.set_ylim(0, 6.5)
        axes.set_xlabel(name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for line in range(lines):
        panels[line * columns].set_ylabel("−2 Δ ln L")
    handles = [
        Line2D([], [], color=_DOWN, label="profile likelihood"),
        Line2D([], [], color=GREY, linestyle="--", label="parabola of the error"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


@drawn
def toy_figure(pulls: Floats, goodness: Floats, seen: float | None, ndf: int, coverage: Mapping[str, str]) -> Figure:
    """Draw what toys came to: left the pulls of the poi, right the goodness of fit with that of the data.

    Args:
        pulls: (toy,) (estimate - truth) / error.
        goodness: (toy,) saturated -2 ln L.
        seen: that of the data; None where nothing was observed.
        ndf: degrees of freedom of the chi2 to compare with.
        coverage: words for the left panel, by line.
    """
    from scipy.stats import chi2, norm

    figure = Figure(figsize=(WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-4, 4, 33)
    left.hist(np.clip(pulls, -4, 4), edges, density=True, color="#56B4E9", alpha=0.7)
    x = np.linspace(-4, 4, 201)
    left.plot(x, norm.pdf(x), color="k")
    left.set_xlabel("(best fit − truth) / error")
    left.set_ylabel("toys, normalised")
    text = "\n".join(f"{name}: {words}" for name, words in coverage.items())
    left.text(0.02, 0.98, text, transform=left.transAxes, ha="left", va="top", fontsize=7.5)
    left.set_ylim(0, 1.45 * max(0.4, left.get_ylim()[1]))
    top = max([float(np.quantile(goodness, 0.998)), *([seen] if seen is not None else [])]) if len(goodness) else 1.0
    right.hist(goodness, np.linspace(0.0, 1.1 * top, 41), density=True, color="#56B4E9", alpha=0.7, label="toys")
    if ndf > 0:
        x = np.linspace(1e-3, 1.1 * top, 300)
        right.plot(x, chi2.pdf(x, ndf), color="k", label=f"χ² of {ndf}")
    if seen is not None:
        right.axvline(seen, color=_UP, linewidth=1.6, label="data")
    right.set_xlabel("goodness of fit, saturated −2 ln L")
    right.legend()
    return figure
