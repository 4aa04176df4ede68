"""Figures of what happens inside the networks: drift per layer, drift against harm, and the mechanism test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from shiftlab.report.record import each, groups
from shiftlab.report.style import GREY, WIDTH, arm_colours, drawn
from shiftlab.report.wording import interval, shift_label

__all__ = ["drift_figure", "harm_figure", "mechanism_figure"]

_LEAST: Final = 0.01
"""Drift below which a mark stands at the edge: a hundredth of an event's spread."""

_SEEDS: Final = ("o", "s", "D", "^", "v", "P")
_LINEAR: Final = 2.0
"""Biases up to so many errors are drawn on a linear axis, larger ones on one that is logarithmic beyond 1."""

_NAMED: Final = 3
"""Universes that are named in a panel: those farthest from the line."""


@drawn
def drift_figure(rows: pd.DataFrame) -> Figure:
    """Draw the drift of each universe, one row each, layers in colour, a panel for each body; 68 % intervals.

    Args:
        rows: Rows of ``csv/drift.csv``, of a few bodies.
    """
    bodies = [part for _, part in groups(rows, ("arm", "seed", "body"))]
    order = rows.groupby("universe", sort=False)["drift2"].max().sort_values(ascending=False).index.tolist()
    layers = list(dict.fromkeys(rows["layer"]))
    colours = dict(zip(layers, colormaps["viridis"](np.linspace(0.0, 0.88, len(layers))), strict=True))
    figure = Figure(figsize=(WIDTH, 0.9 + 0.2 * len(order)))
    panels = figure.subplots(1, len(bodies), squeeze=False, sharey=True)[0]
    step = 0.7 / max(1, len(layers))
    for axes, part in zip(panels, bodies, strict=True):
        for row in each(part):
            y = order.index(row.universe) + (layers.index(row.layer) - (len(layers) - 1) / 2) * step
            ends = [max(_LEAST, math.sqrt(max(0.0, one))) for one in (row.drift2_lo, row.drift2, row.drift2_hi)]
            filled = row.drift2 > _LEAST**2
            axes.plot(ends[::2], [y, y], color=colours[row.layer], linewidth=0.9)
            face = colours[row.layer] if filled else "w"
            axes.plot(ends[1], y, "o", color=colours[row.layer], markerfacecolor=face, markersize=3.2)
        axes.set_xscale("log")
        axes.set_xlim(0.8 * _LEAST, None)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("drift / spread of an event")
        first = part.iloc[0]
        seed = "all seeds" if str(first["seed"]) == "all" else f"seed {first['seed']}"
        body = "" if first["body"] == "shared" else f", {first['body']}"
        axes.set_title(f"{first['arm']}{body} ({seed})", fontweight="bold")
        for edge in range(1, len(order)):
            axes.axhline(edge - 0.5, color="0.9", linewidth=0.5, zorder=0)
    labels = {row.universe: _label(row) for row in each(rows)}
    panels[0].set_yticks(range(len(order)), [labels[name] for name in order], fontsize=7.5)
    panels[0].set_ylim(len(order) - 0.5, -0.5)
    for axes in panels:
        axes.tick_params(axis="y", which="both", length=0)
    marks = [Line2D([], [], linestyle="", marker="o", color=colours[layer], label=layer) for layer in layers]
    figure.legend(handles=marks, loc="outside upper center", ncols=min(8, len(layers)))
    return figure


