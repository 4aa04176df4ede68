"""Figures of robustness: how far each task moves in every arm, and its response to the shift that moves it most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from shiftlab.report.record import each, groups
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn, seed_offsets

__all__ = ["most_harmful", "response_figure", "size_figure"]

_COLUMNS: Final = 4
"""Panels in a row."""

_POWERS: Final = {"odd": 1, "even": 2, "cubic": 3, "quartic": 4}


@drawn
def size_figure(rows: pd.DataFrame, tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Draw the root mean square bias of every arm, a panel per task and one of all; 68 % thick and 95 % thin.

    Args:
        rows: ``robustness.csv`` of one ``recalibrate``, one range of strength and the score "rms".
        tasks: In the order of the study; those without a row are left out.
        arms: In the order of the study, from above.
    """
    shown = [task for task in ("all", *tasks) if task in set(rows["task"])]
    lines = -(-len(shown) // (_COLUMNS + 1))
    columns = -(-len(shown) // lines)
    figure = Figure(figsize=(WIDTH, 0.6 + lines * (0.55 + 0.3 * len(arms))))
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    colours, markers = arm_colours(arms), arm_markers(arms)
    for axes, task in zip(panels, shown, strict=False):
        part = rows[rows["task"] == task]
        for row in each(part):
            y, colour = arms.index(row.arm), colours[row.arm]
            axes.plot([row.lo95, row.hi95], [y, y], color=colour, linewidth=0.8)
            axes.plot([row.lo, row.hi], [y, y], color=colour, linewidth=2.6, solid_capstyle="butt")
            axes.plot(row.value, y, marker=markers[row.arm], color=colour, linestyle="")
        axes.axvline(0.0, color="0.5", linewidth=0.8, zorder=0)
        _span(axes, part)
        axes.set_title("all tasks" if task == "all" else task.replace("_", " "), fontweight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(axis="y", which="both", length=0)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    figure.supxlabel("root mean square bias under 1σ shifts / statistical error of the data", fontsize=9)
    return figure


def _span(axes: Axes, rows: pd.DataFrame) -> None:
    """Show the 68 % intervals in full and at most as much again of the 95 % ones: few seeds make those very wide."""
    low, high = min(0.0, float(rows["lo"].min())), float(rows["hi"].max())
    width = max(high - low, 1e-12)
    low = max(low - 0.5 * width, min(low, float(rows["lo95"].min())))
    high = min(high + 0.5 * width, max(high, float(rows["hi95"].max())))
    axes.set_xlim(low - 0.06 * width, high + 0.06 * width)


def most_harmful(curves: pd.DataFrame, tasks: Sequence[str]) -> dict[str, str]:
    """Return the nuisance that moves each task most, over arms, seeds and throws; the largest within one sigma counts.

    Biases below two of their errors do not count, unless a task has no other.
    """
    found = {}
    near = curves[(curves["strength"].abs() <= 1.0 + 1e-9) & curves["quoted"].astype(bool)]
    for task in tasks:
        rows = near[near["task"] == task]
        clear = rows[rows["bias"].abs() > 2.0 * rows["bias_error"]]
        sizes = (clear if len(clear) else rows).groupby("nuisance", sort=True)["bias_over_unit"]
        if len(rows):
            found[task] = str(sizes.agg(lambda values: values.abs().max()).idxmax())
    return found


@drawn
def response_figure(curves: pd.DataFrame, fits: pd.DataFrame, chosen: dict[str, str], arms: Sequence[str]) -> Figure:
    """Draw the bias over the strength of one nuisance per task, with the odd and even fit of every arm and seed.

    Args:
        curves: ``response_curves.csv`` of one ``recalibrate``.
        fits: ``response_fits.csv`` of the same.
        chosen: Task to nuisance, as ``most_harmful`` gives it.
        arms: In the order of the study.
    """
    columns = min(_COLUMNS, max(1, len(chosen)))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(max(5.0, WIDTH * columns / _COLUMNS), 0.5 + 2.5 * lines))
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    seeds = sorted(curves["seed"].unique())
    for place, (axes, (task, nuisance)) in enumerate(zip(panels, chosen.items(), strict=False)):
        here = (curves["task"] == task) & (curves["nuisance"] == nuisance)
        fitted = fits[(fits["task"] == task) & (fits["nuisance"] == nuisance)]
        _panel(axes, curves[here], fitted, arms, seeds)
        axes.set_title(task.replace("_", " "), fontweight="bold")
        axes.set_xlabel(f"{nuisance.replace('_', ' ')} / σ")
        if place % columns == 0:
            axes.set_ylabel("bias / data statistical error")
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    colours, markers = arm_colours(arms), arm_markers(arms)
    handles = [Line2D([], [], color=colours[arm], marker=markers[arm], label=arm) for arm in arms]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(arms))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, fits: pd.DataFrame, arms: Sequence[str], seeds: Sequence[int]) -> None:
    colours, markers = arm_colours(arms), arm_markers(arms)
    low, high = min(0.0, float(rows["strength"].min())), max(0.0, float(rows["strength"].max()))
    grid = np.linspace(low, high, 61)
    # Beside one another, but so little that a mark stays on its line.
    step = 0.04 * float(np.diff(np.unique([0.0, *rows["strength"]])).min())
    offsets = seed_offsets(list(range(len(arms) * len(seeds))), step)
    for fit in each(fits):
        terms = {power: getattr(fit, name) for name, power in _POWERS.items()}
        line = sum(value * grid**power for power, value in terms.items() if np.isfinite(value))
        axes.plot(grid, line, color=colours[fit.arm], linewidth=1.0, alpha=0.8)
    for (arm, seed), part in groups(rows, ["arm", "seed"]):
        beside = offsets[arms.index(arm) * len(seeds) + seeds.index(seed)]
        axes.errorbar(
            part["strength"] + beside,
            part["bias_over_unit"],
            yerr=part["error_over_unit"],
            fmt=markers[arm],
            color=colours[arm],
            markersize=3.4,
            elinewidth=0.8,
        )
    axes.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    axes.axhspan(-1.0, 1.0, color="0.94", zorder=-1)
    axes.plot(0.0, 0.0, marker="+", color="k", linestyle="")
    ends = [rows["bias_over_unit"] + sign * rows["error_over_unit"] for sign in (-1, 1)]
    bottom, top = min(0.0, float(ends[0].min())), max(0.0, float(ends[1].max()))
    margin = 0.12 * max(top - bottom, 1e-12)
    axes.set_ylim(bottom - margin, top + margin)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
