"""What effects need and a file of events does not give: found, named and refused before anything is made up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from shiftlab.detector.directions import Directions
from shiftlab.detector.effect import Effect
from shiftlab.detector.nuisances import Nuisance, Values
from shiftlab.detector.universe import Universe
from shiftlab.errors import ConfigError
from shiftlab.events.deposits import Deposits

__all__ = ["missing_fields", "refuse_missing", "refused_nuisances"]

_LEVEL: Final = {
    "dedx": "no path length dx",
    "cosine": "energy deposits without directions of steps; detector.directions=local estimates them from the "
    "deposits nearby",
}
"""What the file lacks where it does not give a field of ``Charge``."""

_DECLARED: Final = ("dedx",)
"""Fields with a value of their own where the file gives none: the nominal detector runs, but no shift of them."""


def missing_fields(deposits: Deposits, directions: Directions = "file") -> tuple[str, ...]:
    """Return the fields of ``Charge`` that deposits do not give.

    They are ``dedx`` without lengths, and ``cosine`` without directions unless these are estimated.
    """
    lacking = {
        "dedx": "length" in deposits.missing,
        "cosine": deposits.direction is None and directions == "file",
    }
    return tuple(name for name, absent in lacking.items() if absent)


def refused_nuisances(
    effects: Sequence[Effect[Any]], nuisances: Sequence[Nuisance], values: Values, missing: Collection[str]
) -> tuple[str, ...]:
    """Return the nuisances of effects that need a missing field at these values."""
    lacking = {effect.name for effect in effects if set(effect.needed(values[effect.name])) & set(missing)}
    return tuple(nuisance.name for nuisance in nuisances if nuisance.effect in lacking)


def refuse_missing(
    effects: Sequence[Effect[Any]], universe: Universe, values: Values, missing: Collection[str]
) -> None:
    """Refuse a universe in which an effect needs a field that the file does not give.

    A field that is declared where a file lacks it is refused where a parameter of the effect is displaced, any other
    wherever it is needed.

    Raises:
        ConfigError: naming the universe, the nuisances, their effect, what it needs and what is missing.
    """
    displaced = {name for name, value in universe.nuisances if value != 0}
    for effect in effects:
        lacking = [name for name in effect.needed(values[effect.name]) if name in missing]
        names = [f"{effect.name}_{p.name}" for p in effect.parameters if f"{effect.name}_{p.name}" in displaced]
        if not names:
            lacking = [name for name in lacking if name not in _DECLARED]
        if lacking:
            cause = f"displaces {', '.join(names)}, but" if names else "cannot be recorded:"
            raise ConfigError(
                f"universe '{universe.name}' {cause} effect {effect.name} needs {', '.join(lacking)}, which the file "
                f"of these events does not give ({'; '.join(_LEVEL.get(name, name) for name in lacking)})."
            )
