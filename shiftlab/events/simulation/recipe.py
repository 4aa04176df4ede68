"""Recipe of simulated events: which kinds, in which medium, from which published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.events.simulation.spectra import Lepton, Spectrum

__all__ = ["COMPOSERS", "MEDIA", "Nucleons", "Pions", "Recipe"]

MEDIA = ("G4_lAr", "G4_POLYSTYRENE")
"""Geant4 materials that recipes are made for."""

COMPOSERS = ("topologies", "particles", "vertices")
"""Ways to start an event: composed neutrino topologies, particle guns, vertices of a generator from a file."""

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class Nucleons:
    """Nucleons that leave the nucleus, the same for every class.

    Attributes:
        fermi: Fermi momentum, MeV.
        removal: energy that it takes to free one nucleon, MeV.
        protons: relative frequency of 0, 1, 2, ... protons; the first is the one that took the momentum
            transfer, which is a neutron in events without protons.
        neutrons: relative frequency of 0, 1, 2, ... further neutrons.
        proton: spectrum of protons after the first.
        neutron: spectrum of the further neutrons.
    """

    fermi: float
    removal: float
    protons: tuple[float, ...]
    neutrons: tuple[float, ...]
    proton: Spectrum
    neutron: Spectrum


@dataclass(frozen=True)
class Pions:
    """Pions that are added to the leptons and nucleons, by what the class asks for.

    Attributes:
        charged: spectrum of charged pions.
        neutral: spectrum of neutral pions.
        negative: fraction of pi- among charged pions of charged-current events.
        negative_neutral_current: the same in neutral-current events.
        ratio: P(n + 1) / P(n) of pions beyond the least number of a class.
        most: largest number of pions of one sort (charged, neutral).
        accompanied: chance of one pi0 beside charged pions.
    """

    charged: Spectrum
    neutral: Spectrum
    negative: float
    negative_neutral_current: float
    ratio: float
    most: int
    accompanied: float


@dataclass(frozen=True)
class Recipe:
    """What starts each event of a sample.

    Attributes:
        name: name of the recipe, say ``lar_neutrino``.
        revision: changes when the events of a seed change.
        medium: Geant4 material in which they are transported.
        composer: one of COMPOSERS.
        kinds: fraction of each kind (they add up to 1), or the number of events of each kind (whole numbers);
            with vertices also ``all``, which is stored as -1.
        vertices: file of generator vertices; None unless the composer is ``vertices``.
        rethrows: how often a vertex may be used; its throws share its uid.
        lepton: leptonic side; None unless the composer is ``topologies``; so are the next two.
        nucleons: nucleons.
        pions: pions.
        sources: where each number comes from, by its dotted name or the beginning of it.
    """

    name: str
    revision: str
    medium: str
    composer: str
    kinds: Mapping[str, float]
    vertices: Path | None = None
    rethrows: int = 1
    lepton: Lepton | None = None
    nucleons: Nucleons | None = None
    pions: Pions | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Whether ``kinds`` holds numbers of events, not fractions."""
        return all(isinstance(value, int) for value in self.kinds.values())

    @property
    def dataset(self) -> str:
        """``name/revision``."""
        return f"{self.name}/{self.revision}"

    @classmethod
    def from_config(cls, given: Mapping[str, Any], locate: Callable[[str], Path] = Path) -> Recipe:
        """Return the recipe that a configuration's ``events`` describes.

        Args:
            given: Keys as the attributes.
            locate: Turns the text of ``vertices`` into a path.

        Raises:
            ConfigError: a key is missing, unknown, of the wrong type or out of range, or a number has no source.
        """
        values = dict(given)
        if values.get("vertices") is not None:
            values["vertices"] = locate(str(values["vertices"]))
        recipe = _record(cls, values, "events")
        _check(recipe)
        return recipe


