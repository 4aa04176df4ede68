"""Figure of the templates of one arm and seed: stacked nominal spectra, ratios of up and down with their errors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from shiftlab.report.style import GREY, SAMPLE_COLOURS, WIDTH, drawn

__all__ = ["ranked_nuisances", "template_figure", "template_figures"]

_UP, _DOWN = "#D55E00", "#0072B2"

_ABREAST = 5
"""Most channels side by side in one figure."""


def template_figures(
    rows: pd.DataFrame, nuisances: Sequence[str], labels: Mapping[str, str] | None = None
) -> list[Figure]:
    """Draw any number of channels, a few to a figure; an error that is not known (NaN) has no band."""
    known = rows.fillna(dict.fromkeys(("nominal_error", "up_error", "down_error"), 0.0))
    channels = list(dict.fromkeys(rows["channel"]))
    parts = [channels[i : i + _ABREAST] for i in range(0, len(channels), _ABREAST)]
    return [template_figure(known[known["channel"].isin(part)], nuisances, labels) for part in parts]


def ranked_nuisances(rows: pd.DataFrame) -> list[str]:
    """Return the nuisances of a template table, the one with the largest relative shift in any bin first."""
    total = rows[(rows["sample"] == "total") & (rows["nuisance"] != "nominal") & (rows["nominal"] > 0)]
    shift = np.maximum((total["up"] - total["nominal"]).abs(), (total["down"] - total["nominal"]).abs())
    largest = (shift / total["nominal"]).groupby(total["nuisance"]).max()
    return [str(name) for name in largest.sort_values(ascending=False, kind="stable").index]


@drawn
def template_figure(rows: pd.DataFrame, nuisances: Sequence[str], labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the templates (columns of ``csv/templates.csv``) of one arm, seed and calibration.

    A column per channel. Top: expected events, samples stacked, hatched Monte Carlo error. Below, a
    row per nuisance: up and down over nominal for the sum of the samples; the bands are the paired
    statistical errors of the variation, the grey band is the Monte Carlo error of the nominal.

    Args:
        rows: the table.
        nuisances: those to show, from top to bottom.
        labels: axis label of each channel; its name where absent.
    """
    channels = list(dict.fromkeys(rows["channel"]))
    samples = [s for s in dict.fromkeys(rows["sample"]) if s != "total"]
    ratios = [2.0] + [0.62] * len(nuisances)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.78 * sum(ratios)))
    grid = figure.subplots(
        1 + len(nuisances), len(channels), squeeze=False, sharex="col", sharey="row", height_ratios=ratios
    )
    for column, channel in enumerate(channels):
        part = rows[rows["channel"] == channel]
        _stack(grid[0][column], part[part["nuisance"] == "nominal"], samples)
        grid[0][column].set_title(channel.replace("_", " "), fontweight="bold")
        for line, nuisance in enumerate(nuisances, start=1):
            _ratio(grid[line][column], part[(part["nuisance"] == nuisance) & (part["sample"] == "total")])
        label = (labels or {}).get(channel, channel.replace("_", " "))
        grid[-1][column].set_xlabel(textwrap.fill(label, max(16, 120 // len(channels))))
    grid[0][0].set_ylabel("expected events")
    total = rows[(rows["sample"] == "total") & (rows["nuisance"] == "nominal")]
    grid[0][0].set_ylim(0, 1.08 * max(1e-9, float((total["nominal"] + total["nominal_error"]).max())))
    for line, nuisance in enumerate(nuisances, start=1):
        grid[line][0].set_ylabel(nuisance, rotation=0, ha="right", va="center", y=0.5, fontsize=8, labelpad=8)
        _ratio_limits(grid[line][0], rows[(rows["nuisance"] == nuisance) & (rows["sample"] == "total")])
    figure.legend(handles=_legend(samples), loc="outside upper center", ncols=len(samples) + 4, columnspacing=1.2)
    return figure


def _edges(rows: pd.DataFrame) -> np.ndarray:
    rows = rows.sort_values("bin")
    return np.append(rows["lo"].to_numpy(float), rows["hi"].to_numpy(float)[-1])


def _stack(axes: Axes, rows: pd.DataFrame, samples: Sequence[str]) -> None:
    base = np.zeros(rows["bin"].nunique())
    for place, sample in enumerate(samples):
        part = rows[rows["sample"] == sample].sort_values("bin")
        top = base + part["nominal"].to_numpy(float)
        colour = SAMPLE_COLOURS[place % len(SAMPLE_COLOURS)]
        axes.stairs(top, _edges(part), baseline=base, fill=True, color=colour, linewidth=0)
        base = top
    total = rows[rows["sample"] == "total"].sort_values("bin")
    value, error = total["nominal"].to_numpy(float), total["nominal_error"].to_numpy(float)
    axes.stairs(value, _edges(total), color="k", linewidth=0.9)
    axes.stairs(
        value + error, _edges(total), baseline=value - error, fill=True, facecolor="none", edgecolor="0.25",
        hatch="//////", linewidth=0,
    )  # fmt: skip
    axes.set_xlim(_edges(total)[0], _edges(total)[-1])


def _ratio(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw up and down over nominal of one nuisance, each with its paired error band; empty bins stay empty."""
    rows = rows.sort_values("bin")
    nominal = rows["nominal"].to_numpy(float)
    nominal = np.where(nominal > 0, nominal, np.nan)
    edges = _edges(rows)
    error = rows["nominal_error"].to_numpy(float) / nominal
    axes.stairs(1 + error, edges, baseline=1 - error, fill=True, color="0.88", linewidth=0)
    axes.axhline(1.0, color=GREY, linewidth=0.7)
    for name, colour in (("up", _UP), ("down", _DOWN)):
        ratio = rows[name].to_numpy(float) / nominal
        band = rows[f"{name}_error"].to_numpy(float) / nominal
        axes.stairs(ratio + band, edges, baseline=ratio - band, fill=True, color=colour, alpha=0.3, linewidth=0)
        axes.stairs(ratio, edges, baseline=None, color=colour, linewidth=1.2)
    axes.minorticks_off()
    axes.tick_params(axis="y", labelsize=7.5)


def _ratio_limits(axes: Axes, rows: pd.DataFrame) -> None:
    """Frame the ratios of one row of panels symmetrically about one (at least ±1 %), not the wide nominal error."""
    rows = rows[rows["nominal"] > 0]
    sizes = [
        ((rows[name] - rows["nominal"]).abs() + rows[f"{name}_error"]) / rows["nominal"] for name in ("up", "down")
    ]
    limit = 1.15 * max([0.01, *(float(size.max()) for size in sizes if len(size))])
    axes.set_ylim(1 - limit, 1 + limit)
    step = 0.7 * limit
    step = round(step, 1 - math.ceil(math.log10(step)))
    axes.set_yticks([1 - step, 1.0, 1 + step])


def _legend(samples: Sequence[str]) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [
        Patch(color=SAMPLE_COLOURS[i % len(SAMPLE_COLOURS)], label=name) for i, name in enumerate(samples)
    ]
    handles.append(Patch(facecolor="none", edgecolor="0.25", hatch="//////", linewidth=0, label="MC error"))
    handles.append(Line2D([], [], color=_UP, label="+1σ / nominal"))
    handles.append(Line2D([], [], color=_DOWN, label="−1σ / nominal"))
    handles.append(Patch(color="0.88", label="MC error of nominal"))
    return handles
