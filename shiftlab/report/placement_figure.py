"""Figure of a placement: where each nuisance was found between the ends of its prior, and the bias to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from shiftlab.report.record import each
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn, seed_offsets, signed_axis
from shiftlab.report.wording import fixed

if TYPE_CHECKING:
    from shiftlab.bias.placement.record import PlacementRecord

__all__ = ["placement_figure"]


@drawn
def placement_figure(record: PlacementRecord) -> Figure:
    """Draw the parameters with their posterior beside the prior, and each task's expected bias in sigma of the data.

    The thick bar of a bias is its 68% interval if the catalogue is complete, the thin one that widened by what the
    catalogue may lack. True values are drawn where they are known.
    """
    parameters, biases = record.parameters, record.biases
    tasks, arms = list(dict.fromkeys(biases["task"])), list(dict.fromkeys(biases["arm"]))
    rows = max(len(parameters), 1.6 * len(tasks))
    figure = Figure(figsize=(WIDTH, 1.5 + 0.27 * rows))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    _parameters(left, record)
    _biases(right, record, tasks, arms)
    goodness = record.placement.goodness
    verdict = "rejected" if record.placement.rejected else "explained by the catalogue"
    figure.suptitle(
        f"{record.sample}, {record.events} events: p = {fixed(goodness.p_value, 3)}, {verdict}", fontsize=10.0
    )
    return figure


def _parameters(axes: Axes, record: PlacementRecord) -> None:
    table = record.parameters
    axes.axvspan(-1.0, 1.0, color="0.93", zorder=0)
    axes.axvline(0.0, color="0.6", linewidth=0.8, zorder=1)
    for y, row in enumerate(each(table)):
        colour = "#0072B2" if row.measured else GREY
        axes.plot([row.lo95, row.hi95], [y, y], color=colour, linewidth=0.7)
        axes.plot([row.lo, row.hi], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(row.median, y, marker="o", color=colour, markersize=4.0)
        if record.injected and np.isfinite(row.true):
            axes.plot(row.true, y, marker="x", color="#D55E00", markersize=6.0, markeredgewidth=1.4, zorder=5)
    axes.set_yticks(range(len(table)), [name.replace("_", " ") for name in table["parameter"]])
    axes.set_ylim(len(table) - 0.5, -0.5)
    far = float(np.abs(table[["lo95", "hi95"]].to_numpy()).max())
    axes.set_xlim(-max(2.4, 1.05 * far), max(2.4, 1.05 * far))
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("displacement [prior σ]")
    handles = [
        Patch(color="0.93", label="prior ±1σ"),
        Line2D([], [], color="#0072B2", marker="o", linewidth=2.2, label="measured (σ < 0.7), 68 and 95 %"),
        Line2D([], [], color=GREY, marker="o", linewidth=2.2, label="not measured"),
    ]
    axes.legend(handles=handles + _true(record), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=7.5)


def _biases(axes: Axes, record: PlacementRecord, tasks: list[str], arms: list[str]) -> None:
    table = record.biases
    colours, markers = arm_colours(arms), arm_markers(arms)
    seeds = sorted(set(table["seed"]))
    lanes = {arm: (i - (len(arms) - 1) / 2) * 0.8 / len(arms) for i, arm in enumerate(arms)}
    steps = seed_offsets(seeds, 0.5 / len(arms) / max(1, len(seeds)))
    for row in each(table):
        y = tasks.index(row.task) + lanes[row.arm] + steps[row.seed]
        colour = colours[row.arm]
        axes.plot([row.lo_widened, row.hi_widened], [y, y], color=colour, linewidth=0.7)
        axes.plot([row.lo, row.hi], [y, y], color=colour, linewidth=2.2, alpha=0.7, solid_capstyle="butt")
        axes.plot(row.bias, y, marker=markers[row.arm], color=colour, markersize=3.8)
        if "true" in table:
            axes.plot(row.true, y, marker="x", color="k", markersize=5.0, markeredgewidth=1.2, zorder=5)
    for edge in range(1, len(tasks)):
        axes.axhline(edge - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(tasks)), [task.replace("_", " ") for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.tick_params(axis="y", which="both", length=0)
    signed_axis(axes, float(np.abs(table[["lo_widened", "hi_widened", "bias"]].to_numpy()).max()))
    axes.set_xlabel("expected bias / statistical error of the declared data")
    handles = [Line2D([], [], color=colours[arm], marker=markers[arm], linewidth=2.2, label=arm) for arm in arms]
    if "true" in table:
        handles.append(Line2D([], [], color="k", marker="x", linestyle="", label="true"))
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), fontsize=7.5)


def _true(record: PlacementRecord) -> list[Line2D]:
    if not record.injected:
        return []
    return [Line2D([], [], color="#D55E00", marker="x", linestyle="", label="true")]
