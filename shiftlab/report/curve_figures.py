"""Figures of training curves: validation loss of each arm against steps, presentations, operations and seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from shiftlab.arms.training.curves import Budget, Curve
from shiftlab.report.style import WIDTH, arm_colours, arm_markers, drawn

__all__ = ["curve_figure"]

_LABELS: Final[Mapping[Budget, str]] = {
    "step": "optimiser steps",
    "samples": "presentations of events",
    "tokens": "tokens",
    "flops": "operations",
    "wall": "time in steps / s",
}

_RAISED: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@drawn
def curve_figure(
    arms: Mapping[str, Sequence[Curve]], by: Sequence[Budget] = ("step", "samples", "flops", "wall")
) -> Figure:
    """Draw one panel for each budget: a faint line for each seed, and a strong one for the lowest loss so far.

    The marker is at the arm's own best, for each seed.

    Args:
        arms: The curves of each arm, one a seed.
        by: What the panels' x axes count.

    Raises:
        ConfigError: a curve does not know one of the budgets.
    """
    names = list(arms)
    colours, markers = arm_colours(names), arm_markers(names)
    columns = min(2, len(by))
    lines = -(-len(by) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.9 * lines))
    grid = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for place, (axes, budget) in enumerate(zip(grid, by, strict=False)):
        for name, curves in arms.items():
            for curve in curves:
                _draw(axes, curve, budget, colours[name], markers[name])
            axes.plot([], [], color=colours[name], marker=markers[name], label=name)
        _count(axes, budget)
        if place % columns == 0:
            axes.set_ylabel("validation loss")
    for axes in grid[len(by) :]:
        axes.set_axis_off()
    grid[0].legend(loc="best")
    return figure


def _count(axes: Axes, by: Budget) -> None:
    """Label the x axis; large counts are given in a power of a thousand."""
    largest = axes.get_xlim()[1]
    power = 3 * int(math.log10(largest) // 3) if largest >= 1e5 else 0
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10**power:g}"))
    axes.set_xlabel(f"{_LABELS[by]} / 10{str(power).translate(_RAISED)}" if power else _LABELS[by])


def _draw(axes: Axes, curve: Curve, by: Budget, colour: str, marker: str) -> None:
    spent = curve.spent(by)
    losses = curve.points["validation_loss"].dropna().to_numpy(dtype=np.float64)
    axes.plot(spent, losses, color=colour, alpha=0.35, linewidth=0.8)
    axes.step(spent, curve.lowest, color=colour, where="post")
    axes.plot(curve.best_at(by), curve.best, color=colour, marker=marker, markersize=7.0)
