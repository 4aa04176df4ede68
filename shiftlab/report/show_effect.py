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
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from shiftlab.detector import Detector, Effect, Nuisance, Parameter, Prepared, Universe
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, effects
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import Deposits, Image
from shiftlab.report.effect_event import View, changes, telling_event
from shiftlab.report.show import draw_pixels, energy_scale, pick, plain_ticks, write
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

_NOTHING: Final = 1e-9
"""Largest change, in per cent or the unit of what is drawn, that counts as none."""

_LINES: Final = ("#0072B2", "#D55E00", "#009E73")


@dataclass(frozen=True)
class Displacement:
    """One parameter that is displaced.

    Attributes:
        name: Of the nuisance, ``{effect}_{parameter}``.
        parameter: The parameter.
        strength: The displacement that is drawn: +1 sigma, or steps to another choice.
        beside: Nuisances at +1 sigma in all that is drawn, for a choice that means nothing without them.
    """

    name: str
    parameter: Parameter
    strength: float
    beside: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What is drawn as shifted: its strength and physical value, or the chosen model."""
        value = self._said(self.parameter.value(self.strength))
        return value if self.parameter.choices else f"+1σ: {value}"

    @property
    def nominal(self) -> str:
        """The nominal value, or the nominal model."""
        return self._said(self.parameter.nominal)

    def universe(self, strength: float) -> Universe:
        """Return the universe with this displacement, and one sigma of what is displaced beside it."""
        return Universe(f"{self.name}{strength:+g}", ((self.name, strength), *((name, 1.0) for name in self.beside)))

    def _said(self, value: float) -> str:
        if self.parameter.choices:
            return self.parameter.choices[int(value)]
        unit = "" if self.parameter.unit in ("", "1") else f" {self.parameter.unit}"
        return f"{value:.4g}{unit}".replace("-", "−")


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

    Where ``n`` does not name the event, it is the first nue CC one, or another one if more is seen there. An effect
    that the detector does not have is added to it at its default priors.

    Raises:
        UnknownNameError: there is no effect of that name.
        ConfigError: no parameter of the effect is uncertain, or it belongs to another kind of detector.
        DataError: there is no such event, or it has no deposits.
        RunError: the file cannot be written.
    """
    detector = with_effect(detector, effect_name)
    shown = displacements(detector, effect_name)
    if n is None:
        n = telling_event(detector, deposits, [one.universe(one.strength) for one in shown])
    if deposits.direction is None:
        detector = replace(detector, directions="local")  # a law that asks for them can then be drawn
    return write(effect_figure(pick(deposits, n), detector, shown), path)


@drawn
def effect_figure(deposits: Deposits, detector: Detector, shown: Sequence[Displacement]) -> Figure:
    """Draw, per displacement, the nominal and the shifted image, their difference, and the response curve."""
    prepared = detector.prepare(deposits)
    figure = Figure(figsize=(WIDTH * 1.35, 3.9 * len(shown)))
    grid = figure.subplots(len(shown), 4, squeeze=False)
    for line, displacement in zip(grid, shown, strict=True):
        try:
            pair = _Pair.of(detector, prepared, displacement, shown)
        except (ConfigError, DataError) as error:
            _refused(line, displacement, str(error))
            continue
        view = View.of(detector, deposits, pair.nominal, pair.shifted)
        _images(figure, line, view, pair)
        if detector.directions == "local" and "cosine" in _needed(detector, pair.displacement):
            line[1].set_title(f"directions of steps are estimated\n{line[1].get_title()}")
        _curve(line[3], view, detector, prepared, pair)
    return figure


def _needed(detector: Detector, displacement: Displacement) -> tuple[str, ...]:
    """Return the fields that the effects need in the universe that is drawn as shifted."""
    values = detector.values(displacement.universe(displacement.strength))
    return tuple(field for effect in detector.effects for field in effect.needed(values[effect.name]))


@dataclass(frozen=True)
class _Pair:
    """One event's images that are compared, and the displacement between them."""

    displacement: Displacement
    nominal: Image
    shifted: Image

    @classmethod
    def of(
        cls, detector: Detector, prepared: Prepared, displacement: Displacement, shown: Sequence[Displacement]
    ) -> _Pair:
        """Return the pair; a choice that changes nothing is shown beside one sigma of the effect's first nuisance."""

        def pair(one: Displacement) -> _Pair:
            images = [detector.image(prepared, one.universe(strength)) for strength in (0.0, one.strength)]
            return cls(one, *images)

        found = pair(displacement)
        if displacement.parameter.choices and not changes(found.nominal, found.shifted):
            for other in (one.name for one in shown if not one.parameter.choices):
                with suppress(ConfigError, DataError):
                    return pair(replace(displacement, beside=(other,)))
        return found


