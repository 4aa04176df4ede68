"""The figure at the top of the page, and what recalibrating changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shiftlab.report.correlation_figures import draw_forest
from shiftlab.report.record import Record, each
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn, seed_offsets

__all__ = ["RECALIBRATED", "key_figure", "recalibration_figure", "recalibration_table"]

RECALIBRATED: Final = {"mip": "recalibrated on muons", "exact": "recalibrated exactly"}
"""The two recalibrations in words."""


@drawn
def key_figure(record: Record) -> Figure:
    """Draw the answer: largest bias per task, correlation between tasks, and the effect on the fit; arms in colour."""
    arms, tasks = record.arms, record.tasks
    figure = Figure(figsize=(WIDTH, 3.5))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.0, 1.25, 0.95])
    _largest(left, record)
    draw_forest(middle, record.of("correlation"), arms)
    middle.set_xlabel("correlation ρ between tasks")
    middle.tick_params(axis="y", labelsize=7.5)
    _fit(right, record)
    left.set_yticks(range(len(tasks)), [task.replace("_", "\n") for task in tasks], fontsize=8)
    titles = ("largest bias of each task", "do tasks move together?", "what it does to the fit")
    for axes, title in zip((left, middle, right), titles, strict=True):
        axes.set_title(title, fontweight="bold")
    colours, markers = arm_colours(arms), arm_markers(arms)
    handles = [Line2D([], [], linestyle="", marker=markers[arm], color=colours[arm], label=arm) for arm in arms]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(arms))
    return figure


def _largest(axes: Axes, record: Record) -> None:
    """Draw the largest |bias| / sigma_data of each task, arm and seed; open where MC-limited."""
    rows = record.quoted
    rows = rows.assign(size=rows["bias_over_sigma_data"].abs(), error=rows["bias_error"] / rows["sigma_data"])
    largest = rows.loc[rows.groupby(["arm", "seed", "task"], sort=False)["size"].idxmax().dropna()]
    colours, markers = arm_colours(record.arms), arm_markers(record.arms)
    steps = seed_offsets(record.seeds, 0.11)
    lanes = {arm: (i - (len(record.arms) - 1) / 2) * 0.27 for i, arm in enumerate(record.arms)}
    for row in each(largest):
        y = record.tasks.index(row.task) + lanes[row.arm] + steps[row.seed]
        face = "w" if row.mc_limited else colours[row.arm]
        axes.errorbar(
            row.size,
            y,
            xerr=row.error,
            fmt=markers[row.arm],
            color=colours[row.arm],
            markerfacecolor=face,
            markersize=4,
        )
    axes.axvspan(0, 1, color="0.94", zorder=0)
    axes.set_xlim(0, 1.1 * max(1.0, float((largest["size"] + largest["error"]).max())))
    axes.set_ylim(max(len(record.tasks), 1) - 0.5, -0.5)
    for edge in range(1, len(record.tasks)):
        axes.axhline(edge - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("|bias| / data statistical error")


def _fit(axes: Axes, record: Record) -> None:
    """Draw the shift of mu in the injected universe with its MC error over the expected sigma(mu) as a grey bar."""
    fits, arms = record.of("fits"), record.arms
    colours, markers = arm_colours(arms), arm_markers(arms)
    steps = seed_offsets(record.seeds, 0.3)
    held = "injected_shift" in fits and bool(fits["injected_shift"].notna().any())
    for row in fits.to_dict("records"):
        y = arms.index(row["arm"]) + steps[row["seed"]]
        axes.barh(y, 2 * row["sigma"], left=-row["sigma"], height=0.24, color="0.87", zorder=0)
        shift, error = row.get("injected_shift", np.nan), row.get("injected_shift_error", np.nan)
        if pd.notna(shift):
            arm = row["arm"]
            axes.errorbar(shift, y, xerr=error, fmt=markers[arm], color=colours[arm])
    axes.axvline(0, color=GREY, linewidth=0.8)
    reach = [fits["sigma"], *([fits["injected_shift"].abs() + fits["injected_shift_error"]] if held else [])]
    axes.set_xlim(*(side * 1.15 * max(float(each.max()) for each in reach) for side in (-1, 1)))
    axes.set_yticks(range(len(arms)), arms)
    axes.set_ylim(max(len(arms), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("shift of μ (grey: ±σ(μ) expected)")


def recalibration_table(record: Record) -> pd.DataFrame:
    """Return the size of each nuisance's effect, plain and recalibrated.

    Columns: arm, seed, task, nuisance, none, and those of mip (on muons) and exact that the study has:
    sqrt(odd² + 2 even²) in units of the data's statistical error; only nuisances that have a recalibrated
    universe, NaN where they lack one of the two.
    """
    rows = record["unisims"]
    rows = rows.assign(size=np.sqrt(rows["contribution"].clip(lower=0)))
    wide = rows.pivot_table(index=["arm", "seed", "task", "nuisance"], columns="recalibrate", values="size", sort=False)
    again = [mode for mode in RECALIBRATED if mode in wide]
    wide.columns.name = None
    wide = wide.reindex(columns=["none", *again]).dropna(subset=["none"]).dropna(subset=again, how="all")
    return (wide if again else wide.iloc[:0]).reset_index()


@drawn
def recalibration_figure(table: pd.DataFrame, tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Draw ``recalibration_table``: open marks plain, filled marks recalibrated, a panel per task."""
    modes = ["none", *(mode for mode in RECALIBRATED if mode in table)]
    nuisances = sorted(table["nuisance"].unique())
    figure = Figure(figsize=(WIDTH, 1.2 + 0.46 * len(nuisances)))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    colours, markers = arm_colours(arms), arm_markers(arms)
    lanes = {arm: (i - (len(arms) - 1) / 2) * 0.27 for i, arm in enumerate(arms)}
    steps = seed_offsets(sorted(table["seed"].unique()), 0.11)
    limit = 1.6 * max(2.0, float(table[modes].max().max()))
    for axes, task in zip(panels, tasks, strict=True):
        for row in each(table[table["task"] == task]):
            y = nuisances.index(row.nuisance) + lanes[row.arm] + steps[row.seed]
            colour = colours[row.arm]
            faces = {"none": ("w", 5.0), "mip": (colour, 3.0), "exact": (colour, 1.5)}
            values = {mode: float(getattr(row, mode)) for mode in modes if np.isfinite(getattr(row, mode))}
            axes.plot(list(values.values()), [y] * len(values), color=colour, linewidth=0.8)
            for mode, value in values.items():
                face, area = faces[mode]
                axes.plot(value, y, marker=markers[row.arm], color=colour, markerfacecolor=face, markersize=area)
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlim(0, limit)
        ticks = [0, 1, *(value for value in (10, 100) if value <= limit)]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.axvspan(0, 1, color="0.94", zorder=0)
        axes.set_title(task.replace("_", " "), fontweight="bold")
        axes.set_ylim(max(len(nuisances), 1) - 0.5, -0.5)
        axes.tick_params(axis="y", which="both", length=0)
        for edge in range(1, len(nuisances)):
            axes.axhline(edge - 0.5, color="0.85", linewidth=0.6, zorder=0)
    panels[0].set_yticks(range(len(nuisances)), nuisances)
    figure.supxlabel("size of the effect of ±1σ / statistical error of the declared data exposure", fontsize=9)
    handles = [Line2D([], [], linestyle="", marker=markers[arm], color=colours[arm], label=arm) for arm in arms]
    words = {"none": ("as it is", "w", 5.0), "mip": (RECALIBRATED["mip"], "0.3", 4.0)}
    words["exact"] = (RECALIBRATED["exact"], "0.3", 2.0)
    for label, face, area in (words[mode] for mode in modes):
        handles.append(
            Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor=face, markersize=area, label=label)
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure
