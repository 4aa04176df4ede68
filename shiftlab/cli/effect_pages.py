"""The catalogue of effects as a page of the documentation, written from the registry."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shiftlab.detector import Effect, Parameter

__all__ = ["catalogue_page"]

_ROOMS: Final = {
    "charge": "Charge generation",
    "transport": "Transport",
    "readout": "Read-out",
    "pathology": "Pathology",
    "calibration": "Calibration",
    "scintillator": "Scintillator",
    "tokens": "Reconstructed tokens",
    "generation": "Generation",
}

_HEAD: Final = """\
# The catalogue of effects

This page is written by `shiftlab list effects --markdown`; `shiftlab show effect NAME` draws one.

Every nuisance is a parameter's displacement in units of its sigma, and is called `{effect}_{parameter}`. Priors are
what is left after calibration. The letters behind a source are its confidence grade: A read or computed, B quoted from
a paper, C a judgement to be confirmed. *Identity* is the value at which the effect leaves its input untouched. An
effect is in a detector when the detector's configuration names it; a pair that double counts is refused unless
`detector.allow_double_counting` names it.
"""


def catalogue_page(kinds: Iterable[type[Effect[Any]]]) -> str:
    """Return the page as Markdown: effects by room of the catalogue, in order of their names."""
    rooms: dict[str, list[type[Effect[Any]]]] = {}
    for kind in kinds:
        rooms.setdefault(kind.__module__.split(".")[1], []).append(kind)
    total = sum(len(room) for room in rooms.values())
    parts = [_HEAD, f"There are {total} effects.\n"]
    for room in sorted(rooms, key=lambda name: (name not in _ROOMS, list(_ROOMS).index(name) if name in _ROOMS else 0)):
        parts.append(f"## {_ROOMS.get(room, room.capitalize())}\n")
        parts += [_effect(kind) for kind in rooms[room]]
    return "\n".join(parts)


def _effect(kind: type[Effect[Any]]) -> str:
    shifts = f", shifts {' '.join(kind.catalogue)}" if kind.catalogue else ""
    readout = "" if kind.readout == "any" else f", {kind.readout} only"
    about = _sentence(inspect.getdoc(kind) or "")
    lines = [f"### {kind.name}\n", f"{about}\n", f"Stage `{kind.stage}`{shifts}{readout}.\n"]
    lines += ["| parameter | nominal | one sigma | identity | bounds | unit | acts | what and whence |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    choices = {one.name: one.choices for one in kind.parameters}
    lines += [_row(one, choices) for one in kind.parameters]
    pairs = [f"`{kind.name}_{own}` with `{other}`: {reason}" for own, other, reason in kind.double_counts]
    if pairs:
        lines += ["", "Double counts: " + "; ".join(pairs) + "."]
    return "\n".join([*lines, ""])


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n", 1)[0].split())


def _row(one: Parameter, choices: Mapping[str, tuple[str, ...]]) -> str:
    source = f"{one.source.rstrip('.')} ({one.confidence})"
    cells = (
        one.name,
        _value(one, one.nominal),
        _sigma(one),
        _identity(one),
        _bounds(one),
        _unit(one),
        " ".join(_acts(one, choices)),
    )
    return "| " + " | ".join(_plain(cell) for cell in (*cells, f"{one.doc} {source}.")) + " |"


def _plain(text: str) -> str:
    """Keep a cell in its column."""
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "∞"


def _value(one: Parameter, value: float) -> str:
    return f"`{one.choices[int(value)]}`" if one.choices else _number(value)


def _sigma(one: Parameter) -> str:
    if one.choices:
        return "choice of " + ", ".join(f"`{name}`" for name in one.choices)
    if one.sigma == 0:
        return "fixed"
    return f"{100 * one.sigma:g} %" if one.scale == "log" else _number(one.sigma)


def _identity(one: Parameter) -> str:
    return "" if one.identity is None else _number(one.identity)


def _bounds(one: Parameter) -> str:
    return "" if one.choices else " to ".join(_number(bound) for bound in one.bounds)


def _unit(one: Parameter) -> str:
    return "" if one.unit == "1" or one.choices else one.unit


def _acts(one: Parameter, choices: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield f"per {one.scope}"
    if not one.two_sided and not one.choices:
        yield "one-sided"
    if one.requires is not None:
        name, value = one.requires
        yield f"where {name} is " + (f"`{choices[name][int(value)]}`" if choices[name] else f"{value:g}")
