"""Gain of the modules of an anode: parts that were calibrated apart from each other differ a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Medium, Parameter, Stream, Value

__all__ = ["ModuleGain", "module_of"]

LARGEST: Final = 4
"""Largest number of modules."""

_ORDINALS: Final = ("upstream", "second", "third", "fourth")


def module_of(channel: Tensor, along: int, modules: Value) -> Tensor:
    """Return int64 (row,): the module, from 0 upstream, of readout channels ``iy * along + iz``.

    Args:
        channel: int64 (row,).
        along: number of readout channels along z.
        modules: number of modules that share them along z as equally as whole channels allow.
    """
    return torch.as_tensor(channel % along * modules // along).to(torch.int64)


def _factor(index: int) -> Parameter:
    return Parameter(
        f"factor_{index + 1}",
        1.0,
        0.013,
        "1",
        (0.5, 1.5),
        identity=1.0,
        algebra="multiply",
        source="standard deviation (1.2% of the four, 1.4% of what they stand for) of the gains 1.0118, 1, "
        "1.0333, 1.0230 of ICARUS' TPCs, icaruscode normtools_icarus.fcl, before these constants are applied",
        confidence="A",
        doc=f"Gain of the {_ORDINALS[index]} module, relative to nominal.",
    )


class ModuleGain(Effect[Cells]):
    """Charge times the gain of its module; modules stand one behind the other along z, independent of each other."""

    name: ClassVar[str] = "module_gain"
    stage: ClassVar[str] = "amplify"
    catalogue: ClassVar[tuple[str, ...]] = ("E2",)
    readout = "pixels"
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        *(_factor(index) for index in range(LARGEST)),
        Parameter(
            "modules",
            float(LARGEST),
            0.0,
            "1",
            (1.0, float(LARGEST)),
            source="how the detector is built",
            confidence="A",
            doc="Number of modules along z; a detector with fewer has only that many factors.",
        ),
    )

    def __init__(
        self, parameters: Mapping[str, Parameter] | None = None, files: Mapping[str, str] | None = None
    ) -> None:
        """Keep the factors of the modules that there are.

        Raises:
            ConfigError: the number of modules is not whole, or a module that is not there is given a gain.
        """
        super().__init__(parameters, files)
        modules = self.parameter("modules").nominal
        if modules != int(modules):
            raise ConfigError(f"module_gain: modules = {modules:g} is not a whole number.")
        absent = [f"factor_{index + 1}" for index in range(int(modules), LARGEST)]
        for name in absent:
            if name in (parameters or {}):
                raise ConfigError(f"module_gain: {name} is given, but there are only {modules:g} modules.")
        self.parameters = tuple(parameter for parameter in self.parameters if parameter.name not in absent)

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by the gain of the module that its channel is in."""
        return events.with_electrons(events.electrons * self._factor(events, values))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by the gain of its module."""
        return events.with_electrons(events.electrons / self._factor(events, values))

    def _factor(self, events: Cells, values: Mapping[str, Value]) -> Tensor:
        modules = events.per_row(values["modules"])
        module = module_of(events.channel, events.geometry.shape[2], modules)
        gain = torch.ones_like(events.electrons)
        for index in range(len(self._factors(values))):
            factor = torch.as_tensor(events.per_row(values[f"factor_{index + 1}"]), dtype=torch.float64)
            gain = torch.where(module == index, factor.to(gain.device), gain)
        return gain

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the module of largest gain brings to ``level``."""
        return level / max(self._factors(values))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the mean gain in every layer: calibration has one constant for all modules."""
        factors = self._factors(values)
        return torch.full_like(drift_time, sum(factors) / len(factors))

    @staticmethod
    def _factors(values: Mapping[str, Value]) -> list[float]:
        return [values[name] for name in sorted(values) if name.startswith("factor_")]  # type: ignore[misc]
