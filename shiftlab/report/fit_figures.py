"""Figures of the fit: pulls and constraints, impacts, parts of the uncertainty, correlated against decorrelated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from shiftlab.report.record import each, groups
from shiftlab.report.style import GREY, WIDTH, arm_colours, arm_markers, drawn, seed_offsets

__all__ = ["decorrelation_figure", "impact_figure", "parts_figure", "pull_figure"]

_PARTS = {"data statistics": "#56B4E9", "MC statistics": "#B8B8B8", "systematics": "#E69F00"}


@drawn
def pull_figure(rows: pd.DataFrame, constraints: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw post-fit nuisances: left the constraint from Asimov data, right the pull in the injected universe.

    Args:
        rows: columns of ``csv/parameters.csv``, one ``recalibrate``.
        constraints: columns of ``csv/constraints.csv``; ``fake_sigma`` is drawn as a bar: what the Monte
            Carlo noise alone would give an effect-free nuisance.
        arms: in order.
    """
    rows = rows[rows["kind"] == "nuisance"]
    nuisances = list(dict.fromkeys(rows["name"]))
    held = [name for name in ("injected", "held_out") if (rows["observation"] == name).any()][:1]
    figure = Figure(figsize=(WIDTH, 0.95 + 0.34 * len(nuisances)))
    panels = figure.subplots(1, 1 + len(held), sharey=True, squeeze=False)[0]
    place = _Places(nuisances, arms, sorted(rows["seed"].unique()))
    for row in each(rows[rows["observation"] == "asimov"]):
        _mark(panels[0], row.constraint, place(row.name, row.arm, row.seed), row.arm, arms)
    for row in each(constraints[constraints["nuisance"].isin(nuisances)]):
        y = place(row.nuisance, row.arm, row.seed)
        panels[0].plot([row.fake_sigma] * 2, [y - 0.06, y + 0.06], color="k", linewidth=1.4)
    panels[0].axvline(1.0, color=GREY, linewidth=0.8)
    panels[0].set_xlim(0, 1.15)
    panels[0].set_xlabel("post-fit σ / prior σ (Asimov)")
    for axes, name in zip(panels[1:], held, strict=True):
        for row in each(rows[rows["observation"] == name]):
            y = place(row.name, row.arm, row.seed)
            _mark(axes, row.pull, y, row.arm, arms, error=row.constraint)
        known = rows[(rows["observation"] == name) & rows["injected"].notna()].drop_duplicates("name")
        for row in each(known[known["injected"] != 0]):
            y = nuisances.index(row.name)
            axes.plot([row.injected] * 2, [y - 0.45, y + 0.45], color="k", linewidth=1.6, zorder=0)
        axes.axvspan(-1, 1, color="0.94", zorder=0)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_xlabel(
            "pull / prior σ (injected universe)" if name == "injected" else "pull / prior σ (held-out events)"
        )
    _rows(panels, nuisances)
    extra = [
        Line2D([], [], linestyle="", marker="|", color="k", markeredgewidth=1.4, label="faked by MC noise alone"),
        Line2D([], [], color="k", linewidth=1.6, label="injected value"),
    ]
    figure.legend(handles=[*_arm_handles(arms), *extra], loc="outside upper center", ncols=len(arms) + 2)
    return figure


