"""Pictures of one effect on reconstructed tokens: an event nominal, shifted and their difference, and the response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from shiftlab.detector import NOMINAL, Universe, scintillator_detector
from shiftlab.detector.effect import effects
from shiftlab.detector.scintillator.stages import TOKEN_STAGES
from shiftlab.detector.scintillator.token_detector import TokenDetector
from shiftlab.errors import DataError
from shiftlab.events import Deposits, Tokens
from shiftlab.events.tokens import in_units
from shiftlab.report.show import write
from shiftlab.report.show_effect import STRENGTHS, Displacement, displacements, response_curve
from shiftlab.report.style import GREY, WIDTH, drawn

__all__ = ["Recorder", "recorder", "show_token_effect", "token_effect_figure"]

Floats = NDArray[np.float64]

_COLOURS: Final = ("#000000", "#CC79A7", "#0072B2", "#D55E00", "#E69F00", "#009E73", "#56B4E9", "#8C8C8C")
_TIMES: Final = {"mm/10000": ("mm", 1e4), "ns/10000": ("ns", 1e4)}
"""Units that are drawn in others: name and factor."""

_LOOKED_AT: Final = 100
"""Events among which the one that changes most is drawn, if any of them changes."""

_FEWEST: Final = 4
"""Tokens of the event that is drawn, at least, so that there is something to look at."""


@dataclass(frozen=True)
class Recorder:
    """One effect alone on a sample of events.

    Attributes:
        tokens: What the detector records in a universe.
        shown: What can be displaced.
    """

    tokens: Callable[[Universe], Tokens]
    shown: Sequence[Displacement]


def recorder(name: str, events: Deposits | Tokens) -> Recorder:
    """Return what records ``events`` with one effect of a scintillator tracker at its default priors.

    Raises:
        UnknownNameError: no effect has the name.
        ConfigError: the effect belongs to another kind of detector, or none of its parameters is uncertain.
        DataError: the effect acts before there are tokens, and the events are tokens.
    """
    kind = effects().get(name)
    if isinstance(events, Tokens):
        if kind.stage not in TOKEN_STAGES:
            raise DataError(f"effect {name} acts at stage '{kind.stage}', before there are tokens; it needs deposits.")
        alone = TokenDetector((kind(),))
        return Recorder(lambda universe: alone.record(events, universe), displacements(alone, name))
    plain = scintillator_detector("minerva_like")
    others = tuple(effect for effect in plain.effects if effect.name != name)
    tracker = replace(plain, effects=(*others, kind()), allow_double_counting=True)
    return Recorder(lambda universe: tracker.tokens(events, universe), displacements(tracker, name))


def show_token_effect(name: str, events: Deposits | Tokens, path: Path | str) -> Path:
    """Write a PNG of what one effect does to the tokens of one event, and to the sample as a whole.

    Raises:
        UnknownNameError, ConfigError, DataError: as for ``recorder``.
        RunError: the file cannot be written.
    """
    return write(token_effect_figure(recorder(name, events)), path)


@drawn
def token_effect_figure(given: Recorder) -> Figure:
    """Draw, per displacement, an event's token energies nominal and shifted, their difference, and the response."""
    nominal = in_units(given.tokens(NOMINAL), "MeV")
    figure = Figure(figsize=(WIDTH * 1.35, 3.2 * len(given.shown)))
    grid = figure.subplots(len(given.shown), 4, squeeze=False)
    for line, displacement in zip(grid, given.shown, strict=True):
        shifted = in_units(given.tokens(displacement.universe(displacement.strength)), "MeV")
        _event(line[:3], displacement, nominal, shifted)
        _response(line[3], given, displacement, nominal, shifted)
    handles = [
        Line2D([], [], linestyle="", marker="s", color=colour, label=kind.replace("_", " "))
        for kind, colour in zip(nominal.kinds, _COLOURS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@dataclass(frozen=True)
class _Quantity:
    """What is drawn of each token: its energy, or the column that changes most where no energy does.

    Attributes:
        column: Of the features.
        name: For titles.
        unit: Of the values.
        weights: Whether only events' weights change, so that their ratio is drawn instead of a difference.
    """

    column: str
    name: str
    unit: str
    weights: bool = False

    @classmethod
    def of(cls, nominal: Tokens, shifted: Tokens) -> _Quantity:
        energy = cls("log_E", "energy", "MeV")
        if len(nominal.particle) != len(shifted.particle):
            return energy
        change = (shifted.features - nominal.features).double().abs().numpy()
        if "log_E" not in nominal.columns or change[:, nominal.columns.index("log_E")].any():
            return energy  # where there is none, drawing it says so
        for angle in (i for i, unit in enumerate(nominal.units) if unit == "rad"):
            change[:, angle] = np.minimum(change[:, angle], 2 * np.pi - change[:, angle])
        if not change.any():
            return replace(energy, weights=bool((nominal.events.weight != shifted.events.weight).any()))
        spread = nominal.features.double().std(dim=0).numpy()
        most = int((change.mean(axis=0) / np.maximum(spread, 1e-12)).argmax())
        name, unit = nominal.columns[most], nominal.units[most]
        return cls(name, name, _TIMES.get(unit, (unit, 1.0))[0])

    def of_tokens(self, tokens: Tokens) -> Floats:
        """Return float64 (token,), in ``unit``; energies that the file does not give are 0."""
        if self.column == "log_E":
            return _energy(tokens)
        place = tokens.columns.index(self.column)
        factor = _TIMES.get(tokens.units[place], ("", 1.0))[1]
        return np.asarray(factor * tokens.features[:, place].double().numpy())

    def change(self, nominal: Floats, shifted: Floats) -> Floats:
        """Return float64 (token,): shifted less nominal; of angles, the short way round."""
        difference = shifted - nominal
        return np.asarray((difference + np.pi) % (2 * np.pi) - np.pi if self.unit == "rad" else difference)

    @property
    def label(self) -> str:
        """Name and unit, for an axis."""
        return self.name if self.unit == "1" else f"{self.name} / {self.unit}"


def _event(line: Sequence[Axes], displacement: Displacement, nominal: Tokens, shifted: Tokens) -> None:
    """Draw the tokens of one event that changes, by place in the event."""
    quantity = _Quantity.of(nominal, shifted)
    number = _chosen(nominal, shifted, quantity)
    one, other = nominal.take([number]), shifted.take([number])
    values = [quantity.of_tokens(tokens) for tokens in (one, other)]
    rows = max(len(value) for value in values)
    for axes, tokens, value in zip(line[:2], (one, other), values, strict=True):
        colours = [_COLOURS[int(kind) % len(_COLOURS)] for kind in tokens.particle]
        axes.bar(range(len(value)), value, color=colours)
        axes.set_ylabel(f"{quantity.label}, by token")
        axes.set_xlim(-0.7, max(rows, 1) - 0.3)
        axes.set_xlabel("token, by place in the event")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _same_heights(line[:2], values, logarithmic=quantity.column == "log_E")
    if quantity.weights:
        _ratios(line[2], nominal, shifted)
    else:
        _difference(line[2], (one, other), values, quantity)
    energies = [_energy(tokens) for tokens in (one, other)]
    line[0].set_title(f"{displacement.name}\nnominal: {displacement.nominal}, event {number}")
    line[1].set_title(f"{displacement.label}\n{len(energies[1])} tokens, {energies[1].sum():.1f} MeV")
    line[2].set_title(_said(one, other, energies))


def _same_heights(both: Sequence[Axes], values: Sequence[Floats], *, logarithmic: bool) -> None:
    """Give two panels one scale."""
    drawn_values = np.concatenate([value[value > 0] if logarithmic else value for value in values])
    low, high = (drawn_values.min(), drawn_values.max()) if len(drawn_values) else (1.0, 10.0)
    for axes in both:
        if logarithmic:
            axes.set_yscale("log")
            axes.set_ylim(0.5 * low, 2.0 * high)
        else:
            edge = 0.08 * max(high, 0.0) - 0.08 * min(low, 0.0) or 1.0
            axes.set_ylim(min(low, 0.0) - edge, max(high, 0.0) + edge)
            axes.axhline(0.0, color="0.6", linewidth=0.8)


def _ratios(axes: Axes, nominal: Tokens, shifted: Tokens) -> None:
    """Draw how events' weights change, over the sample."""
    weights = nominal.events.weight.double().numpy()
    ratio = shifted.events.weight.double().numpy()[weights != 0] / weights[weights != 0]
    axes.hist(ratio, bins=30 if ratio.max() - ratio.min() > 1e-6 else [0.99 * ratio[0], 1.01 * ratio[0]], color=GREY)
    axes.set_xlabel("weight, shifted over nominal")
    axes.set_ylabel(f"events of {len(nominal)}")
    axes.ticklabel_format(axis="x", useOffset=False)


def _difference(axes: Axes, tokens: Sequence[Tokens], values: Sequence[Floats], quantity: _Quantity) -> None:
    """Draw the difference token by token, or kind by kind where tokens come, go or change places."""
    kinds = [one.particle.numpy() for one in tokens]
    if len(kinds[0]) == len(kinds[1]) and bool((kinds[0] == kinds[1]).all()):
        difference = quantity.change(values[0], values[1])
        axes.set_xlabel("token, by place in the event")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        names = tokens[0].kinds
        pairs = zip(kinds, values, strict=True)
        sums = [np.asarray(np.bincount(kind, value, len(names)), dtype=np.float64) for kind, value in pairs]
        seen = np.flatnonzero(sums[0] + sums[1])
        difference = (sums[1] - sums[0])[seen]
        axes.set_xticks(range(len(seen)), [names[i].replace("_", "\n") for i in seen])
        axes.set_xlabel("all tokens of a kind")
    axes.bar(range(len(difference)), difference, color=np.where(difference > 0, "#B2182B", "#2166AC").tolist())
    axes.set_xlim(-0.7, max(len(difference), 1) - 0.3)
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.set_ylabel(f"difference of {quantity.label}")
    if not difference.any():
        axes.set_ylim(-1.0, 1.0)
        axes.text(0.5, 0.6, "no token of this sample changes", ha="center", transform=axes.transAxes)


def _said(one: Tokens, other: Tokens, energies: Sequence[Floats]) -> str:
    """Say what of the event changes."""
    more = f"{len(energies[1]) - len(energies[0]):+d} tokens, {energies[1].sum() - energies[0].sum():+.2f} MeV"
    weights = [float(tokens.events.weight[0]) for tokens in (one, other)]
    if weights[0] != weights[1]:
        more = f"weight × {weights[1] / weights[0]:.4f}" if weights[0] else "weight changes"
    moved = int((one.globals != other.globals).sum())
    said = f"shifted less nominal: {more}\n{moved} of {one.globals.shape[1]} event quantities change"
    return said.replace("-", "−")


def _chosen(nominal: Tokens, shifted: Tokens, quantity: _Quantity) -> int:
    """Return the event of a few tokens that changes most among the first that change, else the first such event.

    Energies count first, then the number of tokens, then weights, then what else is drawn.
    """
    total = [_per_event(tokens) for tokens in (nominal, shifted)]
    change = np.abs(total[1] - total[0]) / np.maximum(total[0], 1.0)
    both = (nominal, shifted)
    for pair in ([one.counts.double().numpy() for one in both], [one.events.weight.double().numpy() for one in both]):
        if not change.any():
            change = np.abs(pair[1] - pair[0])
    if not change.any():
        moved = np.abs(quantity.change(quantity.of_tokens(nominal), quantity.of_tokens(shifted)))
        change = np.asarray(np.bincount(nominal.event_index.numpy(), moved, len(nominal)), dtype=np.float64)
    enough = np.flatnonzero(nominal.counts.numpy() >= _FEWEST)
    if not len(enough):
        return 0
    first = enough[enough <= _LOOKED_AT] if change[enough[enough <= _LOOKED_AT]].any() else enough
    return int(first[change[first].argmax()])


def _energy(tokens: Tokens) -> Floats:
    """Return float64 (token,), MeV; the format's logarithm has a floor of 1e-6 MeV."""
    if "log_E" not in tokens.columns:
        raise DataError(f"tokens have no column log_E to draw; they have {', '.join(tokens.columns)}.")
    energy = np.exp(tokens.column("log_E").double().numpy()) - 1e-6
    return np.asarray(np.where(tokens.valid[:, tokens.columns.index("log_E")].numpy(), energy, 0.0))


def _per_event(tokens: Tokens) -> Floats:
    return np.asarray(np.bincount(tokens.event_index.numpy(), _energy(tokens), len(tokens)), dtype=np.float64)


def _response(axes: Axes, given: Recorder, displacement: Displacement, nominal: Tokens, shifted: Tokens) -> None:
    """Draw against the parameter the change of the sample's energy, tokens and weight, or of what else changes."""
    quantity = _Quantity.of(nominal, shifted)
    weight, before = nominal.events.weight.double(), quantity.of_tokens(nominal)
    share = f"change of {len(nominal)} events / %"

    def measure(strength: float) -> dict[str, float]:
        tokens = in_units(given.tokens(displacement.universe(strength)), "MeV")
        shared = (tokens.events.weight.double() / weight).mean()
        energy = _per_event(tokens).sum() / _per_event(nominal).sum()
        values = {"energy": energy, "tokens": len(tokens.particle) / len(nominal.particle), "weight": float(shared)}
        return {name: 100.0 * (value - 1.0) for name, value in values.items()}

    def moved(strength: float) -> dict[str, float]:
        tokens = in_units(given.tokens(displacement.universe(strength)), "MeV")
        change = quantity.change(before, quantity.of_tokens(tokens))
        return {f"mean of {len(before)} tokens": float(change.mean()), "rms": float(np.sqrt((change**2).mean()))}

    if quantity.column == "log_E":
        response_curve(axes, displacement, measure, share, STRENGTHS)
    else:
        response_curve(axes, displacement, moved, f"change of {quantity.label}", STRENGTHS)