@drawn
def harm_figure(points: pd.DataFrame, harm: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw the size of each bias against the drift of the same universe, one panel for each task.

    Args:
        points: One row per arm, seed, task and universe: drift, and bias_over_sigma_data.
        harm: Rows of ``csv/drift_harm.csv`` of the same layer.
        arms: All arms of the study, for their colours.
    """
    tasks = list(dict.fromkeys(points["task"]))
    colours = arm_colours(arms)
    columns = min(4, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 2.5 * lines))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    seeds = sorted(points["seed"].unique())
    for axes, task in zip(grid.flat, tasks, strict=False):
        part = points[points["task"] == task]
        for (arm, seed), rows in groups(part, ("arm", "seed")):
            marker = _SEEDS[seeds.index(seed) % len(_SEEDS)]
            size = rows["bias_over_sigma_data"].abs()
            drift = rows["drift"].clip(lower=_LEAST)
            axes.plot(drift, size, marker, color=colours[arm], markersize=3.6, linestyle="", alpha=0.8)
        axes.set_xscale("log")
        top = 1.1 * float(part["bias_over_sigma_data"].abs().max())
        if top > _LINEAR:
            axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(0.0, max(top, 0.1))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        axes.axhspan(0, 1, color="0.94", zorder=0)
        axes.set_title(f"{task.replace('_', ' ')}\n{_ranks(harm[harm['task'] == task])}", fontsize=8.5)
    for axes in list(grid.flat)[len(tasks) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel("drift / spread of an event")
    for row in grid:
        row[0].set_ylabel("|bias| / data stat. error")
    present = [(arm, seed) for (arm, seed), _ in groups(points, ("arm", "seed"))]
    marks = [
        Line2D(
            [], [], linestyle="", color=colours[a], marker=_SEEDS[seeds.index(s) % len(_SEEDS)], label=f"{a} seed {s}"
        )
        for a, s in present
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=min(6, len(marks)))
    return figure


def _ranks(rows: pd.DataFrame) -> str:
    return "\n".join(f"seed {row.seed}: ρ = {interval(row.rho, row.lo, row.hi)}" for row in each(rows)) or "no ranks"


@drawn
def mechanism_figure(points: pd.DataFrame, table: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw each bias against what heads would give that are linear in what they are given: routes by tasks.

    Args:
        points: Rows of ``csv/mechanism_points.csv``.
        table: Rows of ``csv/mechanism.csv``.
        arms: All arms of the study, for their colours.
    """
    routes, tasks = (list(dict.fromkeys(points[name])) for name in ("route", "task"))
    colours = arm_colours(arms)
    seeds = sorted(points["seed"].unique())
    figure = Figure(figsize=(min(WIDTH, 1.0 + 3.4 * len(routes)), 0.7 + 3.1 * len(tasks)))
    grid = figure.subplots(len(tasks), len(routes), squeeze=False)
    for line, task in enumerate(tasks):
        whole = points[points["task"] == task]
        largest = float(whole[["bias", "predicted"]].abs().max().max())
        limit = 1.25 * largest if largest < _LINEAR else 2.0 * largest
        for column, route in enumerate(routes):
            axes, part = grid[line][column], whole[whole["route"] == route]
            for (arm, seed), rows in groups(part, ("arm", "seed")):
                style: dict[str, Any] = {"color": colours[arm], "alpha": 0.8, "markersize": 3.6, "linestyle": ""}
                errors = {"xerr": rows["predicted_error"], "yerr": rows["bias_error"], "elinewidth": 0.5}
                axes.errorbar(
                    *(rows["predicted"], rows["bias"]), marker=_SEEDS[seeds.index(seed) % 6], **style, **errors
                )
            _square(axes, limit)
            _name_farthest(axes, part)
            fractions = table[(table["task"] == task) & (table["route"] == route)]
            axes.set_title(f"{task.replace('_', ' ')}: {route} move\n{_explained(fractions)}", fontsize=8.5)
            axes.set_xlabel("bias of heads that are linear in them / data stat. error", fontsize=8)
            axes.set_ylabel("bias / data stat. error")
    present = [(arm, seed) for (arm, seed), _ in groups(points, ("arm", "seed"))]
    marks = [
        Line2D([], [], linestyle="", color=colours[a], marker=_SEEDS[seeds.index(s) % 6], label=f"{a} seed {s}")
        for a, s in present
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=min(6, len(marks)))
    return figure


def _square(axes: Axes, limit: float) -> None:
    """Give both axes one symmetric scale, linear within one error, and draw the line of equal biases."""
    for axis in ("x", "y"):
        if limit > _LINEAR:
            getattr(axes, f"set_{axis}scale")("symlog", linthresh=1.0)
            ticks = [one for one in (1, 3, 10, 30, 100, 1000) if one <= limit]
            getattr(axes, f"set_{axis}ticks")([-one for one in reversed(ticks)] + [0, *ticks])
        getattr(axes, f"set_{axis}lim")(-limit, limit)
        side = axes.xaxis if axis == "x" else axes.yaxis
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axes.minorticks_off()
    axes.plot([-limit, limit], [-limit, limit], color=GREY, linewidth=0.8, zorder=0)
    axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.6, zorder=0)


def _name_farthest(axes: Axes, rows: pd.DataFrame) -> None:
    """Name the universes whose bias is farthest from the line: farther than two errors and a fifth of the bias."""
    mean = rows.groupby(["nuisance", "strength", "throw"], sort=False)[["bias", "predicted", "difference_error"]].mean()
    off = (mean["bias"] - mean["predicted"]).abs()
    far = (off > 2.0 * mean["difference_error"]) & (off > 0.2 * mean["bias"].abs())
    for key in off[far].nlargest(_NAMED).index:
        nuisance, strength, throw = key
        at = (float(mean.loc[key, "predicted"]), float(mean.loc[key, "bias"]))
        text = shift_label(str(nuisance), 1 if strength > 0 else -1, abs(float(strength)), int(throw))
        left = at[1] > at[0]  # above the line: room is on the left
        axes.annotate(
            text,
            at,
            xytext=(-6 if left else 6, -2),
            textcoords="offset points",
            fontsize=6.5,
            ha="right" if left else "left",
        )


def _explained(rows: pd.DataFrame) -> str:
    parts = []
    for row in each(rows):
        known = np.isfinite(row.explained)
        value = interval(row.explained, row.explained_lo, row.explained_hi) if known else "biases within event noise"
        parts.append(f"seed {row.seed}: {'explained ' if known else ''}{value}")
    return "\n".join(parts)


def _label(row: Any) -> str:
    return shift_label(row.nuisance, 1 if row.strength > 0 else -1, abs(row.strength), int(row.throw))