@drawn
def impact_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw the change of mu for each nuisance at ±1 post-fit sigma (Asimov); open marks are MC-limited.

    Dots are the closed form C_mk / sqrt(C_kk); crosses are refits with the nuisance fixed there.
    """
    order = rows.groupby("nuisance")["closed_form"].agg(lambda values: values.abs().max())
    nuisances = [str(name) for name in order.sort_values(ascending=False, kind="stable").index]
    figure = Figure(figsize=(WIDTH * 0.8, 0.95 + 0.34 * len(nuisances)))
    axes = figure.subplots()
    place = _Places(nuisances, arms, sorted(rows["seed"].unique()))
    colours = arm_colours(arms)
    for row in each(rows):
        y = place(row.nuisance, row.arm, row.seed)
        axes.plot([0, row.closed_form], [y, y], color=colours[row.arm], linewidth=0.8)
        _mark(axes, row.closed_form, y, row.arm, arms, hollow=bool(row.mc_limited))
        refits = [value for value in (row.up, row.down) if np.isfinite(value)]
        axes.plot(refits, [y] * len(refits), linestyle="", marker="x", color="k", markersize=3.5, markeredgewidth=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8)
    limit = 1.15 * max(1e-6, float(rows[["closed_form", "up", "down"]].abs().max().max()))
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("change of μ")
    _rows([axes], nuisances)
    extra = [
        Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor="w", label="MC-limited"),
        Line2D([], [], linestyle="", marker="x", color="k", label="refits at ±1σ"),
    ]
    figure.legend(handles=[*_arm_handles(arms), *extra], loc="outside upper center", ncols=len(arms) + 2)
    return figure


@drawn
def parts_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw the variance of mu as stacked shares of its three parts (they add up in quadrature), sigma at the end."""
    rows = rows[rows["group"] == "group"]
    owners = [(arm, seed) for arm in arms for seed in sorted(rows[rows["arm"] == arm]["seed"].unique())]
    figure = Figure(figsize=(WIDTH * 0.8, 0.85 + 0.28 * len(owners)))
    axes = figure.subplots()
    for line, (arm, seed) in enumerate(owners):
        part = rows[(rows["arm"] == arm) & (rows["seed"] == seed)].set_index("component")
        left = 0.0
        for name, colour in _PARTS.items():
            width = float(part["sigma"].get(name, 0.0)) ** 2
            axes.barh(line, width, left=left, height=0.62, color=colour, edgecolor="white", linewidth=0.6)
            left += width
        axes.text(left, line, f"  σ(μ) = {float(part['sigma']['total']):.3f}", va="center", ha="left", fontsize=8)
    axes.set_yticks(range(len(owners)), [f"{arm}, seed {seed}" for arm, seed in owners])
    axes.set_ylim(max(len(owners), 1) - 0.5, -0.5)
    axes.set_xlim(0, 1.25 * float((rows[rows["component"] == "total"]["sigma"] ** 2).max()))
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlabel("variance of μ (Asimov)")
    handles = [Patch(color=colour, label=name) for name, colour in _PARTS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@drawn
def decorrelation_figure(rows: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Draw sigma(mu) with shared nuisances and with one per channel, claimed and true, and the coverage."""
    figure = Figure(figsize=(WIDTH, 0.95 + 0.42 * len(arms)))
    left, right = figure.subplots(1, 2, sharey=True)
    steps = seed_offsets(sorted(rows["seed"].unique()), 0.3)
    colours = arm_colours(arms)
    for (arm, seed), part in groups(rows, ["arm", "seed"]):
        y = arms.index(arm) + steps[seed]
        schemes = part.set_index("scheme")
        shared, split = schemes.loc["correlated"], schemes.loc["decorrelated"]
        left.plot([split["claimed"], split["true"]], [y, y], color=colours[arm], linewidth=1.0)
        left.plot(shared["claimed"], y, marker="|", color="k", markersize=9, markeredgewidth=1.5, linestyle="")
        left.plot(split["claimed"], y, marker="o", color=colours[arm], markerfacecolor="w", linestyle="")
        left.plot(split["true"], y, marker="o", color=colours[arm], linestyle="")
        right.plot(100 * split["coverage"], y, marker="o", color=colours[arm], linestyle="")
    right.axvline(68.27, color=GREY, linestyle="--", linewidth=1.0)
    left.set_xlabel("σ(μ)")
    right.set_xlabel("coverage of the decorrelated 68.3 % interval / %")
    for axes in (left, right):
        axes.set_ylim(max(len(arms), 1) - 0.5, -0.5)
        axes.tick_params(axis="y", which="both", length=0)
        axes.margins(x=0.15)
    left.set_yticks(range(len(arms)), arms)
    handles = [
        Line2D(
            [], [], linestyle="", marker="|", color="k", markersize=9, markeredgewidth=1.5, label="shared nuisances"
        ),
        Line2D([], [], linestyle="", marker="o", color="0.3", markerfacecolor="w", label="decorrelated, claimed"),
        Line2D([], [], linestyle="", marker="o", color="0.3", label="decorrelated, true spread"),
        Line2D([], [], linestyle="--", color=GREY, label="exact coverage"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


class _Places:
    """Vertical place of a nuisance, arm and seed in a panel of rows."""

    def __init__(self, nuisances: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> None:
        self.rows = {name: i for i, name in enumerate(nuisances)}
        self.lanes = {arm: (i - (len(arms) - 1) / 2) * 0.27 for i, arm in enumerate(arms)}
        self.steps = seed_offsets(seeds, 0.11)

    def __call__(self, nuisance: str, arm: str, seed: int) -> float:
        return self.rows[nuisance] + self.lanes[arm] + self.steps[seed]


def _mark(
    axes: Axes, x: float, y: float, arm: str, arms: Sequence[str], *, error: float = 0.0, hollow: bool = False
) -> None:
    colour = arm_colours(arms)[arm]
    if error:
        axes.plot([x - error, x + error], [y, y], color=colour, linewidth=0.8)
    face = "w" if hollow else colour
    marker = arm_markers(arms)[arm]
    axes.plot(x, y, marker=marker, color=colour, markerfacecolor=face, markersize=3.4, linestyle="")


def _rows(panels: Sequence[Axes], names: Sequence[str]) -> None:
    for axes in panels:
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        axes.tick_params(axis="y", which="both", length=0)
        for edge in range(1, len(names)):
            axes.axhline(edge - 0.5, color="0.88", linewidth=0.6, zorder=0)
    panels[0].set_yticks(range(len(names)), names)


def _arm_handles(arms: Sequence[str]) -> list[Line2D]:
    colours, markers = arm_colours(arms), arm_markers(arms)
    return [Line2D([], [], linestyle="", marker=markers[arm], color=colours[arm], label=arm) for arm in arms]
