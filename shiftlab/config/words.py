"""The ``key=value`` words of a command line, read against the configuration folder before Hydra sees them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from shiftlab.errors import UnknownNameError

__all__ = ["combinations", "config_dir", "options", "parse_word", "read_words", "single_values"]

_NAMED = ("arms", "tasks")
"""Groups where a registered name may stand for an option: ``arms=classic`` is ``arms.names=[classic]``."""

_SWEPT = ("arms", "data", "study")
"""The outer grid; universes are looped inside a job, which shares the nominal pass."""


def config_dir() -> Path:
    """Return the configuration folder: the wheel's copy, else the checkout's."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def options(group: str) -> tuple[str, ...]:
    """Return the names of a configuration group's files, sorted."""
    return tuple(sorted(path.stem for path in (config_dir() / group).glob("*.yaml")))


def parse_word(word: str, mistakes: list[str]) -> Override | None:
    """Return ``key=value`` as Hydra understands it; None, with a message in ``mistakes``, if it does not."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        mistakes.append(f"'{word}' is given; key=value is wanted (quote values with spaces or brackets).")
        return None


def single_values(words: Sequence[str], mistakes: list[str]) -> Iterator[tuple[str, Any]]:
    """Give each key with its one value; sweeps, deletions and a key's second value become messages in ``mistakes``."""
    given: set[str] = set()
    for word in words:
        override = parse_word(word, mistakes)
        if override is None:
            continue
        key = override.key_or_group
        if override.is_sweep_override() or override.is_delete():
            mistakes.append(f"'{word}' is given; one value is wanted (brackets make a list).")
        elif key in given:
            mistakes.append(f"{key}: given twice.")
        else:
            given.add(key)
            yield key, override.value()


def read_words(words: Sequence[str], mistakes: list[str], *, sweep: bool = False) -> list[str]:
    """Return the words in the form that Hydra accepts, without those that are wrong.

    Args:
        words: As typed, say ``study=demo`` or ``injected.gain_scale=1``.
        mistakes: Gets one message for each wrong word.
        sweep: Whether several values, ``data.limit=10,20``, make several runs.
    """
    kept: list[str] = []
    for word in words:
        override = parse_word(word, mistakes)
        if override is None:
            continue
        known = len(mistakes)
        root = override.key_or_group.split(".")[0]
        if override.is_sweep_override() and not sweep:
            mistakes.append(f"{override.key_or_group}: several values need -m, or brackets for a list.")
        elif override.is_sweep_override() and root not in _SWEPT:
            mistakes.append(f"{override.key_or_group}: cannot be swept. Allowed: {', '.join(_SWEPT)}.")
        accepted = _accepted(override, mistakes)
        if len(mistakes) == known:
            kept.append(accepted)
    if not any(word.startswith("study=") for word in words):
        mistakes.append(f"study: missing; say study=NAME. Allowed: {', '.join(options('study'))}.")
    return kept


def combinations(words: Sequence[str]) -> list[list[str]]:
    """Return the words of each single run of a sweep."""
    axes: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(list(words)):
        if override.is_sweep_override():
            prefix = str(override.input_line).split("=", 1)[0]
            axes.append([f"{prefix}={value}" for value in override.sweep_string_iterator()])
        else:
            axes.append([str(override.input_line)])
    return [list(choice) for choice in itertools.product(*axes)]


def _accepted(override: Override, mistakes: list[str]) -> str:
    """Return the word for Hydra; keys are set whether they exist or not, for the records know what exists."""
    key, line = override.key_or_group, str(override.input_line)
    if key.startswith("hydra"):
        return line
    if not (config_dir() / key).is_dir():
        return line if override.is_delete() else "++" + line.lstrip("+")
    values = _values(override)
    unknown = [value for value in values if value not in options(key)]
    if unknown and key in _NAMED:
        chosen = list(override.sweep_string_iterator()) if override.is_sweep_override() else [line.split("=", 1)[1]]
        lists = [text if text.startswith("[") else f"[{text}]" for text in chosen]
        return f"++{key}.names={','.join(lists)}"
    mistakes += [str(UnknownNameError(key, value, options(key))) for value in unknown]
    return line


def _values(override: Override) -> list[str]:
    """Return the option names that a group's word chooses."""
    if override.is_sweep_override():
        return [value.strip() for value in override.sweep_string_iterator()]
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
