"""Temperature and density of the argon: how densely charge lies, how fast it drifts, how far it spreads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

import torch

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value
from shifts.transport.mobility import medium_at

__all__ = ["DENSITY_SLOPE", "ArgonDensity", "ArgonTemperature", "argon_density"]

DENSITY_SLOPE: Final = -0.00615
"""g/cm3 per K, LArSoft lardataalg DetectorPropertiesStandard::Density."""

_DENSITY_AT_ZERO: Final = 1.928


def argon_density(temperature: Value) -> Value:
    """Return the density of liquid argon in g/cm3, -0.00615 T + 1.928 with T in K (LArSoft, 87 to 94 K)."""
    return DENSITY_SLOPE * temperature + _DENSITY_AT_ZERO


class ArgonTemperature(Effect[Charge]):
    """A warmer cryostat: one cause of lower density, slower drift and wider clouds.

    Density enters recombination, xi = beta dE/dx / (rho E); velocity and diffusion follow the mobility of
    ``shifts.transport.mobility``, -1.7% in velocity per K (as T^-1.5; LArSoft's fits fall by 1.9%). Energy losses stay
    those of the file: particles would lose as much in the same mass of argon, over a path longer by 0.4% per K.
    """

    name: ClassVar[str] = "argon_temperature"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("G7",)
    needs: ClassVar[tuple[str, ...]] = ("medium",)
    changes: ClassVar[tuple[str, ...]] = ("medium",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("shift", "argon_density_shift", "the temperature already moves the density"),
        ("shift", "drift_velocity_scale", "the temperature already moves the drift velocity, by 1.7% per K"),
    )
    parameters = (
        Parameter(
            "shift",
            0.0,
            1.0,
            "K",
            (-3.0, 7.0),
            identity=0.0,
            source="1 K: judgement; bounds keep 87 K between melting and the end of the parametrisations, 94 K",
            confidence="C",
            doc="Change of temperature; +1 K is 0.4% less density and 1.7% less drift velocity.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Warm the argon: density by its slope, velocity and diffusion by their ratio to those at the old value."""
        shift = values["shift"]
        if not isinstance(shift, torch.Tensor) and shift == 0:
            return events
        medium = events.medium
        warm = medium_at(medium, temperature=medium.temperature + shift)
        return replace(events, medium=replace(warm, density=medium.density + DENSITY_SLOPE * shift))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Cool the argon by as much."""
        return self.apply(events, {"shift": -1.0 * values["shift"]}, stream)


class ArgonDensity(Effect[Charge]):
    """Another density of the argon at the same temperature: an error of the value that recombination takes.

    By default energy losses stay those of the file. With ``energy_loss`` at 1 every step loses energy in proportion to
    the density, over the same path: right for tracks that leave the volume, while tracks that stop would be too long.
    """

    name: ClassVar[str] = "argon_density"
    stage: ClassVar[str] = "condition"
    catalogue: ClassVar[tuple[str, ...]] = ("G7",)
    needs: ClassVar[tuple[str, ...]] = ("medium", "energy", "dedx", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("medium", "energy", "dedx", "electrons")
    parameters = (
        Parameter(
            "shift",
            0.0,
            0.006,
            "g/cm3",
            (-0.043, 0.037),
            identity=0.0,
            source="1 K, a judgement, on rho = 1.928 - 0.00615 T (LArSoft lardataalg DetectorPropertiesStandard.cxx); "
            "bounds 1.35 to 1.43 g/cm3 about 1.393 from larnd-sim-jax optimize/ranges.py",
            confidence="C",
            doc="Change of density; in recombination +1 sigma frees 0.04% more charge of muons, 0.2% at 10 MeV/cm.",
        ),
        Parameter(
            "energy_loss",
            0.0,
            0.0,
            "1",
            (0.0, 1.0),
            identity=0.0,
            two_sided=False,
            source="energy loss per mass of argon does not depend on its density (Bethe)",
            confidence="A",
            choices=("file", "density"),
            doc="Whether the energy losses of steps stay those of the file or follow the density.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Change the density and, where asked, energy, dE/dx and charge of each step in proportion."""
        shift, follows = values["shift"], values["energy_loss"]
        before = events.medium.density
        medium = replace(events.medium, density=before + shift)
        if not isinstance(follows, torch.Tensor) and follows == 0:
            return replace(events, medium=medium)
        # Tensors on both sides: a plain number would be rounded otherwise than a tensor of it.
        start = torch.as_tensor(before, dtype=torch.float64, device=events.energy.device)
        return _scaled(replace(events, medium=medium), 1.0 + follows * (shift / start))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Take the change of density off again, and from each step what came with it."""
        shift, follows = values["shift"], values["energy_loss"]
        before = events.medium.density - shift
        start = torch.as_tensor(before, dtype=torch.float64, device=events.energy.device)
        medium = replace(events.medium, density=before)
        return _scaled(replace(events, medium=medium), 1.0 / (1.0 + follows * (shift / start)))


def _scaled(events: Charge, factor: Value) -> Charge:
    """Return the deposits with energy, dE/dx and charge of each multiplied by a factor per event."""
    ratio = events.per_row(factor)
    return replace(events, energy=events.energy * ratio, dedx=events.dedx * ratio, electrons=events.electrons * ratio)
