"""Pictures of one effect: an event nominal, shifted and their difference, and how the response goes with strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from shiftlab.detector import NOMINAL, Detector, Effect, Nuisance, Parameter, Prepared, Universe
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, effects
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import Deposits, Image
from shiftlab.report.show import Window, draw_pixels, energy_scale, pick, plain_ticks, window_of, write
from shiftlab.report.style import DIVERGING, GREY, WIDTH, drawn
from shiftlab.report.wording import fixed

__all__ = [
    "STRENGTHS",
    "Displacement",
    "displacements",
    "effect_figure",
    "response_curve",
    "show_effect",
    "with_effect",
]

Floats = NDArray[np.float64]

STRENGTHS: Final = tuple(np.linspace(-3.0, 3.0, 13).tolist())
"""Displacements of the response curve, in sigma."""

_LINES: Final = ("#0072B2", "#D55E00", "#009E73")


@dataclass(frozen=True)
class Displacement:
    """One parameter that is displaced.

    Attributes:
        name: Of the nuisance, ``{effect}_{parameter}``.
        parameter: The parameter.
        strength: The displacement that is drawn: +1 sigma, or steps to another choice.
    """

    name: str
    parameter: Parameter
    strength: float

    @property
    def label(self) -> str:
        """What is drawn as shifted: its strength and physical value, or the chosen model."""
        value = self.parameter.value(self.strength)
        return self.parameter.choices[int(value)] if self.parameter.choices else f"+1σ: {value:.4g}"

    @property
    def nominal(self) -> str:
        """The nominal value, or the nominal model."""
        value = self.parameter.nominal
        return self.parameter.choices[int(value)] if self.parameter.choices else f"{value:.4g}"

    def universe(self, strength: float) -> Universe:
        """Return the universe with this displacement alone."""
        return Universe(f"{self.name}{strength:+g}", ((self.name, strength),))


def with_effect(detector: Detector, name: str) -> Detector:
    """Return the detector with an effect at its default priors, where it has none of that name yet.

    Raises:
        UnknownNameError: no effect has the name.
        ConfigError: the effect belongs to another kind of detector, or its nominal values do not go with the others.
    """
    kind = effects().get(name)
    if kind.stage not in (*DEPOSIT_STAGES, *LATTICE_STAGES):
        raise ConfigError(
            f"effect {name} acts at stage '{kind.stage}', which detector '{detector.name}' does not have."
        )
    if any(effect.name == name for effect in detector.effects):
        return detector
    return replace(detector, effects=(*detector.effects, kind()), allow_double_counting=True)


class _HasEffects(Protocol):
    """Any kind of detector."""

    @property
    def effects(self) -> tuple[Effect[Any], ...]:
        """Its effects."""

    @property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """Its nuisances."""


def displacements(detector: _HasEffects, name: str) -> list[Displacement]:
    """Return what of an effect can be displaced: its nuisances, and its choices of another model.

    Raises:
        ConfigError: no parameter of the effect is uncertain.
    """
    (effect,) = (one for one in detector.effects if one.name == name)
    active = {nuisance.name for nuisance in detector.nuisances}
    found = []
    for parameter in effect.parameters:
        own = f"{name}_{parameter.name}"
        if parameter.choices:
            steps = (i - parameter.nominal for i in range(len(parameter.choices)) if i != parameter.nominal)
            found += [Displacement(own, parameter, float(step)) for step in steps]
        elif own in active:
            found.append(Displacement(own, parameter, 1.0))
    if not found:
        raise ConfigError(f"effect '{name}': no parameter of it is uncertain, so there is no shift to show.")
    return found


def show_effect(
    detector: Detector, deposits: Deposits, effect_name: str, path: Path | str, *, n: int | None = None
) -> Path:
    """Write a PNG of what one effect does to one event: nominal, shifted, their difference, and the response curve.

    The event is the first nue CC one, else the first one, where ``n`` does not name another. An effect that the
    detector does not have is added to it at its default priors.

    Raises:
        UnknownNameError: there is no effect of that name.
        ConfigError: no parameter of the effect is uncertain, or it belongs to another kind of detector.
        DataError: there is no such event, or it has no deposits.
        RunError: the file cannot be written.
    """
    detector = with_effect(detector, effect_name)
    shown = displacements(detector, effect_name)
    samples = deposits.events.sample
    chosen = n if n is not None else samples.index("nue_cc") if "nue_cc" in samples else 0
    return write(effect_figure(pick(deposits, chosen), detector, shown), path)


@drawn
def effect_figure(deposits: Deposits, detector: Detector, shown: Sequence[Displacement]) -> Figure:
    """Draw, per displacement, the nominal and the shifted image, their difference, and the response curve."""
    prepared = detector.prepare(deposits)
    nominal = detector.image(prepared, NOMINAL)
    view = _View.of(detector, deposits, nominal)
    figure = Figure(figsize=(WIDTH * 1.35, 3.7 * len(shown)))
    grid = figure.subplots(len(shown), 4, squeeze=False)
    for line, displacement in zip(grid, shown, strict=True):
        try:
            shifted = detector.image(prepared, displacement.universe(displacement.strength))
        except (ConfigError, DataError) as error:
            _refused(line, displacement, str(error))
            continue
        _images(figure, line, view, displacement, nominal, shifted)
        _curve(line[3], detector, prepared, displacement, nominal)
    return figure


@dataclass(frozen=True)
class _View:
    """How images are projected: from above for pixels; for wires the last plane, wire against time.

    Attributes:
        window: The part that is drawn.
        plane: Number of the wire plane, None for pixels.
        labels: Of the horizontal and the vertical axis.
    """

    window: Window
    plane: int | None
    labels: tuple[str, str]

    @classmethod
    def of(cls, detector: Detector, deposits: Deposits, nominal: Image) -> _View:
        if detector.geometry.readout == "pixels":
            return cls(window_of(deposits, detector), None, ("z (beam) / cm", "x (drift) / cm"))
        plane = nominal.shape[1] - 1
        index, energy = nominal.index.numpy(), nominal.energy.numpy()
        mine = index[:, 1] == plane
        low, high = ([], [])
        for axis in (0, 2):
            places, weight = index[mine, axis], energy[mine].astype(np.float64)
            order = np.argsort(places, kind="stable")
            share = np.cumsum(weight[order]) / max(weight.sum(), 1e-12)
            ends = np.searchsorted(share, (0.02, 0.98)).clip(max=max(len(order) - 1, 0))
            first, last = (int(places[order[i]]) for i in ends) if len(order) else (0, 10)
            low.append(first - 12)
            high.append(last + 12)
        return cls(Window((low[0], plane, low[1]), (high[0], plane + 1, high[1]), 1.0), plane, ("wire", "tick"))

    def project(self, image: Image) -> Floats:
        """Return the energy of the view's pixels, (up, across), MeV."""
        if self.plane is None:
            return self.window.project(image, 2, 0)
        index = image.index.numpy()
        mine = index[:, 1] == self.plane
        counts: Floats = np.histogram2d(
            index[mine, 0] + 0.5,
            index[mine, 2] + 0.5,
            bins=(self.window.edges(0), self.window.edges(2)),
            weights=image.energy.numpy()[mine].astype(np.float64),
        )[0]
        return counts

    def frame(self, axes: Axes) -> None:
        """Set limits, aspect and labels."""
        axes.set_xlim(*self.window.span(2))
        axes.set_ylim(*self.window.span(0))
        if self.plane is None:
            axes.set_aspect("equal")
        axes.set_xlabel(self.labels[0])
        axes.set_ylabel(self.labels[1])


