"""Charge yield over the anode: a smooth map of what its regions collect, and what calibration leaves of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, Charge, Effect, Parameter, Stream, Value

__all__ = ["ChargeYield", "ResidualYz", "smooth_map"]

MODES: Final = 4
"""The map has the cosines cos(i pi y / Y) cos(j pi z / Z) with i, j < 4, but for the constant one."""

_PAIRS: Final = tuple((i, j) for i in range(MODES) for j in range(MODES) if i or j)

LARGEST_MAP: Final = math.sqrt(sum((1 + (i > 0)) * (1 + (j > 0)) for i, j in _PAIRS))
"""No map is larger anywhere, by Cauchy and Schwarz."""


def smooth_map(y: Tensor, z: Tensor, stream: Stream) -> Tensor:
    """Return float64 (point,): a random smooth function with mean 0 and rms 1 over the anode, frozen per throw.

    A sum of low cosine modes, which are orthonormal over the anode, with normal coefficients scaled to rms 1.

    Args:
        y: float64 (point,), between 0 and 1, along one side of the anode.
        z: float64 (point,), between 0 and 1, along the other.
        stream: keyed draws.
    """
    number = torch.arange(len(_PAIRS), device=y.device)
    weight = stream.normal("mode", number, per_throw=True).to(torch.float64)
    weight = (weight / torch.linalg.vector_norm(weight)).tolist()
    total = torch.zeros_like(y)
    # Term by term: a matrix product would round differently for another number of points.
    for (i, j), coefficient in zip(_PAIRS, weight, strict=True):
        norm = math.sqrt((1 + (i > 0)) * (1 + (j > 0)))
        total = total + coefficient * norm * torch.cos(math.pi * i * y) * torch.cos(math.pi * j * z)
    return total


class ChargeYield(Effect[Charge]):
    """Charge times ``1 + amplitude m(y, z)``: wires, grids and field shaping let more charge through here than there.

    The map is that of the anode; positions are those at which charge arrives.
    """

    name: ClassVar[str] = "charge_yield"
    stage: ClassVar[str] = "drift"
    order: ClassVar[int] = 1
    catalogue: ClassVar[tuple[str, ...]] = ("C5",)
    needs: ClassVar[tuple[str, ...]] = ("position", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "amplitude",
            0.0,
            0.02,
            "1",
            (-0.14, 0.14),
            identity=0.0,
            algebra="linear",
            source="a judgement: a few percent",
            confidence="C",
            doc="Rms of the map over the anode; its mean is one, and the sign mirrors the frozen map.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by the yield where it arrives."""
        amplitude = events.per_row(values["amplitude"])
        if not isinstance(amplitude, Tensor) and amplitude == 0:
            return events
        return events.with_electrons(events.electrons * (1.0 + amplitude * self._map(events, stream)))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Divide each deposit's charge by the yield where it arrives."""
        amplitude = events.per_row(values["amplitude"])
        return events.with_electrons(events.electrons / (1.0 + amplitude * self._map(events, stream)))

    @staticmethod
    def _map(events: Charge, stream: Stream) -> Tensor:
        y, z = (events.position[:, axis].to(torch.float64) / events.geometry.size[axis] for axis in (1, 2))
        return smooth_map(y, z, stream)


class ResidualYz(Effect[Cells]):
    """Charge times ``1 + amplitude m(y, z)`` after the threshold: the error of the map that calibration divides by."""

    name: ClassVar[str] = "residual_yz"
    stage: ClassVar[str] = "calibrate"
    catalogue: ClassVar[tuple[str, ...]] = ("C5",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("amplitude", "charge_yield_amplitude", "the prior of a calibrated yield is its map's residual"),
    )
    readout = "pixels"
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "amplitude",
            0.0,
            0.005,
            "1",
            (-0.14, 0.14),
            identity=0.0,
            algebra="linear",
            source="a judgement: a quarter of the map's own size",
            confidence="C",
            doc="Rms of the map's error over the anode; its mean is one, and the sign mirrors the frozen map.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by the map's error at its pixel."""
        amplitude = events.per_row(values["amplitude"])
        if not isinstance(amplitude, Tensor) and amplitude == 0:
            return events
        return events.with_electrons(events.electrons * (1.0 + amplitude * self._map(events, stream)))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by the map's error at its pixel."""
        amplitude = events.per_row(values["amplitude"])
        return events.with_electrons(events.electrons / (1.0 + amplitude * self._map(events, stream)))

    @staticmethod
    def _map(events: Cells, stream: Stream) -> Tensor:
        _, across, along = events.geometry.shape
        y = ((events.cell // along % across).to(torch.float64) + 0.5) / across
        z = ((events.cell % along).to(torch.float64) + 0.5) / along
        return smooth_map(y, z, stream)

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the map's largest value brings to ``level``."""
        return level / (1.0 + abs(values["amplitude"]) * LARGEST_MAP)
