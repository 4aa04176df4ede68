"""A detector's settings from the plain values of a configuration, every key and number checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from shiftlab.detector.directions import Directions
from shiftlab.detector.effect import SCINTILLATOR_STAGES, Effect, effects
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.parameter import Parameter
from shiftlab.detector.wires import WireGeometry
from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["Settings", "allowed_pairs", "chosen_effects", "settings"]


class Settings(NamedTuple):
    """What a detector is made of, in the order of ``Detector``'s arguments."""

    name: str
    geometry: Geometry
    effects: tuple[Effect[Any], ...]
    seed: int
    diffusion: tuple[float, float]
    allow_double_counting: bool | tuple[str, ...]
    directions: Directions


def settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings of the detector of a configuration (``configs/detector/*.yaml``).

    Keys: ``name``; ``seed``; ``geometry`` (``kind``: ``pixels`` or ``wires``, and fields of
    ``Geometry`` or ``WireGeometry``); ``diffusion`` (``longitudinal`` and
    ``transverse``, cm2/s); ``effects``, a mapping from effect to parameters, each a nominal value, the name
    of a choice, or a mapping with ``nominal``, ``sigma``, ``bounds``, ``source``, ``confidence``, and to the paths of
    its files, if it takes any;
    ``allow_double_counting``, pairs ``one+other`` of nuisances, or true; ``directions`` of steps, ``file`` or
    ``local``.

    Raises:
        ConfigError: a key or value is not allowed; the message names it.
    """
    if isinstance(config, Mapping) and "toy" in config:
        raise ConfigError(
            f"detector '{config.get('name')}' makes tokens, not images: `shiftlab record FILE OUT` uses it; "
            "a study takes a detector of images, say detector=pixel_lar."
        )
    _known(
        "detector", config, ("name", "seed", "geometry", "diffusion", "effects", "allow_double_counting", "directions")
    )
    chosen = chosen_effects(config)
    if chosen and all(effect.stage in SCINTILLATOR_STAGES for effect in chosen):
        raise ConfigError(
            f"detector '{config.get('name')}' shifts tokens, not images: `shiftlab record FILE OUT` uses it; "
            "a study takes a detector of images, say detector=pixel_lar."
        )
    constants = config.get("diffusion", {})
    _known("detector.diffusion", constants, ("longitudinal", "transverse"))
    return Settings(
        name=str(config.get("name", "detector")),
        geometry=_geometry(config.get("geometry", {})),
        effects=chosen,
        seed=_whole("detector.seed", config.get("seed", 1)),
        diffusion=(
            _number("detector.diffusion.longitudinal", constants.get("longitudinal", 4.0)),
            _number("detector.diffusion.transverse", constants.get("transverse", 8.8)),
        ),
        allow_double_counting=allowed_pairs(config),
        # The detector refuses any other word.
        directions=cast(Directions, str(config.get("directions", "file"))),
    )


def chosen_effects(config: Mapping[str, Any]) -> tuple[Effect[Any], ...]:
    """Return the effects of a detector's configuration, key ``effects``, in its order.

    Raises:
        ConfigError: an effect, parameter or value is not allowed; the message names it.
    """
    chosen = config.get("effects", {})
    if not isinstance(chosen, Mapping):
        raise ConfigError("detector.effects must map each effect's name to its parameters (or to nothing).")
    return tuple(_effect(str(key), values or {}) for key, values in chosen.items())


def allowed_pairs(config: Mapping[str, Any]) -> bool | tuple[str, ...]:
    """Return a configuration's ``allow_double_counting``: pairs ``one+other`` of nuisances, or True for all.

    Raises:
        ConfigError: it is neither.
    """
    value = config.get("allow_double_counting", ())
    if isinstance(value, bool):
        return value
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(str(one).count("+") == 1 for one in value):
        raise ConfigError(
            f"detector.allow_double_counting = {value!r} must be true, false, or pairs of nuisances such as "
            "[gain_scale+w_value_w]."
        )
    return tuple(str(one) for one in value)


def _geometry(values: Mapping[str, Any]) -> Geometry:
    if not isinstance(values, Mapping):
        raise ConfigError(f"detector.geometry = {values!r} must be a mapping.")
    given = dict(values)
    name = given.pop("kind", Geometry.readout)
    kinds = {kind.readout: kind for kind in (Geometry, WireGeometry)}
    if name not in kinds:
        raise UnknownNameError("detector.geometry.kind", str(name), kinds)
    default = kinds[name]()
    _known("detector.geometry", given, ["kind", *(field.name for field in dataclasses.fields(default))])
    changed: dict[str, Any] = {}
    for key, value in given.items():
        place, usual = f"detector.geometry.{key}", getattr(default, key)
        if isinstance(usual, tuple):
            if isinstance(value, str) or not isinstance(value, Sequence):
                what = "three numbers (x, y, z in cm)" if key == "size" else "numbers"
                raise ConfigError(f"{place} = {value!r} must be {what}.")
            changed[key] = tuple(_number(place, part) for part in value)
        else:
            changed[key] = _whole(place, value) if isinstance(usual, int) else _number(place, value)
    return dataclasses.replace(default, **changed)


def _effect(name: str, values: Mapping[str, Any]) -> Effect[Any]:
    kind = effects().get(name)
    own = {parameter.name: parameter for parameter in kind.parameters}
    _known(f"detector.effects.{name}", values, [*own, *kind.files])
    place = f"detector.effects.{name}"
    parameters = {key: _parameter(f"{place}.{key}", own[key], value) for key, value in values.items() if key in own}
    return kind(parameters, {key: _path(f"{place}.{key}", values[key]) for key in kind.files if values.get(key)})


def _path(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{place} = {value!r} must be the path of a file.")
    return value


def _parameter(place: str, default: Parameter, value: Any) -> Parameter:
    if not isinstance(value, Mapping):
        value = {"nominal": value}
    _known(place, value, ("nominal", "sigma", "bounds", "source", "confidence"))
    changed: dict[str, Any] = dict(value)
    if default.choices and isinstance(changed.get("nominal"), str):
        if changed["nominal"] not in default.choices:
            raise UnknownNameError(place, changed["nominal"], default.choices)
        changed["nominal"] = default.choices.index(changed["nominal"])
    for key in ("nominal", "sigma"):
        if key in changed:
            changed[key] = _number(f"{place}.{key}", changed[key])
    if "bounds" in changed:
        if len(changed["bounds"]) != 2:
            raise ConfigError(f"{place}.bounds must be two numbers, the smallest and the largest value.")
        low, high = (_number(f"{place}.bounds", bound) for bound in changed["bounds"])
        changed["bounds"] = (low, high)
    try:
        return dataclasses.replace(default, **changed)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _number(place: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place} = {value!r} is not a number.") from error
    if math.isnan(number):
        raise ConfigError(f"{place} is NaN; a number is needed.")
    return number


def _whole(place: str, value: Any) -> int:
    number = _number(place, value)
    if number != int(number):
        raise ConfigError(f"{place} = {value!r} is not a whole number.")
    return int(number)


def _known(place: str, given: Any, allowed: Iterable[str]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place} = {given!r} must be a mapping with keys among {', '.join(sorted(allowed))}.")
    names = list(allowed)
    for key in given:
        if key not in names:
            raise UnknownNameError(f"key of {place}", str(key), names)
