"""Rules on how a workspace is put together: lengths, repeats, and names that mean two things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.view import View

__all__ = ["RULES"]

_ALIKE = frozenset({"histosys", "normsys"})


def _malformed(view: View) -> Iterator[Fault]:
    yield from view.faults.get("malformed", ())


def _wrong_length(view: View) -> Iterator[Fault]:
    yield from view.faults.get("wrong_length", ())


def _repeats(names: list[str]) -> list[tuple[str, int]]:
    return [(name, number) for name, number in Counter(names).items() if number > 1]


def _duplicate_name(view: View) -> Iterator[Fault]:
    for name, number in _repeats([channel.name for channel in view.channels]):
        yield Fault(f"{number} channels have this name.", name)
    for name, number in _repeats(list(view.observations)):
        yield Fault(f"{number} observations have this name.", name)
    for name, number in _repeats([one.name for one in view.measurements]):
        yield Fault(f"{number} measurements have the name '{name}'.")
    for channel in view.channels:
        for name, number in _repeats([sample.name for sample in channel.samples]):
            yield Fault(f"{number} samples of the channel have this name.", channel.name, name)


def _duplicate_modifier(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for (name, kind), number in Counter(sample.listed).items():
            if number > 1:
                yield Fault(f"{number} {kind} modifiers have this name.", sample.channel, sample.name, name)


def _name_reuse(view: View) -> Iterator[Fault]:
    for name, parameter in view.parameters.items():
        if len(parameter.kinds) > 1 and not parameter.kinds <= _ALIKE:
            yield Fault(f"one name for {', '.join(sorted(parameter.kinds))}.", nuisance=name)
    for kind in ("shapesys", "shapefactor"):
        places: dict[str, list[tuple[str, int]]] = {}
        for channel in view.channels:
            for sample in channel.samples:
                for name, one in set(sample.listed):
                    if one == kind:
                        places.setdefault(name, []).append((channel.name, channel.bins))
        for name, found in places.items():
            if kind == "shapesys" and len(found) > 1:
                yield Fault(f"{len(found)} samples share a shapesys.", nuisance=name)
            elif len({bins for _, bins in found}) > 1:
                where = ", ".join(f"{channel} ({bins})" for channel, bins in dict(found).items())
                yield Fault(
                    f"a shapefactor is shared by channels of different numbers of bins: {where}.", nuisance=name
                )


RULES = (
    Rule("malformed", "error", "a part of the file has not the form of a workspace", "refused", _malformed),
    Rule(
        "wrong_length",
        "error",
        "sample, modifier or observation of another number of bins than the channel",
        "refused, the observation only when the likelihood is evaluated",
        _wrong_length,
    ),
    Rule(
        "duplicate_name",
        "error",
        "two channels, samples of a channel, observations or measurements of one name",
        "the last one counts, in silence",
        _duplicate_name,
    ),
    Rule(
        "duplicate_modifier",
        "error",
        "two modifiers of one name and type on a sample",
        "the last one counts, in silence (a shared shapesys is refused)",
        _duplicate_modifier,
    ),
    Rule(
        "name_reuse",
        "error",
        "one name for modifiers whose constraints or sizes differ; only normsys and histosys may share one",
        "refused",
        _name_reuse,
    ),
)
