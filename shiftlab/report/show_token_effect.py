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
from shiftlab.report.style import WIDTH, drawn

__all__ = ["Recorder", "recorder", "show_token_effect", "token_effect_figure"]

Floats = NDArray[np.float64]

_COLOURS: Final = ("#000000", "#CC79A7", "#0072B2", "#D55E00", "#E69F00", "#009E73", "#56B4E9", "#8C8C8C")
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
        _response(line[3], given, displacement, nominal)
    handles = [
        Line2D([], [], linestyle="", marker="s", color=colour, label=kind.replace("_", " "))
        for kind, colour in zip(nominal.kinds, _COLOURS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _event(line: Sequence[Axes], displacement: Displacement, nominal: Tokens, shifted: Tokens) -> None:
    """Draw the tokens of one event that changes, by rank in energy."""
    number = _chosen(nominal, shifted)
    one, other = nominal.take([number]), shifted.take([number])
    energies = [_energy(tokens) for tokens in (one, other)]
    rows = max(len(energy) for energy in energies)
    for axes, tokens, energy in zip(line[:2], (one, other), energies, strict=True):
        colours = [_COLOURS[int(kind) % len(_COLOURS)] for kind in tokens.particle]
        axes.bar(range(len(energy)), energy, color=colours)
        axes.set_yscale("log")
        axes.set_ylabel("energy of a token / MeV")
    low = min((float(energy.min()) for energy in energies if len(energy)), default=1.0)
    high = max((float(energy.max()) for energy in energies if len(energy)), default=10.0)
    for axes in line[:2]:
        axes.set_ylim(0.5 * low, 2.0 * high)
    _difference(line[2], (one, other), energies)
    line[2].axhline(0.0, color="0.6", linewidth=0.8)
    line[2].set_ylabel("difference / MeV")
    for axes in line[:2]:
        axes.set_xlim(-0.7, max(rows, 1) - 0.3)
        axes.set_xlabel("token, by place in the event")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    weights = [float(tokens.events.weight[0]) for tokens in (one, other)]
    unit = "" if displacement.parameter.unit in ("", "1") else f" {displacement.parameter.unit}"
    line[0].set_title(f"{displacement.name}\nnominal: {displacement.nominal}{unit}, event {number}")
    line[1].set_title(f"{displacement.label}{unit}\n{len(energies[1])} tokens, {energies[1].sum():.1f} MeV")
    line[2].set_title(_said(one, other, energies, weights))


def _difference(axes: Axes, tokens: Sequence[Tokens], energies: Sequence[Floats]) -> None:
    """Draw the difference token by token, or kind by kind where tokens come, go or change places."""
    kinds = [one.particle.numpy() for one in tokens]
    if len(kinds[0]) == len(kinds[1]) and bool((kinds[0] == kinds[1]).all()):
        difference = energies[1] - energies[0]
        axes.set_xlabel("token, by place in the event")
    else:
        names = tokens[0].kinds
        pairs = zip(kinds, energies, strict=True)
        sums = [np.asarray(np.bincount(kind, energy, len(names)), dtype=np.float64) for kind, energy in pairs]
        seen = np.flatnonzero(sums[0] + sums[1])
        difference = (sums[1] - sums[0])[seen]
        axes.set_xticks(range(len(seen)), [names[i].replace("_", "\n") for i in seen])
        axes.set_xlabel("all tokens of a kind")
    axes.bar(range(len(difference)), difference, color=np.where(difference > 0, "#B2182B", "#2166AC").tolist())
    axes.set_xlim(-0.7, max(len(difference), 1) - 0.3)


def _said(one: Tokens, other: Tokens, energies: Sequence[Floats], weights: Sequence[float]) -> str:
    """Say what of the event changes."""
    parts = [f"{len(energies[1]) - len(energies[0]):+d} tokens", f"{energies[1].sum() - energies[0].sum():+.2f} MeV"]
    if weights[0] != weights[1]:
        parts = [f"weight × {weights[1] / weights[0]:.4f}" if weights[0] else "weight changes"]
    moved = int((one.globals != other.globals).sum())
    return f"shifted less nominal: {', '.join(parts)}\n{moved} of {one.globals.shape[1]} event quantities change"


def _chosen(nominal: Tokens, shifted: Tokens) -> int:
    """Return the first event of a few tokens that changes most of all among the first that change, else the first."""
    best, most = 0, -1.0
    total = [_per_event(tokens) for tokens in (nominal, shifted)]
    enough = nominal.counts >= _FEWEST
    for number in range(len(nominal)):
        if not bool(enough[number]):
            continue
        change = abs(total[1][number] - total[0][number]) / max(total[0][number], 1.0)
        if change > most + 1e-12:
            best, most = number, change
        if number > 100 and most > 0:
            break
    return best


def _energy(tokens: Tokens) -> Floats:
    """Return float64 (token,), MeV; the format's logarithm has a floor of 1e-6 MeV."""
    if "log_E" not in tokens.columns:
        raise DataError(f"tokens have no column log_E to draw; they have {', '.join(tokens.columns)}.")
    energy = np.exp(tokens.column("log_E").double().numpy()) - 1e-6
    return np.asarray(np.where(tokens.valid[:, tokens.columns.index("log_E")].numpy(), energy, 0.0))


def _per_event(tokens: Tokens) -> Floats:
    return np.asarray(np.bincount(tokens.event_index.numpy(), _energy(tokens), len(tokens)), dtype=np.float64)


def _response(axes: Axes, given: Recorder, displacement: Displacement, nominal: Tokens) -> None:
    """Draw the change of the sample's energy, tokens, position and weight against the parameter."""
    weight = nominal.events.weight.double()

    def measure(strength: float) -> dict[str, float]:
        tokens = in_units(given.tokens(displacement.universe(strength)), "MeV")
        shared = (tokens.events.weight.double() / weight).mean()
        energy = _per_event(tokens).sum() / _per_event(nominal).sum()
        values = {"energy": energy, "tokens": len(tokens.particle) / len(nominal.particle), "weight": float(shared)}
        return {name: 100.0 * (value - 1.0) for name, value in values.items()}

    response_curve(axes, displacement, measure, f"change of {len(nominal)} events / %", STRENGTHS)
