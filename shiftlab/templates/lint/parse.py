"""From the JSON of a workspace to the linter's arrays; what breaks pyhf's schema becomes a fault, not an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shiftlab.templates.lint.rule import Fault
from shiftlab.templates.lint.sidecar import Sidecar
from shiftlab.templates.lint.view import Channel, Measurement, Modifier, Sample, Setting, View

__all__ = ["KINDS", "parse"]

Floats = npt.NDArray[np.float64]

KINDS: Final = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
"""Modifier types of pyhf's schema 1.0.0."""

VERSION: Final = "1.0.0"
"""Version of pyhf's schema that is checked; pyhf 0.7.6 knows no other."""

_NUMBERS: Final = frozenset({int, float})
_SIDES: Final = {"histosys": frozenset({"hi_data", "lo_data"}), "normsys": frozenset({"hi", "lo"})}
_WORKSPACE: Final = frozenset({"channels", "measurements", "observations", "version"})
_MODIFIER: Final = frozenset({"name", "type", "data"})
_SETTING: Final = frozenset({"name", "inits", "bounds", "auxdata", "factors", "sigmas", "fixed"})
_EMPTY: Final = np.zeros(0)


@dataclass
class _Reader:
    """Reads values of a type and notes those that are not."""

    malformed: list[Fault] = field(default_factory=list)
    lengths: list[Fault] = field(default_factory=list)

    def say(self, where: Fault, message: str) -> None:
        self.malformed.append(replace(where, message=message))

    def keys(self, given: Mapping[str, Any], allowed: frozenset[str], required: frozenset[str], where: Fault) -> None:
        """Note keys that are missing or that the schema does not have."""
        if given.keys() == allowed:
            return
        missing, unknown = sorted(required - given.keys()), sorted(map(str, given.keys() - allowed))
        if missing:
            self.say(where, f"no '{missing[0]}'.")
        if unknown:
            self.say(where, f"'{unknown[0]}' is not allowed; pyhf's schema has {', '.join(sorted(allowed))}.")

    def records(self, owner: Mapping[str, Any], key: str, where: Fault, least: int = 1) -> list[dict[str, Any]]:
        """Return the named objects of a list; all that have no text as name are faults."""
        listed = owner.get(key)
        if not isinstance(listed, list) or len(listed) < least:
            if key in owner:
                self.say(where, f"'{key}' is no list{' with an entry' if least else ''}.")
            return []
        good = [one for one in listed if isinstance(one, dict) and isinstance(one.get("name"), str)]
        if len(good) < len(listed):
            self.say(where, f"{len(listed) - len(good)} of '{key}' are no objects with a name.")
        return good

    def numbers(self, value: Any, what: str, where: Fault, bins: int | None = None) -> Floats | None:
        """Return a list of numbers, of ``bins`` entries where that is given."""
        if not isinstance(value, list) or not value or not set(map(type, value)) <= _NUMBERS:
            self.say(where, f"{what} is no list of numbers.")
            return None
        if bins is not None and len(value) != bins:
            message = f"{what} has {len(value)} entries; the channel's first sample has {bins}."
            self.lengths.append(replace(where, message=message))
            return None
        try:
            return np.array(value, dtype=np.float64)
        except OverflowError:
            self.say(where, f"{what} has a number beyond double precision.")
            return None


def parse(spec: Any, sidecar: Sidecar | None = None, *, asimov: bool = False) -> View:
    """Return the parsed workspace; parts that cannot be read are left out, and are in its ``faults``."""
    reader, top = _Reader(), Fault("")
    if not isinstance(spec, dict):
        reader.say(top, "the workspace is no JSON object.")
        spec = {}
    else:
        reader.keys(spec, _WORKSPACE, _WORKSPACE, top)
        if spec.get("version", VERSION) != VERSION:
            reader.say(top, f"the version is {spec['version']!r}, not '{VERSION}'.")
    observations = reader.records(spec, "observations", top)
    data = {one["name"]: _observation(reader, one) for one in observations}
    channels = tuple(_channel(reader, one, data) for one in reader.records(spec, "channels", top))
    return View(
        channels=tuple(one for one in channels if one is not None),
        observations=tuple(one["name"] for one in observations),
        measurements=tuple(_measurement(reader, one) for one in reader.records(spec, "measurements", top)),
        sidecar=sidecar or Sidecar(),
        asimov=asimov,
        faults={"malformed": tuple(reader.malformed), "wrong_length": tuple(reader.lengths)},
    )


def _observation(reader: _Reader, given: Mapping[str, Any]) -> Floats | None:
    where, keys = Fault("", given["name"]), frozenset({"name", "data"})
    reader.keys(given, keys, keys, where)
    return reader.numbers(given.get("data"), "the observation", where)


