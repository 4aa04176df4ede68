"""How every figure looks: the field's ticks, colour-blind safe colours, equal SVG bytes for equal numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

__all__ = [
    "DIVERGING",
    "GREY",
    "SAMPLE_COLOURS",
    "WIDTH",
    "arm_colours",
    "arm_markers",
    "drawn",
    "seed_offsets",
    "signed_axis",
    "signed_norm",
    "svg",
]

P = ParamSpec("P")
R = TypeVar("R")

WIDTH: Final = 10.0
"""Width of a figure in inches: 960 CSS pixels, the width of the page's text, so that 9 pt is read as 9 pt."""

GREY: Final = "#6b6b6b"

DIVERGING: Final = "RdBu_r"
"""Colour map for signed numbers: blue below zero, red above, white at zero (ColorBrewer; colour-blind safe)."""

# Okabe and Ito's palette (jfly.uni-koeln.de/color), dark enough to be read on white.
_ARMS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
_MARKERS: Final = ("o", "s", "D", "^", "v", "P")
SAMPLE_COLOURS: Final = ("#E69F00", "#56B4E9", "#B8B8B8", "#CC79A7", "#009E73", "#F0E442")

_STYLE: Final[dict[str, Any]] = {
    **mplhep.style.ROOT,
    "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "xtick.top": False,
    "ytick.right": False,
    "xtick.major.size": 4.0,
    "xtick.minor.visible": False,
    "xtick.major.pad": 4.0,
    "ytick.major.size": 4.0,
    "ytick.minor.visible": False,
    "ytick.major.pad": 4.0,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "shiftlab",
    "axes.unicode_minus": True,
}


def drawn(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the report's style; matplotlib's settings are put back afterwards."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(cast(Any, _STYLE)):
            return draw(*args, **kwargs)

    return styled


@drawn
def svg(figure: Figure) -> str:
    """Return the figure as SVG text: equal figures give equal bytes (no date, salted ids, outlines for letters)."""
    _settle(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out once and round the places of its axes: the solver's last digits differ from run to run."""
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        place = axes.get_position(original=True)
        axes.set_position((round(place.x0, 6), round(place.y0, 6), round(place.width, 6), round(place.height, 6)))


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """Return one colour per arm, by its place in the study."""
    return {arm: _ARMS[i % len(_ARMS)] for i, arm in enumerate(arms)}


def arm_markers(arms: Sequence[str]) -> dict[str, str]:
    """Return one marker per arm, so that arms are told apart without colour."""
    return {arm: _MARKERS[i % len(_MARKERS)] for i, arm in enumerate(arms)}


def seed_offsets(seeds: Sequence[int], step: float) -> dict[int, float]:
    """Return a displacement per seed, centred on zero, ``step`` apart."""
    return {seed: (i - (len(seeds) - 1) / 2) * step for i, seed in enumerate(seeds)}


def signed_norm(largest: float) -> SymLogNorm:
    """Return a colour scale centred on zero: linear up to one unit, logarithmic beyond, to ``largest`` (at least 2)."""
    limit = max(2.0, largest)
    return SymLogNorm(linthresh=1.0, vmin=-limit, vmax=limit, base=10)


def signed_axis(axes: Axes, largest: float) -> None:
    """Give ``axes`` an x axis that is linear within one unit and logarithmic beyond, marked at round numbers."""
    limit = max(2.0, 1.3 * largest)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(-limit, limit)
    marks = (1, 3, 10, 30) if limit < 50 else (1, 10, 100, 1000)
    ticks = [value for value in marks if value <= limit]
    axes.set_xticks([-tick for tick in reversed(ticks)] + [0, *ticks])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axes.minorticks_off()
    axes.axvspan(-1, 1, color="0.94", zorder=0)
    axes.axvline(0, color="0.5", linewidth=0.8, zorder=1)
