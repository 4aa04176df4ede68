"""Figures of the bias: the heat map of task by nuisance per arm, and every shift as a dot with its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FuncFormatter

from shiftlab.report.record import Record, each, groups
from shiftlab.report.style import (
    DIVERGING,
    WIDTH,
    arm_colours,
    arm_markers,
    drawn,
    seed_offsets,
    signed_axis,
    signed_norm,
)
from shiftlab.report.wording import fixed

__all__ = ["bias_dots", "heat_map", "heat_table"]


def heat_table(record: Record, recalibrate: str = "none") -> pd.DataFrame:
    """Return one row per (arm, task, nuisance, direction): the cells of the heat map.

    ``size`` is the mean over seeds of bias / sigma_data; of a random map with several throws the
    root mean square over throws and seeds (``random`` True: it has no sign). ``significant`` and
    ``mc_limited`` hold in every seed and throw; what is not quoted counts as MC-limited.
    """
    rows = record.of("bias", recalibrate=recalibrate)
    rows = rows[rows["group"] == "unisim"]
    rows = rows.assign(mc_limited=rows["mc_limited"].astype(bool) | (rows["not_quoted"] != ""))
    keys = ["arm", "task", "nuisance", "direction"]
    cells = rows.groupby(keys, sort=False).agg(
        mean=("bias_over_sigma_data", "mean"),
        rms=("bias_over_sigma_data", lambda values: float(np.sqrt(np.mean(np.square(values))))),
        throws=("throw", "nunique"),
        seeds=("seed", "nunique"),
        lowest=("bias_over_sigma_data", "min"),
        highest=("bias_over_sigma_data", "max"),
        significant=("significance", "all"),
        mc_limited=("mc_limited", "all"),
    )
    cells["random"] = cells["throws"] > 1
    cells["size"] = cells["mean"].where(~cells["random"], cells["rms"])
    return cells.drop(columns=["mean", "rms"]).reset_index()


@drawn
def heat_map(cells: pd.DataFrame, tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Draw ``heat_table``: one panel per arm, rows nuisances, a pair of columns (-1, +1 sigma) per task."""
    nuisances = sorted(cells["nuisance"].unique())
    figure = Figure(figsize=(WIDTH, 1.25 + 0.3 * len(nuisances)))
    panels = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    norm = signed_norm(float(np.nanmax(cells["size"].abs(), initial=0.0)))
    for axes, arm in zip(panels, arms, strict=True):
        for cell in each(cells[cells["arm"] == arm]):
            column = 2 * tasks.index(cell.task) + (cell.direction > 0)
            _cell(axes, column, nuisances.index(cell.nuisance), cell, norm)
        _heat_axes(axes, tasks, len(nuisances), arm)
    panels[0].set_yticks(range(len(nuisances)), nuisances)
    bar = figure.colorbar(
        ScalarMappable(norm, DIVERGING), ax=list(panels), location="bottom", fraction=0.06, aspect=60, pad=0.02
    )
    bar.set_label("bias / statistical error of the declared data exposure", loc="center")
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    bar.ax.tick_params(which="minor", length=0)
    return figure


def _cell(axes: Axes, column: int, row: int, cell: Any, norm: Normalize) -> None:
    """Draw one cell: colour and number; two colours without sign; hatched where MC-limited, a dot where significant."""
    size, random = float(cell.size), bool(cell.random)
    colours = ScalarMappable(norm, DIVERGING).to_rgba(np.array([size, -size]))
    left, right, top, bottom = column - 0.5, column + 0.5, row - 0.5, row + 0.5
    axes.add_patch(Rectangle((left, top), 1, 1, facecolor=colours[0], edgecolor="white", linewidth=0.6))
    if random:
        corners = [(left, bottom), (right, bottom), (right, top)]
        axes.add_patch(Polygon(corners, facecolor=colours[1], edgecolor="none"))
    if cell.mc_limited:
        hatch = Rectangle((left, top), 1, 1, facecolor="none", edgecolor="0.72", hatch="////", linewidth=0)
        axes.add_patch(hatch)
    text = fixed(abs(size) if random else size, 1 if abs(size) >= 0.95 else 2, sign=not random)
    dark = abs(norm(size) - 0.5) > 0.36
    axes.text(
        column, row, f"±{text}" if random else text, ha="center", va="center", fontsize=7, color="w" if dark else "k"
    )
    if cell.significant:
        axes.plot(right - 0.1, top + 0.14, marker="o", markersize=1.8, color="w" if dark else "k")


