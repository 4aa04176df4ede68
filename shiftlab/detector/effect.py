"""What a detector effect is: a class with parameters, a stage in the detector chain and one pure method."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

import torch
from torch import Tensor

import shiftlab
from shiftlab.detector.medium import Medium
from shiftlab.detector.parameter import Parameter
from shiftlab.detector.state import Value
from shiftlab.detector.stream import Stream
from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.registry import Registry

__all__ = [
    "DEPOSIT_STAGES",
    "EFFECTS",
    "LATTICE_STAGES",
    "PLACING_STAGES",
    "SCINTILLATOR_STAGES",
    "STAGES",
    "CatalogueRegistry",
    "Effect",
    "effects",
]

PLACING_STAGES: Final = ("condition", "displace")
"""Stages that decide where and when charge is read out, and which field it meets."""

DEPOSIT_STAGES: Final = (*PLACING_STAGES, "recombine", "drift")
"""Stages whose effects work on ``Charge``."""

LATTICE_STAGES: Final = ("shape", "add_noise", "amplify", "saturate", "mask", "threshold", "calibrate")
"""Stages whose effects work on ``Cells``."""

STAGES: Final = ("generate", *DEPOSIT_STAGES, "diffuse", "read_out", *LATTICE_STAGES)
"""The argon detector's chain in order; diffuse and read_out belong to the detector itself."""

SCINTILLATOR_STAGES: Final = ("respond", "couple", "token", "weigh")
"""The chain of a scintillator tracker: its response, coupled strips, reconstructed tokens, weights of events."""

State = TypeVar("State")
T = TypeVar("T")


class Effect(ABC, Generic[State]):
    """One detector effect.

    Class attributes:
        name: Registry name; a nuisance is called ``{name}_{parameter}``.
        stage: Where in the chain it acts, one of ``STAGES`` or ``SCINTILLATOR_STAGES``.
        catalogue: Numbers of the shifts of the catalogue that it covers, say ``("G1", "G2")``.
        parameters: Its parameters with their default priors.
        order: Place among the effects of its stage, ascending; those of one place act in the order listed.
        readout: Kind of read-out that it makes sense for.
        files: Names of the files that a detector's configuration may give it by path, beside its parameters.
        needs: Fields of the state that it reads.
        changes: Fields of the state that it may change; all others stay equal bit for bit.
        smooth: Whether the charge is a smooth function of its parameters, where it changes nothing but the charge.
        double_counts: (own parameter, another nuisance, reason): the two share one physical cause, so that a
            detector in which both are uncertain is refused unless it says ``allow_double_counting``.
    """

    name: ClassVar[str]
    stage: ClassVar[str]
    catalogue: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 0
    readout: ClassVar[Literal["any", "pixels", "wires"]] = "any"
    files: ClassVar[tuple[str, ...]] = ()
    smooth: ClassVar[bool] = True
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    needs: ClassVar[tuple[str, ...]]
    changes: ClassVar[tuple[str, ...]]
    parameters: tuple[Parameter, ...]

    digests: Mapping[str, str]
    """SHA-256 of each file that it was given, by name; an effect that reads files sets it."""

    def __init__(
        self, parameters: Mapping[str, Parameter] | None = None, files: Mapping[str, str] | None = None
    ) -> None:
        """Take other priors for some parameters, and paths of files, by name.

        Raises:
            UnknownNameError: the effect has no parameter or file of that name.
        """
        self.digests = {}
        for name in files or {}:
            if name not in type(self).files:
                raise UnknownNameError(f"file of effect {self.name}", name, type(self).files)
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

    def invert(self, events: State, values: Mapping[str, Value], stream: Stream) -> State:
        """Return the events before the effect from those after it, where nothing was lost, with the same draws.

        Raises:
            ConfigError: the effect cannot be undone, at all or at these values.
        """
        raise ConfigError(f"effect {self.name} cannot be undone.")

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse nominal values that contradict the rest of the chain.

        Args:
            values: the effect's nominal values.
            floor: least charge before the effect that can pass the nominal threshold, in electrons.

        Raises:
            ConfigError: say which value is not allowed and why.
        """
        return

    def refuse(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse values of a universe that the effect cannot act at; arguments and errors as for ``check``."""
        return

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the smallest charge before the effect that can reach ``level`` electrons after it."""
        return level

    def needed(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """Return the fields of the state that the effect reads at these values; ``needs`` unless a model asks more."""
        return self.needs

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return float64 (layer,): the factor on a minimum-ionising particle's charge that calibration divides out.

        Where the factor is one of each wire plane, the shape is (plane, layer).

        Args:
            medium: the argon, with one number for each quantity.
            drift_time: float64 (layer,), from the centre of each layer of cells, us.
            values: the effect's values.
        """
        return torch.ones_like(drift_time)


class CatalogueRegistry(Registry[T]):
    """Classes of one base in the catalogue beside this package and in every package that has an entry point."""

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


EFFECTS: Final[CatalogueRegistry[Effect[Any]]] = CatalogueRegistry(
    "shiftlab.shifts",
    Effect,  # type: ignore[type-abstract]
    "effect",
)
"""Every effect that is known by name."""


def effects() -> Registry[Effect[Any]]:
    """Return the registry of detector effects."""
    return EFFECTS
