"""The nuisances of a chain of effects, and the physical values of all its parameters in a universe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shiftlab.detector.effect import Effect
from shiftlab.detector.parameter import Parameter
from shiftlab.detector.universe import Universe
from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["Displaceable", "Nuisance", "Values", "nuisances_of", "values_of"]

Values: TypeAlias = Mapping[str, Mapping[str, float]]
"""Physical values by effect and parameter."""


@dataclass(frozen=True)
class Nuisance:
    """A parameter that has an uncertainty.

    Attributes:
        name: ``{effect}_{parameter}``, also the name of the pyhf modifier.
        effect: name of the effect.
        parameter: the parameter with its prior.
    """

    name: str
    effect: str
    parameter: Parameter


class Displaceable:
    """What every kind of detector has: effects, the nuisances among their parameters, and their values."""

    effects: tuple[Effect[Any], ...]

    @property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """The parameters with an uncertainty that act in the nominal detector, in chain order."""
        return nuisances_of(self.effects)

    def values(self, universe: Universe) -> dict[str, dict[str, float]]:
        """Return the physical value of every parameter of every effect in a universe.

        Raises:
            UnknownNameError: the universe names a nuisance that the detector does not have.
            ConfigError: a value is outside its bounds, or the parameter does not act in this universe.
        """
        return values_of(self.effects, universe)

    def check(self, universe: Universe) -> None:
        """Raise ConfigError where a universe cannot be recorded, whatever the events; errors as for ``values``."""
        self.values(universe)


def nuisances_of(effects: Sequence[Effect[Any]]) -> tuple[Nuisance, ...]:
    """Return the parameters with an uncertainty that act at nominal values, in the order of the effects."""
    found = []
    for effect in effects:
        nominal = {parameter.name: parameter.nominal for parameter in effect.parameters}
        for parameter in effect.parameters:
            acts = parameter.requires is None or nominal[parameter.requires[0]] == parameter.requires[1]
            if parameter.sigma > 0 and not parameter.choices and acts:
                found.append(Nuisance(f"{effect.name}_{parameter.name}", effect.name, parameter))
    return tuple(found)


def values_of(effects: Sequence[Effect[Any]], universe: Universe) -> dict[str, dict[str, float]]:
    """Return the physical value of every parameter of every effect in a universe.

    Raises:
        UnknownNameError: the universe names a nuisance that the effects do not have.
        ConfigError: a value is outside its bounds, or the parameter does not act in this universe.
    """
    known = {f"{e.name}_{p.name}": p for e in effects for p in e.parameters}
    for name, _ in universe.nuisances:
        if name not in known:
            raise UnknownNameError("nuisance", name, known)
    values: dict[str, dict[str, float]] = {}
    for effect in effects:
        own = values[effect.name] = {}
        for parameter in effect.parameters:
            shift = universe.value(f"{effect.name}_{parameter.name}")
            try:
                own[parameter.name] = parameter.value(shift)
            except ConfigError as error:
                raise ConfigError(f"universe '{universe.name}', effect {effect.name}: {error}") from error
        _refuse_idle(effect, own, universe)
    return values


def _refuse_idle(effect: Effect[Any], values: Mapping[str, float], universe: Universe) -> None:
    """Refuse a displaced parameter that does nothing, say Birks' k while the box model is chosen."""
    for parameter in effect.parameters:
        if parameter.requires is None or universe.value(f"{effect.name}_{parameter.name}") == 0:
            continue
        name, needed = parameter.requires
        if values[name] != needed:
            raise ConfigError(
                f"universe '{universe.name}': {effect.name}_{parameter.name} is displaced, but it acts only "
                f"where {effect.name} {name} = {needed:g}, not {values[name]:g}."
            )
