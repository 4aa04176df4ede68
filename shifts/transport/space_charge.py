"""Space charge: slow positive ions distort the drift field, so that charge seems displaced and recombines anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import (
    Charge,
    ConfigError,
    Effect,
    Geometry,
    Oracle,
    Parameter,
    Stream,
    Value,
    numbers,
    read_field_map,
    undisplaced,
)

__all__ = ["SpaceCharge", "SpaceChargeOracle", "toy_displacement", "toy_field"]


def toy_field(distance: Tensor, length: float, strength: Value) -> Tensor:
    """Return float64 (point,): the toy's field over the nominal field, less 1.

    E(x) = E0 (1 + strength (2x - L) / L): weaker at the anode, stronger at the cathode, the same voltage.

    Args:
        distance: (point,), from the anode, cm.
        length: L, of the drift, cm.
        strength: relative change of the field at the cathode, one number or (point,).
    """
    return strength * (2.0 * distance.to(torch.float64) / length - 1.0)


def toy_displacement(distance: Tensor, length: float, strength: Value) -> Tensor:
    """Return float64 (point,), cm: how much farther from the anode charge seems to start in the toy's field.

    At constant mobility the drift takes t = L / (2 strength v0) ln[E(x) / E(0)]; the read-out takes v0 t for x.
    Arguments as in ``toy_field``.
    """
    place = distance.to(torch.float64)
    twice = 2.0 * torch.as_tensor(strength, dtype=torch.float64, device=place.device)
    growth = place * (twice / (length * (1.0 - 0.5 * twice)))
    return torch.log1p(growth) * (place.new_tensor(length) / twice) - place


class SpaceCharge(Effect[Charge]):
    """What correction leaves of a distortion of the drift field, as a fraction of the whole distortion.

    Charge seems to come from r + s d(r), and recombines in the field |E0 + s dE(r)|. The map d, dE is that of the
    file ``map`` of the detector's configuration (layout: ``shiftlab.detector.read_field_map``), else a toy along the
    drift alone. Nominally the map is corrected for, s = 0, and s of either sign is what the correction misses. A
    detector without correction has the nominal value 1 (``scale: {nominal: 1, bounds: [0, 2]}``).
    """

    name: ClassVar[str] = "space_charge"
    stage: ClassVar[str] = "displace"
    catalogue: ClassVar[tuple[str, ...]] = ("T6",)
    needs: ClassVar[tuple[str, ...]] = ("position",)
    changes: ClassVar[tuple[str, ...]] = ("position", "local_field")
    files: ClassVar[tuple[str, ...]] = ("map",)
    parameters = (
        Parameter(
            "scale",
            0.0,
            0.2,
            "1",
            (-1.0, 1.0),
            identity=0.0,
            source="20% of the map, judgement; SBND's samples without and with doubled space charge as bounds",
            confidence="C",
            doc="Part of the map's distortion that is left after correction.",
        ),
        Parameter(
            "strength",
            0.05,
            0.0,
            "1",
            (0.001, 0.5),
            source="declared: a toy, of the size seen in detectors at the surface",
            confidence="C",
            doc="Without a map: relative change of the field at the cathode.",
        ),
    )

    def __init__(
        self, parameters: Mapping[str, Parameter] | None = None, files: Mapping[str, str] | None = None
    ) -> None:
        """Read the map, if there is one.

        Raises:
            UnknownNameError: a parameter or file that the effect does not have.
            DataError: the map cannot be read (``read_field_map``).
        """
        super().__init__(parameters, files)
        self.map = read_field_map(files["map"]) if files and "map" in files else None
        if self.map is not None:
            self.digests = {"map": self.map.digest}

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where they seem to be, with the local field that they recombine in.

        Raises:
            ConfigError: the map does not cover the detector, or the field, scaled, opposes the drift.
        """
        if self.map is not None:
            self.map.require_cover(events.geometry.size)
        scale = values["scale"]
        if not isinstance(scale, Tensor) and scale == 0:
            return events
        self._refuse_reversed(scale, values["strength"])
        part, strength = _rows(events, scale), events.per_row(values["strength"])
        displacement, field = self.distortion(events.position, events.geometry, strength)
        local = _magnitude(part * field)
        return replace(
            events,
            position=(events.position.to(torch.float64) + part * displacement).to(torch.float32),
            local_field=local if events.local_field is None else events.local_field * local,
        )

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Return the deposits where they were, found by iteration, in the field without the distortion.

        Raises:
            ConfigError: the map, scaled, is not invertible.
        """
        part, strength = _rows(events, values["scale"]), events.per_row(values["strength"])
        if self.map is not None:
            for scale in torch.unique(part).tolist():
                self.map.require_injective(scale)
        place = undisplaced(events.position, lambda point: part * self.distortion(point, events.geometry, strength)[0])
        local = events.local_field
        if local is not None:
            local = local / _magnitude(part * self.distortion(place, events.geometry, strength)[1])
        return replace(events, position=place.to(torch.float32), local_field=local)

    def distortion(self, position: Tensor, geometry: Geometry, strength: Value) -> tuple[Tensor, Tensor]:
        """Return the whole displacement (cm) and relative change of the field, float64 (point, 3), at points in cm."""
        if self.map is not None:
            return self.map.at(position)
        length = geometry.size[0]
        zero = torch.zeros_like(position, dtype=torch.float64)
        moved, changed = zero.clone(), zero
        moved[:, 0] = toy_displacement(position[:, 0], length, strength)
        changed[:, 0] = toy_field(position[:, 0], length, strength)
        return moved, changed

    def _refuse_reversed(self, scale: Value, strength: Value) -> None:
        strongest = self.map.strongest if self.map is not None else float(torch.as_tensor(strength).max())
        change = float(torch.as_tensor(scale).abs().max()) * strongest
        if change >= 1.0:
            raise ConfigError(
                f"effect {self.name}: scaled, the field changes by {change:g} of the drift field, so that charge "
                "somewhere does not drift; the change must stay below 1."
            )


def _rows(events: Charge, value: Value) -> Tensor:
    """Return float64 (deposit, 1), or (1, 1) where the value is one number."""
    rows = torch.as_tensor(events.per_row(value), dtype=torch.float64, device=events.position.device)
    return rows.reshape(-1, 1)


def _magnitude(change: Tensor) -> Tensor:
    """Return float64 (point,): |field| over the nominal field, whose change (point, 3) is over it too."""
    field = change + change.new_tensor([1.0, 0.0, 0.0])
    return torch.sqrt((field * field).sum(dim=1))


class SpaceChargeOracle(Oracle):
    """The toy's field and displacement over a drift of 100 cm, in closed form and followed step by step by JAXTPC."""

    name: ClassVar[str] = "space_charge_toy"
    inputs: ClassVar[tuple[str, ...]] = ("true_drift_cm", "eps")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E_V_cm": (1e-6, 0.0),
        "analytic_dx_cm": (1e-6, 1e-9),
        # Euler steps of 0.05 us on a grid of 1 cm: its own error grows to 4.0e-4 cm at the cathode.
        "numeric_dx_cm": (0.0, 4.1e-4),
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the field at 500 V/cm and the displacement."""
        distance, strength = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        displacement = toy_displacement(distance, 100.0, strength).numpy()
        field = 500.0 * (1.0 + toy_field(distance, 100.0, strength)).numpy()
        return {"E_V_cm": field, "analytic_dx_cm": displacement, "numeric_dx_cm": displacement}
