"""Words that change the templates of a finished run: ``templates.*`` and ``exposure.*``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hydra.core.override_parser.types import Override

from shiftlab.config.records import Reader
from shiftlab.config.words import parse_word
from shiftlab.errors import ConfigError
from shiftlab.templates.settings import TemplateSettings

__all__ = ["template_words"]

_ALLOWED: Final = ("templates", "exposure")


def template_words(record: Mapping[str, Any], words: Sequence[str]) -> tuple[TemplateSettings, dict[str, float]]:
    """Return the settings and the exposure of a run, changed by ``words``, say ``["templates.bins=4"]``.

    As in the run, the partition over channels goes by the run's seed, unless a word says otherwise.

    Args:
        record: ingredients of the run as plain values: ``templates``, ``exposure``, ``seed``.
        words: as typed.

    Raises:
        ConfigError: something is wrong; the message has every mistake, one a line.
    """
    mistakes: list[str] = []
    plain: dict[str, Any] = {
        "templates": dict(record.get("templates", {})) | {"partition_seed": record.get("seed", 0)},
        "exposure": dict(record.get("exposure", {})),
    }
    for word in words:
        override = parse_word(word, mistakes)
        if override is not None:
            _set(plain, override, mistakes)
    settings = Reader(mistakes, Path).record(TemplateSettings, plain["templates"], "templates")
    exposure = {str(name): _events(str(name), value, mistakes) for name, value in plain["exposure"].items()}
    if mistakes or settings is None:
        raise ConfigError("\n".join(mistakes))
    return settings, exposure


def _set(plain: dict[str, Any], override: Override, mistakes: list[str]) -> None:
    key = override.key_or_group
    first, *path = key.split(".")
    if override.is_sweep_override():
        mistakes.append(f"{key}: several values cannot be given here; brackets make a list.")
    elif first not in _ALLOWED or not path:
        mistakes.append(
            f"{key}: cannot be changed after the run. Allowed: templates.KEY=VALUE, exposure.SAMPLE=EVENTS."
        )
    else:
        place = plain[first]
        for part in path[:-1]:
            inner = place.get(part)
            place[part] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[part]
        place[path[-1]] = None if override.is_delete() else _plain(override.value())


def _plain(value: Any) -> Any:
    """Return Hydra's value with text for its quoted strings."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(getattr(value, "text", value))


def _events(name: str, value: object, mistakes: list[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        mistakes.append(f"exposure.{name}: {value!r} is given; a number of events is wanted.")
        return 0.0
    return float(value)
