"""Figures of the correlation between tasks: matrices of the arms side by side, and every pair with its interval."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from shiftlab.report.record import each
from shiftlab.report.style import DIVERGING, WIDTH, arm_colours, arm_markers, drawn, seed_offsets
from shiftlab.report.wording import fixed

__all__ = ["correlation_forest", "correlation_matrices", "draw_forest"]

_NORM = Normalize(-1.0, 1.0)


@drawn
def correlation_matrices(rows: pd.DataFrame, tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Draw rho between tasks (columns of ``correlation.csv``, one ``recalibrate``), arms side by side.

    Two seeds share one matrix: the first below the diagonal, the second above it. Any other number
    of seeds gives one row of matrices per seed, filled below the diagonal. Each cell holds rho over
    its 68 % event interval; an unreliable rho is not drawn.
    """
    seeds = sorted(rows["seed"].unique())
    paired = len(seeds) == 2
    lines = [tuple(seeds)] if paired else [(seed,) for seed in seeds]
    height = 0.75 + 2.9 * len(lines)
    figure = Figure(figsize=(min(WIDTH, 1.6 + 2.9 * len(arms)), height))
    panels = figure.subplots(len(lines), len(arms), squeeze=False, sharey=True)
    for (line, shown), (place, arm) in itertools.product(enumerate(lines), enumerate(arms)):
        axes = panels[line][place]
        part = rows[rows["arm"] == arm]
        for order, seed in enumerate(shown):
            for cell in each(part[part["seed"] == seed]):
                first, second = sorted((tasks.index(cell.task_a), tasks.index(cell.task_b)))
                column, row = (first, second) if order == 0 else (second, first)
                _cell(axes, column, row, cell.rho, cell.lo, cell.hi)
        _matrix_axes(axes, tasks)
        axes.set_title(arm if paired else f"{arm}, seed {shown[0]}", fontweight="bold")
        if paired:
            axes.set_xlabel(f"below the diagonal: seed {shown[0]}, above: seed {shown[1]}", loc="center", fontsize=8)
    bar = figure.colorbar(ScalarMappable(_NORM, DIVERGING), ax=panels, shrink=0.8, aspect=30, pad=0.01)
    bar.set_label("correlation ρ of the systematic shifts", loc="center")
    bar.minorticks_off()
    return figure


def _cell(axes: Axes, column: int, row: int, rho: float, lo: float, hi: float) -> None:
    if not np.isfinite(rho):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="0.93", edgecolor="0.6", hatch="////", linewidth=0)
        )
        axes.text(column, row, "not\nreliable", ha="center", va="center", fontsize=7)
        return
    colour = ScalarMappable(_NORM, DIVERGING).to_rgba(np.array([rho]))[0]
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
    ink = "w" if abs(rho) > 0.68 else "k"
    axes.text(column, row - 0.12, fixed(rho, 2, sign=True), ha="center", va="center", fontsize=9, color=ink)
    if np.isfinite(lo) and np.isfinite(hi):
        text = f"{fixed(lo, 2)}, {fixed(hi, 2)}"
        axes.text(column, row + 0.24, text, ha="center", va="center", fontsize=6.2, color=ink)


def _matrix_axes(axes: Axes, tasks: Sequence[str]) -> None:
    count = len(tasks)
    for place in range(count):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, facecolor="0.85", edgecolor="white"))
    labels = [task.replace("_", "\n") for task in tasks]
    axes.set_xticks(range(count), labels, fontsize=7.2)
    axes.set_yticks(range(count), labels, fontsize=7.5)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(max(count, 1) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.minorticks_off()
    axes.tick_params(length=0)


@drawn
def correlation_forest(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw rho of every pair of tasks, arms in colour, seeds beside one another, with 68 % event intervals."""
    pairs = list(dict.fromkeys(zip(rows["task_a"], rows["task_b"], strict=True)))
    figure = Figure(figsize=(WIDTH * 0.75, 0.9 + 0.46 * len(pairs)))
    axes = figure.subplots()
    draw_forest(axes, rows, arms)
    figure.legend(handles=_legend(arms), loc="outside upper center", ncols=len(arms))
    return figure


def draw_forest(axes: Axes, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw the pairs of tasks one below the other into ``axes``."""
    pairs = list(dict.fromkeys(zip(rows["task_a"], rows["task_b"], strict=True)))
    colours, markers = arm_colours(arms), arm_markers(arms)
    lanes = {arm: (i - (len(arms) - 1) / 2) * 0.27 for i, arm in enumerate(arms)}
    steps = seed_offsets(sorted(rows["seed"].unique()), 0.11)
    for row in each(rows.dropna(subset=["rho"])):
        y = pairs.index((row.task_a, row.task_b)) + lanes[row.arm] + steps[row.seed]
        if np.isfinite(row.lo) and np.isfinite(row.hi):
            axes.plot([row.lo, row.hi], [y, y], color=colours[row.arm], linewidth=0.9)
        axes.plot(row.rho, y, marker=markers[row.arm], color=colours[row.arm], markersize=3.6, linestyle="")
    for edge in range(1, len(pairs)):
        axes.axhline(edge - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.5", linewidth=0.8, zorder=0)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    names = [f"{first}\n{second}".replace("_", " ") for first, second in pairs]
    if pairs and rows["rho"].isna().all():
        axes.text(0.5, 0.5, "not reliable", ha="center", va="center", transform=axes.transAxes)
    axes.set_yticks(range(len(pairs)), names, fontsize=8, linespacing=1.05)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("correlation ρ of the systematic shifts (68 % event interval)")


def _legend(arms: Sequence[str]) -> list[Line2D]:
    colours, markers = arm_colours(arms), arm_markers(arms)
    return [Line2D([], [], linestyle="", marker=markers[arm], color=colours[arm], label=arm) for arm in arms]