def _images(
    figure: Figure, line: Sequence[Axes], view: _View, displacement: Displacement, nominal: Image, shifted: Image
) -> None:
    """Draw two images with one energy scale, then the difference with a signed scale."""
    base, moved = view.project(nominal), view.project(shifted)
    norm = energy_scale([base, moved])
    for axes, values in zip(line[:2], (base, moved), strict=True):
        filled = draw_pixels(axes, view.window, 2, 0, values, norm, "viridis")
    signed = _signed_scale(moved - base)
    changed = draw_pixels(line[2], view.window, 2, 0, moved - base, signed, DIVERGING)
    if not (moved != base).any():
        line[2].text(0.5, 0.5, "no pixel of this event changes", ha="center", transform=line[2].transAxes)
    for axes in line[:3]:
        view.frame(axes)
    unit = "" if displacement.parameter.unit in ("", "1") else f" / {displacement.parameter.unit}"
    line[0].set_ylabel(f"{displacement.name}{unit}\n{view.labels[1]}", loc="center")
    for axes in line[1:3]:
        axes.set_ylabel("")
    line[0].set_title(f"nominal: {displacement.nominal}\n{_sum(nominal)}")
    line[1].set_title(f"{displacement.label}\n{_sum(shifted)}")
    line[2].set_title(f"shifted less nominal\n{_change(shifted, nominal)}")
    for axes in line[:2]:
        _bar(figure, filled, axes, "energy / MeV per pixel")
    _bar(figure, changed, line[2], "difference / MeV per pixel")