def _images(figure: Figure, line: Sequence[Axes], view: View, pair: _Pair) -> None:
    """Draw two images with one energy scale, then the difference with a signed scale."""
    displacement = pair.displacement
    base, moved = view.project(pair.nominal), view.project(pair.shifted)
    norm = energy_scale([base, moved])
    for axes, values in zip(line[:2], (base, moved), strict=True):
        filled = draw_pixels(axes, view.window, 2, 0, values, norm, "viridis")
        _bar(figure, filled, axes, f"energy / MeV per {view.unit}")
    if (moved != base).any():
        signed = _signed_scale(moved - base)
        changed = draw_pixels(line[2], view.window, 2, 0, moved - base, signed, DIVERGING)
        _bar(figure, changed, line[2], f"difference / MeV per {view.unit}")
    else:
        line[2].text(0.5, 0.5, "nothing changes in this view", ha="center", transform=line[2].transAxes)
    for axes in line[:3]:
        view.frame(axes)
    for axes in line[1:3]:
        axes.set_ylabel("")
    beside = f"\nwith {', '.join(displacement.beside)} at +1σ" if displacement.beside else ""
    before, after = view.seen(pair.nominal), view.seen(pair.shifted)
    title = f"{displacement.name}{beside}\nnominal: {displacement.nominal}\n{_sum(*before, view.cells)}"
    line[0].set_title(title)
    line[1].set_title(f"{displacement.label}\n{_sum(*after, view.cells)}")
    line[2].set_title(f"shifted less nominal\n{_change(before, after, view.cells)}")


def _curve(axes: Axes, view: View, detector: Detector, prepared: Prepared, pair: _Pair) -> None:
    """Draw the change of the event's energy, its cells and its place against the parameter."""
    displacement, before = pair.displacement, view.seen(pair.nominal)
    images: dict[float, Image] = {0.0: pair.nominal}

    def image(strength: float) -> Image:
        if strength not in images:
            images[strength] = detector.image(prepared, displacement.universe(strength))
        return images[strength]

    def measure(strength: float) -> dict[str, float]:
        after = view.seen(image(strength))
        return {"energy": _percent(after[1], before[1]), view.cells: _percent(after[0], before[0])}

    response_curve(axes, displacement, measure, "change of the event / %", STRENGTHS)
    if view.plane is None and detector.moves(displacement.universe(displacement.strength)):
        right = axes.twinx()
        axes.set_zorder(right.get_zorder() + 1)
        axes.patch.set_visible(False)
        _place(right, displacement, images, detector.geometry.pitch)


def _place(axes: Axes, displacement: Displacement, images: Mapping[float, Image], pitch: float) -> None:
    """Draw how far the mean place of energy moves, on an axis of its own, where one sigma is a twentieth of a cell."""
    centres = {strength: _centre(image, pitch) for strength, image in images.items() if len(image.cell)}
    moved = {strength: centre - centres[0.0] for strength, centre in sorted(centres.items())}
    most = np.abs(moved.get(displacement.strength, np.zeros(3)))
    along = int(most.argmax())
    if most[along] < 0.05 * pitch:
        axes.remove()
        return
    places = [displacement.parameter.value(strength) for strength in moved]
    axes.plot(places, [one[along] for one in moved.values()], "--", color=GREY)
    axes.set_ylabel(f"dashed: mean {'xyz'[along]} of energy moves / cm", color=GREY)
    low, high = axes.get_ylim()
    axes.set_ylim(-max(-low, high), max(-low, high))


def _centre(image: Image, pitch: float) -> Floats:
    """Return float64 (3,), cm: the mean place of an image's energy."""
    index, energy = image.index.numpy(), image.energy.numpy().astype(np.float64)
    return np.asarray(pitch * (np.average(index, axis=0, weights=energy) + 0.5), dtype=np.float64)


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
        if max(abs(values[name]) for values in found.values()) < _NOTHING:
            continue  # a line at zero would hide, or be hidden by, another
        places = [parameter.value(strength) for strength in found]
        axes.plot(places, [found[strength][name] for strength in found], linestyle=line, color=colour)
        dots = [parameter.value(strength) for strength in marked]
        axes.plot(dots, [found[strength][name] for strength in marked], "o", color=colour, label=name)
    if not axes.get_lines():
        axes.set_ylim(-1.0, 1.0)
        axes.text(0.5, 0.6, "no change", ha="center", transform=axes.transAxes)
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
        axes.set_title(f"response (dots: one sigma{'' if parameter.two_sided else '; one-sided'})")
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="best", frameon=True, framealpha=0.8, edgecolor="none")


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
    if not isinstance(bar.norm, LogNorm):
        bar.locator = MaxNLocator(4)  # numbers of many digits would run into each other
        bar.update_ticks()


def _signed_scale(difference: Floats) -> Normalize:
    """Return a linear colour scale centred on zero that holds 98 % of the pixels that changed."""
    changed = np.abs(difference[difference != 0])
    limit = float(np.quantile(changed, 0.98)) if changed.size else 1.0
    return Normalize(-limit, limit)


def _sum(cells: int, energy: float, what: str) -> str:
    return f"{cells} {what}, {fixed(energy, 1)} MeV"


def _change(before: tuple[int, float], after: tuple[int, float], what: str) -> str:
    percent = f", {fixed(100 * (after[1] / before[1] - 1), 2, sign=True)} % energy" if before[1] else ""
    return f"{after[0] - before[0]:+d} {what}{percent}".replace("-", "−")
