"""The liquid argon in which charge is set free and drifts: field, density, temperature, velocity and diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

__all__ = ["Medium", "Value"]

Value: TypeAlias = float | Tensor
"""A parameter's physical value: one number, or a tensor of shape (event,)."""


@dataclass(frozen=True)
class Medium:
    """What all charge of an event meets; each number is one for all events, or a float64 tensor (event,).

    Effects of the stage ``condition`` change it, and later stages read it: so one physical cause (a weaker field, a
    warmer cryostat) reaches recombination, drift and diffusion together, as one nuisance.

    Attributes:
        efield: Drift field, kV/cm.
        density: g/cm3.
        temperature: K.
        drift_velocity: cm/us; the velocity that reconstruction assumes stays the geometry's.
        diffusion_longitudinal: cm2/s.
        diffusion_transverse: cm2/s.
        offset: us, added to the arrival time of all charge.
    """

    efield: Value
    density: Value
    temperature: Value
    drift_velocity: Value
    diffusion_longitudinal: Value
    diffusion_transverse: Value
    offset: Value = 0.0

    @property
    def diffusion(self) -> tuple[Value, Value]:
        """Longitudinal and transverse diffusion constant, cm2/s."""
        return self.diffusion_longitudinal, self.diffusion_transverse
