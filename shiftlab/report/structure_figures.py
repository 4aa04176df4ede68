"""Figures of the structure of the tasks' covariance: effective number and inflation per arm, excess between arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shiftlab.report.record import each
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn

__all__ = ["excess_figure", "structure_figure"]

_SOURCES: Final = {"unisims": "full", "joint universes": "none"}
"""Marks of one-nuisance universes are filled, those of joint universes open."""


@drawn
def structure_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw ``structure.csv`` (one ``recalibrate``): a panel per measure, a line per arm, 68 % intervals.

    The dashed line is what uncorrelated tasks have: as many as there are, or an inflation of 1.
    """
    measures = list(dict.fromkeys(rows["measure"]))
    figure = Figure(figsize=(WIDTH, 1.0 + 0.42 * len(arms)))
    panels = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axes, measure in zip(panels, measures, strict=True):
        part = rows[rows["measure"] == measure]
        _marks(axes, part, arms, "value")
        counts = part["tasks"].str.split(", ").map(len)[part["value"].notna()]
        free = 1.0 if measure.startswith("inflation") else float(counts.max()) if len(counts) else np.nan
        if np.isfinite(free):
            axes.axvline(free, color=GREY, linestyle="--", linewidth=1.0)
        if not measure.startswith("inflation"):
            axes.set_xlim(0.9, free + 0.1 if np.isfinite(free) else None)
        axes.set_xlabel(measure)
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    used = [source for source in _SOURCES if source in set(rows.loc[rows["value"].notna(), "source"])]
    handles = [
        Line2D([], [], linestyle="", marker="o", color="k", fillstyle=_SOURCES[name], label=name)  # type: ignore[arg-type]
        for name in used
    ]
    figure.legend(
        handles=[*handles, Line2D([], [], color=GREY, linestyle="--", label="uncorrelated tasks")],
        loc="outside upper center",
        ncols=3,
    )
    return figure


def _marks(axes: Axes, rows: pd.DataFrame, arms: Sequence[str], column: str) -> None:
    colours, markers = arm_colours(arms), arm_markers(arms)
    for row in each(rows.dropna(subset=[column])):
        y = arms.index(row.arm) + (0.16 if row.source == "joint universes" else -0.16)
        value = getattr(row, column)
        axes.plot([row.lo, row.hi], [y, y], color=colours[row.arm], linewidth=1.2)
        axes.plot(
            value,
            y,
            marker=markers[row.arm],
            color=colours[row.arm],
            fillstyle=_SOURCES[row.source],
            markerfacecoloralt="white",
            linestyle="",
        )
    axes.tick_params(axis="y", which="both", length=0)


@drawn
def excess_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw the excess correlation of one arm over another: each seed small, all seeds large with 68 % and 95 %.

    Args:
        rows: ``excess.csv`` of one ``recalibrate``.
        arms: The arms in the order of the study; a pair has the colour of its first.
    """
    pairs = list(dict.fromkeys(zip(rows["arm"], rows["minus_arm"], strict=True)))
    figure = Figure(figsize=(WIDTH * 0.75, 1.0 + 0.42 * len(pairs)))
    axes = figure.subplots()
    colours = arm_colours(arms)
    seeds = [seed for seed in dict.fromkeys(rows["seed"]) if str(seed) != "all"]
    for row in each(rows.dropna(subset=["excess"])):
        whole = str(row.seed) == "all" or len(seeds) == 1
        y = pairs.index((row.arm, row.minus_arm)) + (
            0.0 if whole else 0.18 + 0.22 * seeds.index(row.seed) / max(len(seeds), 2)
        )
        if whole and np.isfinite(row.lo95):
            axes.plot([row.lo95, row.hi95], [y, y], color=colours[row.arm], linewidth=0.8)
        axes.plot([row.lo, row.hi], [y, y], color=colours[row.arm], linewidth=2.4 if whole else 0.8)
        axes.plot(row.excess, y, marker="o", color=colours[row.arm], markersize=5 if whole else 2.5, linestyle="")
    axes.axvline(0, color="0.5", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(pairs)), [f"{first} − {second}" for first, second in pairs])
    axes.set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("excess of the mean correlation ρ between tasks (68 % thick, 95 % thin)")
    return figure