def _channel(reader: _Reader, given: Mapping[str, Any], data: Mapping[str, Floats | None]) -> Channel | None:
    name, where, keys = given["name"], Fault("", given["name"]), frozenset({"name", "samples"})
    reader.keys(given, keys, keys, where)
    bins, samples = None, []
    for one in reader.records(given, "samples", where):
        place = replace(where, sample=one["name"])
        nominal = reader.numbers(one.get("data"), "data", place, bins)
        if nominal is not None:
            bins = len(nominal)
            samples.append(_sample(reader, one, nominal, place))
    if bins is None:
        return None
    observed = data.get(name)
    if observed is not None and len(observed) != bins:
        message = f"the observation has {len(observed)} entries; the channel's first sample has {bins}."
        reader.lengths.append(replace(where, message=message))
        observed = None
    return Channel(name, bins, tuple(samples), observed)


def _sample(reader: _Reader, given: Mapping[str, Any], nominal: Floats, place: Fault) -> Sample:
    keys = frozenset({"name", "data", "modifiers"})
    reader.keys(given, keys, keys, place)
    modifiers, listed = [], []
    for one in reader.records(given, "modifiers", place, 0):
        where = replace(place, nuisance=one["name"])
        if one.get("type") not in KINDS:
            reader.say(where, f"the type {one.get('type')!r} is not one of {', '.join(KINDS)}.")
            continue
        reader.keys(one, _MODIFIER, _MODIFIER, where)
        listed.append((one["name"], one["type"]))
        modifier = _modifier(reader, one, len(nominal), where)
        if modifier is not None:
            modifiers.append(modifier)
    return Sample(place.channel, place.sample, nominal, tuple(modifiers), tuple(listed))


def _modifier(reader: _Reader, given: Mapping[str, Any], bins: int, where: Fault) -> Modifier | None:
    name, kind, data = given["name"], given["type"], given.get("data")
    up: Floats | None = _EMPTY
    down: Floats | None = _EMPTY
    if kind in _SIDES:
        if not isinstance(data, dict):
            reader.say(where, f"the data of the {kind} are no object.")
            return None
        reader.keys(data, _SIDES[kind], _SIDES[kind], where)
        if kind == "histosys":
            up, down = (reader.numbers(data.get(side), side, where, bins) for side in ("hi_data", "lo_data"))
        else:
            up, down = (reader.numbers([data.get(side)], f"normsys {side}", where) for side in ("hi", "lo"))
    elif kind in ("shapesys", "staterror"):
        up = reader.numbers(data, f"{kind} data", where, bins)
    elif data is not None:
        reader.say(where, f"the data of a {kind} are null.")
    if kind == "lumi" and name != "lumi":
        reader.say(where, "a lumi modifier has the name 'lumi'.")
    return None if up is None or down is None else Modifier(name, kind, up, down)


def _measurement(reader: _Reader, given: Mapping[str, Any]) -> Measurement:
    name, where = given["name"], Fault("")
    keys, inner = frozenset({"name", "config"}), frozenset({"poi", "parameters"})
    reader.keys(given, keys, keys, where)
    config = given.get("config")
    if not isinstance(config, dict):
        reader.say(where, f"the config of measurement '{name}' is no object.")
        return Measurement(name, "", ())
    reader.keys(config, inner, inner, where)
    poi = config.get("poi", "")
    if not isinstance(poi, str):
        reader.say(where, f"measurement '{name}': the parameter of interest is no name.")
        poi = ""
    return Measurement(
        name, poi, tuple(_setting(reader, one) for one in reader.records(config, "parameters", where, 0))
    )


def _setting(reader: _Reader, given: Mapping[str, Any]) -> Setting:
    where, found = Fault("", nuisance=given["name"]), {}
    reader.keys(given, _SETTING, frozenset(), where)
    for key in ("inits", "auxdata", "sigmas", "factors"):
        values = reader.numbers(given[key], key, where) if key in given else None
        found[key] = None if values is None else tuple(values.tolist())
    bounds, pairs = given.get("bounds"), None
    if isinstance(bounds, list) and bounds and all(_row(one) for one in bounds):
        pairs = tuple(tuple(map(float, one)) for one in bounds)
    elif "bounds" in given:
        reader.say(where, "bounds is no list of pairs of numbers.")
    fixed = given.get("fixed")
    if "fixed" in given and not isinstance(fixed, bool):
        reader.say(where, "fixed is neither true nor false.")
        fixed = None
    return Setting(given["name"], fixed=fixed, bounds=pairs, **found)


def _row(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= _NUMBERS