def _record(cls: type[_Record], given: Any, where: str) -> _Record:
    """Return the frozen record ``cls`` with the given values, each key checked."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: {given!r} is given; keys are wanted: {', '.join(_names(cls))}.")
    for key in given:
        if key not in _names(cls):
            raise UnknownNameError(f"key of {where}", str(key), _names(cls))
    types = get_type_hints(cls)
    values: dict[str, Any] = {}
    for one in fields(cls):  # type: ignore[arg-type]
        if one.name in given:
            values[one.name] = _value(types[one.name], given[one.name], f"{where}.{one.name}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise ConfigError(f"{where}.{one.name} is missing.")
    return cls(**values)


def _names(cls: Any) -> list[str]:
    return [one.name for one in fields(cls)]


def _value(kind: Any, given: Any, where: str) -> Any:
    """Return one value of a record as its annotation says."""
    if kind == tuple[float, ...]:
        if not isinstance(given, list | tuple) or not given:
            raise ConfigError(f"{where}: {given!r} is given; a list of numbers is wanted.")
        return tuple(_number(item, where) for item in given)
    options = [option for option in get_args(kind) if option is not type(None)] or [kind]
    if given is None and type(None) in get_args(kind):
        return None
    wanted = options[0]
    if is_dataclass(wanted):
        return _record(wanted, given, where)  # type: ignore[arg-type]
    if wanted is Path:
        return given
    if wanted is float:
        return _number(given, where)
    if wanted is int:
        if not isinstance(given, int) or isinstance(given, bool):
            raise ConfigError(f"{where}: {given!r} is given; a whole number is wanted.")
        return given
    if where == "events.kinds":
        return _kinds(given)
    if where == "events.sources":
        return {str(key): str(text) for key, text in given.items()}
    return str(given)


def _number(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or given < 0:
        raise ConfigError(f"{where}: {given!r} is given; a number that is not negative is wanted.")
    return float(given)


def _kinds(given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"events.kinds: {given!r} is given; names of kinds with fractions or numbers are wanted.")
    kinds: dict[str, float] = {}
    for name, value in given.items():
        if value == "all":
            kinds[str(name)] = -1
        elif isinstance(value, int) and not isinstance(value, bool):
            kinds[str(name)] = int(_number(value, f"events.kinds.{name}"))
        else:
            kinds[str(name)] = _number(value, f"events.kinds.{name}")
    if not all(isinstance(value, int) for value in kinds.values()) or sum(kinds.values()) == 1:
        kinds = {name: float(value) for name, value in kinds.items()}
        if abs(sum(kinds.values()) - 1.0) > 1e-6 or min(kinds.values()) < 0.0:
            raise ConfigError(
                f"events.kinds: the fractions add up to {sum(kinds.values()):.6f}, not 1; "
                "or give whole numbers of events."
            )
    return kinds


def _check(recipe: Recipe) -> None:
    """Refuse values that do not go together."""
    for key, allowed in (("medium", MEDIA), ("composer", COMPOSERS)):
        if getattr(recipe, key) not in allowed:
            raise UnknownNameError(f"events.{key}", getattr(recipe, key), allowed)
    if not recipe.name or "/" in recipe.name or not recipe.revision:
        raise ConfigError(f"events.name, events.revision: '{recipe.dataset}' is no name and revision.")
    if recipe.rethrows < 1:
        raise ConfigError(f"events.rethrows: {recipe.rethrows} is given; 1 or more is wanted.")
    wants = {"topologies": ("lepton", "nucleons", "pions"), "vertices": ("vertices",), "particles": ()}
    for key in ("lepton", "nucleons", "pions", "vertices"):
        if (getattr(recipe, key) is not None) != (key in wants[recipe.composer]):
            verb = "wants" if key in wants[recipe.composer] else "takes no"
            raise ConfigError(f"events.{key}: the composer '{recipe.composer}' {verb} {key}.")
    if recipe.composer != "vertices" and (recipe.rethrows != 1 or min(recipe.kinds.values()) < 0):
        raise ConfigError("events.rethrows, events.kinds: re-throws and 'all' are for the composer 'vertices'.")
    if recipe.composer == "vertices" and not recipe.counted:
        raise ConfigError("events.kinds: vertices are taken by number, so whole numbers or 'all' are wanted.")
    _check_numbers(recipe)
    for key in _numbers(recipe):
        if not any(key == source or key.startswith(f"{source}.") for source in recipe.sources):
            raise ConfigError(f"events.sources: no source for {key}; name one, or say 'chosen'.")


def _check_numbers(recipe: Recipe) -> None:
    if recipe.lepton is None or recipe.nucleons is None or recipe.pions is None:
        return
    if recipe.lepton.low < 150.0:
        raise ConfigError(f"events.lepton.low: {recipe.lepton.low} MeV is given; 150 or more leaves room for a muon.")
    spectra: dict[str, Lepton | Spectrum] = {
        "lepton": recipe.lepton,
        "nucleons.proton": recipe.nucleons.proton,
        "nucleons.neutron": recipe.nucleons.neutron,
        "pions.charged": recipe.pions.charged,
        "pions.neutral": recipe.pions.neutral,
    }
    for name, one in spectra.items():
        if not one.low < one.mean < one.high or one.shape <= 0.0:
            raise ConfigError(f"events.{name}: low < mean < high and shape > 0 are wanted; {one} is given.")
    if not recipe.lepton.dipole > 0.0:
        raise ConfigError("events.lepton.dipole: a mass above 0 is wanted.")
    for key in ("negative", "negative_neutral_current", "accompanied", "ratio"):
        if getattr(recipe.pions, key) > 1.0:
            raise ConfigError(f"events.pions.{key}: {getattr(recipe.pions, key)} is given; 0 to 1 is allowed.")
    limits = {"pions.most": (recipe.pions.most, 2, 5)}
    limits |= {f"nucleons.{key}": (len(getattr(recipe.nucleons, key)), 1, 5) for key in ("protons", "neutrons")}
    for key, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ConfigError(f"events.{key}: {value} is given or listed; {low} to {high} is allowed.")


def _numbers(recipe: Recipe) -> list[str]:
    """Return the dotted names of all numbers that need a source."""
    names = [] if recipe.composer == "vertices" else ["kinds"]
    for group in ("lepton", "nucleons", "pions"):
        record = getattr(recipe, group)
        if record is None:
            continue
        for key in _names(record):
            inner = getattr(record, key)
            names += [f"{group}.{key}.{k}" for k in _names(inner)] if is_dataclass(inner) else [f"{group}.{key}"]
    return names