def _heat_axes(axes: Axes, tasks: Sequence[str], rows: int, arm: str) -> None:
    axes.set_xlim(-0.5, 2 * len(tasks) - 0.5)
    axes.set_ylim(max(rows, 1) - 0.5, -0.5)
    axes.set_title(arm, fontweight="bold", pad=27)
    axes.set_xticks(range(2 * len(tasks)), ["−1σ", "+1σ"] * len(tasks), fontsize=7)
    axes.tick_params(which="both", length=0, top=False, right=False, labeltop=False)
    axes.minorticks_off()
    for place, task in enumerate(tasks):
        axes.text(2 * place + 0.5, -0.62, task.replace("_", "\n"), ha="center", va="bottom", fontsize=7.5)
        axes.axvline(2 * place - 0.5, color="0.35", linewidth=0.8)


@drawn
def bias_dots(rows: pd.DataFrame, tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Draw every unisim bias of ``rows`` (one ``recalibrate``): a panel per task, a row per nuisance and arm.

    Filled marks are +1 sigma, open ones -1 sigma; the seeds of an arm lie beside one another, the
    bars are Monte Carlo errors.
    """
    rows = rows[rows["group"] == "unisim"]
    nuisances = sorted(rows["nuisance"].unique())
    seeds = sorted(rows["seed"].unique())
    figure = Figure(figsize=(WIDTH, 1.1 + 0.46 * len(nuisances)))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    colours, markers = arm_colours(arms), arm_markers(arms)
    lanes = {arm: (i - (len(arms) - 1) / 2) * 0.27 for i, arm in enumerate(arms)}
    steps = seed_offsets(seeds, 0.1)
    largest = float(rows["bias_over_sigma_data"].abs().max()) if len(rows) else 0.0
    for axes, task in zip(panels, tasks, strict=True):
        signed_axis(axes, largest)
        part = rows[rows["task"] == task]
        for (arm, seed, direction), dots in groups(part, ["arm", "seed", "direction"]):
            y = [nuisances.index(n) + lanes[arm] + steps[seed] for n in dots["nuisance"]]
            axes.errorbar(
                dots["bias_over_sigma_data"],
                y,
                xerr=dots["bias_error"] / dots["sigma_data"],
                fmt=markers[arm],
                color=colours[arm],
                markerfacecolor=colours[arm] if direction > 0 else "white",
                markersize=3.2,
                markeredgewidth=0.8,
                elinewidth=0.7,
            )
        axes.set_title(task.replace("_", " "), fontweight="bold")
        axes.set_ylim(max(len(nuisances), 1) - 0.5, -0.5)
        for edge in range(1, len(nuisances)):
            axes.axhline(edge - 0.5, color="0.85", linewidth=0.6, zorder=0)
        axes.tick_params(axis="y", which="both", length=0)
    panels[0].set_yticks(range(len(nuisances)), nuisances)
    figure.supxlabel("bias / statistical error of the declared data exposure", fontsize=9)
    figure.legend(handles=_legend(arms), loc="outside upper center", ncols=len(arms) + 2)
    return figure


def _legend(arms: Sequence[str]) -> list[Line2D]:
    colours, markers = arm_colours(arms), arm_markers(arms)
    handles = [Line2D([], [], linestyle="", marker=markers[arm], color=colours[arm], label=arm) for arm in arms]
    for label, face in (("+1σ", "0.3"), ("−1σ", "white")):
        handles.append(Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor=face, label=label))
    return handles
