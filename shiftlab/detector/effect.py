"""What a detector effect is: a class with parameters, a stage in the detector chain and one pure method."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, Generic, TypeVar

import torch
from torch import Tensor

import shiftlab
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.parameter import Parameter
from shiftlab.detector.state import Cells, Charge, Value
from shiftlab.detector.stream import Stream
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.registry import Registry

__all__ = ["DEPOSIT_STAGES", "EFFECTS", "LATTICE_STAGES", "STAGES", "Effect", "effects"]

DEPOSIT_STAGES: Final = ("recombine", "displace", "drift")
"""Stages whose effects work on ``Charge``."""

LATTICE_STAGES: Final = ("add_noise", "amplify", "saturate", "mask", "threshold")
"""Stages whose effects work on ``Cells``."""

STAGES: Final = (*DEPOSIT_STAGES, "diffuse", "read_out", *LATTICE_STAGES, "calibrate")
"""The detector chain in order; diffuse, read_out and calibrate belong to the detector itself."""

State = TypeVar("State", Charge, Cells)


class Effect(ABC, Generic[State]):
    """One detector effect.

    Class attributes:
        name: Registry name; a nuisance is called ``{name}_{parameter}``.
        stage: Where in the chain it acts, one of ``DEPOSIT_STAGES`` or ``LATTICE_STAGES``.
        parameters: Its parameters with their default priors.
        needs: Fields of the state that it reads.
        changes: Fields of the state that it may change; all others stay equal bit for bit.
    """

    name: ClassVar[str]
    stage: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    changes: ClassVar[tuple[str, ...]]
    parameters: tuple[Parameter, ...]

    def __init__(self, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Take other priors for some parameters, by name.

        Raises:
            UnknownNameError: the effect has no parameter of that name.
        """
        own = {parameter.name: parameter for parameter in type(self).parameters}
        for name, parameter in (parameters or {}).items():
            if name not in own:
                raise UnknownNameError(f"parameter of effect {self.name}", name, own)
            own[name] = parameter
        self.parameters = tuple(own.values())

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of that name."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownNameError(f"parameter of effect {self.name}", name, [p.name for p in self.parameters])

    @abstractmethod
    def apply(self, events: State, values: Mapping[str, Value], stream: Stream) -> State:
        """Return the events after the effect; pure, and differentiable where the physics is.

        Args:
            events: The state of a batch of events.
            values: Physical value of each parameter, one number or a tensor (event,).
            stream: The effect's keyed draws.
        """

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse nominal values that contradict the rest of the chain.

        Args:
            values: the effect's nominal values.
            floor: least charge before the effect that can pass the nominal threshold, in electrons.

        Raises:
            ConfigError: say which value is not allowed and why.
        """
        return

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the smallest charge before the effect that can reach ``level`` electrons after it."""
        return level

    def response(self, geometry: Geometry, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return float64 (layer,): the factor on a minimum-ionising particle's charge that calibration divides out."""
        return torch.ones_like(drift_time)


class _EffectRegistry(Registry[Effect[Any]]):
    """The effects of the catalogue beside this package, and of every installed package that has an entry point."""

    def _modules(self) -> Iterable[ModuleType]:
        yield from _walk(_own_catalogue())
        for entry in metadata.entry_points(group=self.group):
            if entry.value != "shifts":
                yield from _walk(importlib.import_module(entry.value))


def _walk(package: ModuleType) -> Iterable[ModuleType]:
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        yield importlib.import_module(info.name)


def _own_catalogue() -> ModuleType:
    """Import ``shifts`` and make sure that it is the one that came with this shiftlab."""
    ours = Path(str(shiftlab.__file__)).resolve().parent.parent / "shifts" / "__init__.py"
    package = importlib.import_module("shifts")
    found = Path(str(package.__file__)).resolve()
    if found != ours:
        raise ConfigError(
            f"the package 'shifts' at {found} is not shiftlab's catalogue, which is at {ours}. "
            "Rename or uninstall the other package."
        )
    return package


EFFECTS: Final = _EffectRegistry("shiftlab.shifts", Effect, "effect")  # type: ignore[type-abstract]
"""Every effect that is known by name."""


def effects() -> Registry[Effect[Any]]:
    """Return the registry of detector effects."""
    return EFFECTS
