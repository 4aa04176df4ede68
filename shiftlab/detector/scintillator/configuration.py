"""The settings of a scintillator detector from plain values, every key and number checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from shiftlab.detector.configuration import allowed_pairs, chosen_effects
from shiftlab.detector.effect import Effect
from shiftlab.detector.scintillator.response import Response, Toy
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["Settings", "refuse_unknown", "settings", "whole"]

_Record = TypeVar("_Record", StripGeometry, Response, Toy)


class Settings(NamedTuple):
    """What a detector is made of, in the order of ``ScintillatorDetector``'s arguments."""

    name: str
    geometry: StripGeometry
    response: Response
    toy: Toy
    seed: int
    effects: tuple[Effect[Any], ...]
    allow_double_counting: bool | tuple[str, ...]


def settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings of a configuration (``configs/detector/minerva_like.yaml``).

    Keys: ``name``; ``seed``; ``geometry``, ``response`` and ``toy``, with the fields of ``StripGeometry``,
    ``Response`` and ``Toy``; what is left out keeps its default. ``effects`` and ``allow_double_counting`` as for
    every detector (``shiftlab.detector.configuration``); without ``effects`` there are none.

    Raises:
        ConfigError: a key or value is not allowed; the message names it.
    """
    refuse_unknown(
        "detector", config, ("name", "seed", "geometry", "response", "toy", "effects", "allow_double_counting")
    )
    return Settings(
        name=str(config.get("name", "minerva_like")),
        geometry=_record("detector.geometry", StripGeometry(), config.get("geometry", {})),
        response=_record("detector.response", Response(), config.get("response", {})),
        toy=_record("detector.toy", Toy(), config.get("toy", {})),
        seed=whole("detector.seed", config.get("seed", 1)),
        effects=chosen_effects(config),
        allow_double_counting=allowed_pairs(config),
    )


def whole(place: str, value: Any) -> int:
    """Return a whole number.

    Raises:
        ConfigError: ``value``, given at ``place``, is none.
    """
    number: int = _value(place, 1, value)
    return number


def _record(place: str, default: _Record, given: Any) -> _Record:
    """Return ``default`` with the given fields changed, each of the type that it had."""
    refuse_unknown(place, given, [one.name for one in dataclasses.fields(default)])
    changed = {key: _value(f"{place}.{key}", getattr(default, key), value) for key, value in given.items()}
    try:
        return dataclasses.replace(default, **changed)
    except ConfigError as error:
        raise ConfigError(f"detector.{error}") from error


def _value(place: str, default: Any, value: Any) -> Any:
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ConfigError(f"{place} = {value!r} must be a word.")
        return value
    if isinstance(default, tuple):
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != len(default):
            raise ConfigError(f"{place} = {value!r} must be {len(default)} numbers.")
        return tuple(_value(place, 0.0, one) for one in value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place} = {value!r} is not a number.") from error
    if not math.isfinite(number):
        raise ConfigError(f"{place} = {value!r} must be finite.")
    if isinstance(default, int):
        if number != int(number):
            raise ConfigError(f"{place} = {value!r} is not a whole number.")
        return int(number)
    return number


def refuse_unknown(place: str, given: Any, allowed: Iterable[str]) -> None:
    """Refuse what is no mapping, or has keys that are not allowed.

    Raises:
        ConfigError: naming the place, the key and what is allowed.
    """
    names = list(allowed)
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place} = {given!r} must be a mapping with keys among {', '.join(sorted(names))}.")
    for key in given:
        if key not in names:
            raise UnknownNameError(f"key of {place}", str(key), names)
