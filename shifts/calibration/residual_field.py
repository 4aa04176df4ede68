"""Residual of the field: calibration undoes recombination at another drift field than the argon has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Cells, Effect, Medium, Parameter, Stream, Value
from shiftlab.units import MIP_DEDX
from shifts.charge.recombination_laws import modified_box

__all__ = ["ResidualField"]

_ALPHA: Final = 0.93
_BETA: Final = 0.212


class ResidualField(Effect[Cells]):
    """Charge times R(E_true) / R(E_used) after the threshold, R the modified box of a minimum-ionising particle.

    The energy is charge over R, so that a field that is assumed too strong makes it too small. As calibration itself,
    the ratio is taken at 2.1 MeV/cm for every cell: it depends on the drift distance, not on the cell's dE/dx.
    The field that calibration assumes is ``E (1 + scale)``; the true one is ``E (1 + distortion (x^2 / L^2 - 1/3))``,
    what a correction of uniform space charge leaves, with the same voltage between the anode at x = 0 and x = L.
    """

    name: ClassVar[str] = "residual_field"
    stage: ClassVar[str] = "calibrate"
    catalogue: ClassVar[tuple[str, ...]] = ("C7",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("scale", "residual_gain_scale", "both are one factor on all energies"),
        ("scale", "drift_field_scale", "both are one error of the field, in calibration or in the argon"),
        ("distortion", "space_charge_scale", "both are what the correction of space charge leaves of the field"),
    )
    needs: ClassVar[tuple[str, ...]] = ("cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "scale",
            0.0,
            0.017,
            "1",
            (-0.3, 0.3),
            identity=0.0,
            source="ICARUS' field is known to 492.6 +- 8.4 V/cm (JAXTPC config/icarus_config.yaml)",
            confidence="B",
            doc="Relative error of the field that calibration assumes; +1 sigma lowers energies by 0.15%.",
        ),
        Parameter(
            "distortion",
            0.0,
            0.02,
            "1",
            (-0.5, 0.5),
            identity=0.0,
            source="a judgement: what a space-charge correction leaves of a distortion of several percent",
            confidence="C",
            doc="Field from space charge that the correction misses, relative: from -1/3 of it to +2/3 at the cathode.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Multiply each cell's charge by the ratio of its drift layer."""
        return events.with_electrons(events.electrons * self._of_rows(events, values))

    def invert(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Divide each cell's charge by the ratio of its drift layer."""
        return events.with_electrons(events.electrons / self._of_rows(events, values))

    @staticmethod
    def _of_rows(events: Cells, values: Mapping[str, Value]) -> Tensor:
        geometry = events.geometry
        time = geometry.layer_times(events.cell.device)
        rows = {name: events.per_row(value) for name, value in values.items()}
        return _ratio(_squares(time)[events.layer], rows, geometry.efield, geometry.density)

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the layer of strongest true field brings to ``level``."""
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        # The weakest field of the bounds and the thinnest argon: there R depends on the field most.
        return level / float(_ratio(ends, values, 0.1, 1.0).max().clamp(min=1.0))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the ratio per layer: exact constants leave no residual."""
        return _ratio(_squares(drift_time), values, medium.efield, medium.density)


def _squares(time: Tensor) -> Tensor:
    """Return float64 (layer,): x^2 / L^2 at the centres of layers that are equally thick."""
    return (time / (time[-1] + time[0])) ** 2 if len(time) else time


def _ratio(square: Tensor, values: Mapping[str, Value], efield: Value, density: Value) -> Tensor:
    """Return R(true field) / R(assumed field), exactly 1 where the two are equal."""
    mip = torch.full_like(square, MIP_DEDX)
    true = efield * (1.0 + values["distortion"] * (square - 1.0 / 3.0))
    used = torch.as_tensor(efield * (1.0 + torch.as_tensor(values["scale"], dtype=torch.float64)), device=square.device)
    return modified_box(mip, _ALPHA, _BETA, true, density) / modified_box(mip, _ALPHA, _BETA, used, density)
