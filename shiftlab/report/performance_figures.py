"""Figures of the nominal performance and of the closure of the unisims: values with their intervals and references."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftlab.report.record import each
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn, seed_offsets

__all__ = ["closure_figure", "performance_figure"]


@drawn
def performance_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw each statistic of each task at nominal: arms as rows, seeds beside one another, 68 % intervals.

    The dashed line is what the task's reference reaches (chance or the mean predictor).
    """
    panels = list(dict.fromkeys(zip(rows["task"], rows["statistic"], rows["unit"], strict=True)))
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, 0.3 + lines * (0.75 + 0.3 * len(arms))))
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (task, statistic, unit) in zip(grid.flat, panels, strict=False):
        part = rows[(rows["task"] == task) & (rows["statistic"] == statistic)]
        _intervals(axes, part, arms)
        axes.set_title(task.replace("_", " "), fontweight="bold")
        axes.set_xlabel(f"{statistic} / {unit}" if unit not in ("", "1") else statistic)
        known = part.dropna(subset=["reference_value"])
        if len(known):
            value, name = float(known["reference_value"].iloc[0]), known["reference"].iloc[0]
            axes.axvline(value, color=GREY, linestyle="--", linewidth=1.0, label=name)
            axes.legend(loc="best", fontsize=7.5, handlelength=1.8)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    return figure


@drawn
def closure_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw the distance between unisims and joint universes per measure; the grey band is what exact closure gives."""
    measures = list(dict.fromkeys(rows["measure"]))
    figure = Figure(figsize=(WIDTH, 0.75 + 0.32 * len(arms)))
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        part = rows[rows["measure"] == measure]
        _intervals(axes, part, arms, band=True)
        axes.set_title(measure)
        axes.set_xlim(left=0)
        axes.set_xlabel("relative distance (0: identical)")
    return figure


def _intervals(axes: Axes, rows: pd.DataFrame, arms: Sequence[str], *, band: bool = False) -> None:
    """Draw ``value`` with ``lo`` and ``hi`` of each arm and seed; with ``band`` also expected_lo to expected_hi."""
    colours, markers = arm_colours(arms), arm_markers(arms)
    steps = seed_offsets(sorted(rows["seed"].unique()), 0.3)
    for row in each(rows):
        y = arms.index(row.arm) + steps[row.seed]
        if band:
            axes.fill_betweenx([y - 0.13, y + 0.13], row.expected_lo, row.expected_hi, color="0.85", linewidth=0)
        axes.plot([row.lo, row.hi], [y, y], color=colours[row.arm])
        axes.plot(row.value, y, marker=markers[row.arm], color=colours[row.arm], linestyle="")
    axes.set_ylim(max(len(arms), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), arms)
    axes.tick_params(axis="y", which="both", length=0)