def _curve(axes: Axes, detector: Detector, prepared: Prepared, displacement: Displacement, nominal: Image) -> None:
    """Draw the change of the event's energy and voxels against the parameter."""

    def measure(strength: float) -> dict[str, float]:
        image = nominal if strength == 0 else detector.image(prepared, displacement.universe(strength))
        energy = _percent(float(image.energy.sum()), float(nominal.energy.sum()))
        return {"energy": energy, "voxels": _percent(len(image.cell), len(nominal.cell))}

    response_curve(axes, displacement, measure, "change of the event / %", STRENGTHS)


def response_curve(
    axes: Axes,
    displacement: Displacement,
    measure: Callable[[float], Mapping[str, float]],
    label: str,
    strengths: Sequence[float],
) -> None:
    """Draw what ``measure`` gives at each strength against the parameter's value, with nominal and one sigma marked.

    Strengths outside the parameter's bounds, or that the detector refuses, are left out: the curve ends there.
    A parameter with choices has one dot for each.
    """
    parameter = displacement.parameter
    found: dict[float, Mapping[str, float]] = {}
    steps = [float(i) - parameter.nominal for i in range(len(parameter.choices))] or list(strengths)
    for strength in steps:
        if strength < 0 and not parameter.two_sided and not parameter.choices:
            continue
        with suppress(ConfigError, DataError):
            parameter.value(strength)
            found[strength] = measure(strength)
    line = "none" if parameter.choices else "-"
    marked = [s for s in found if abs(s) == 1.0 or parameter.choices]
    for name, colour in zip(next(iter(found.values()), {}), _LINES, strict=False):
        places = [parameter.value(strength) for strength in found]
        axes.plot(places, [found[strength][name] for strength in found], linestyle=line, color=colour)
        dots = [parameter.value(strength) for strength in marked]
        axes.plot(dots, [found[strength][name] for strength in marked], "o", color=colour, label=name)
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(parameter.nominal, color=GREY, linestyle=":", linewidth=1.0, zorder=0)
    axes.plot([parameter.nominal], [0.0], "D", color="black", label="nominal")
    unit = "" if parameter.unit in ("", "1") else f" / {parameter.unit}"
    axes.set_xlabel(f"{parameter.name}{unit}")
    axes.set_ylabel(label)
    if parameter.choices:
        axes.set_xticks(range(len(parameter.choices)), [name.replace("_", "\n") for name in parameter.choices])
        axes.set_title("each choice")
    else:
        axes.set_title("response (dots: one sigma)")
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="best")


def _refused(line: Sequence[Axes], displacement: Displacement, reason: str) -> None:
    """Say in the row's place why the shift cannot be shown on these events."""
    import textwrap

    for axes in line:
        axes.set_axis_off()
    text = "\n".join(textwrap.wrap(f"{displacement.name}, {displacement.label}: {reason}", 120))
    said = line[0].text(0.0, 0.5, text, transform=line[0].transAxes, va="center")
    said.set_in_layout(False)  # it runs over all four panels


def _percent(value: float, nominal: float) -> float:
    return 100.0 * (value / nominal - 1.0) if nominal else 0.0


def _bar(figure: Figure, drawn_pixels: PathCollection, axes: Axes, label: str) -> None:
    bar = figure.colorbar(drawn_pixels, ax=axes, location="bottom", aspect=30, pad=0.02)
    bar.set_label(label, loc="center")
    plain_ticks(bar)


def _signed_scale(difference: Floats) -> Normalize:
    """Return a linear colour scale centred on zero that holds 98 % of the pixels that changed."""
    changed = np.abs(difference[difference != 0])
    limit = float(np.quantile(changed, 0.98)) if changed.size else 1.0
    return Normalize(-limit, limit)


def _sum(image: Image) -> str:
    return f"{len(image.cell)} voxels, {fixed(float(image.energy.sum()), 1)} MeV"


def _change(shifted: Image, nominal: Image) -> str:
    before, after = float(nominal.energy.sum()), float(shifted.energy.sum())
    percent = f"{fixed(100 * (after / before - 1), 2, sign=True)} % energy" if before else ""
    return f"{len(shifted.cell) - len(nominal.cell):+d} voxels, {percent}".replace("-", "−")
