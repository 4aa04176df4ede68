"""Gain of each wire plane: one factor for all its readout channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Medium, Parameter, Stream, Value

__all__ = ["PlaneGain"]

_DOUBLE = "a common factor of all planes is the gain of the read-out"


class PlaneGain(Effect[Cells]):
    """Signals of the front, the middle and the last plane times a factor of each; other planes keep every bit."""

    name: ClassVar[str] = "plane_gain"
    stage: ClassVar[str] = "amplify"
    catalogue: ClassVar[tuple[str, ...]] = ("E2",)
    readout = "wires"
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (("collection", "gain_scale", _DOUBLE),)
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "front",
            1.0,
            0.15,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="envelope of ICARUS for its front induction plane (icaruscode, ind0gain hi and lo)",
            confidence="A",
            doc="Gain of the first induction plane, relative to nominal.",
        ),
        Parameter(
            "middle",
            1.0,
            0.013,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="spread over ICARUS's four TPCs (icaruscode normtools_icarus.fcl), taken as a plane's",
            confidence="C",
            doc="Gain of the planes between the first and the last, relative to nominal.",
        ),
        Parameter(
            "collection",
            1.0,
            0.013,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="spread over ICARUS's four TPCs (icaruscode normtools_icarus.fcl), taken as a plane's",
            confidence="C",
            doc="Gain of the last plane, which collects, relative to nominal.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each plane's samples by its gain."""
        if all(not isinstance(value, Tensor) and value == 1.0 for value in values.values()):
            return events
        _, planes, wires = events.geometry.shape
        plane = events.channel // wires
        electrons = events.electrons
        for name, mask in (
            ("front", (plane == 0) & (plane < planes - 1)),
            ("middle", (plane > 0) & (plane < planes - 1)),
            ("collection", plane == planes - 1),
        ):
            electrons = torch.where(mask, electrons * events.per_row(values[name]), electrons)
        return events.with_electrons(electrons)

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the plane of largest gain brings to ``level``."""
        return level / max(values.values())

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return float64 (plane, layer): the nominal gain of each of three planes."""
        gains = [values["front"], values["middle"], values["collection"]]
        return torch.tensor(gains, dtype=torch.float64, device=drift_time.device)[:, None].expand(-1, len(drift_time))
