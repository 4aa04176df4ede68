"""Mean energy loss of a heavy charged particle in liquid argon by the Bethe formula with the density effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Oracle, Value, numbers
from shifts.charge.argon import argon_density

__all__ = ["EXCITATION_ENERGY", "MUON_MASS", "EnergyLossOracle", "bethe", "stopping_scale"]

EXCITATION_ENERGY: Final = 188.0
"""eV, mean excitation energy of argon (ICRU 37), the value of Geant4 and LArSoft."""

MUON_MASS: Final = 105.658
_PROTON_MASS: Final = 938.272
_ELECTRON_MASS: Final = 0.510998918

_STERNHEIMER: Final = (0.1956, 3.0, 0.2, 3.0, 5.2146)
"""a, k, x0, x1 and C of the density effect in argon (Sternheimer et al. 1984, as in LArSoft's configuration)."""

_CONSTANT: Final = 0.307075
_CHARGE, _MASS = 18.0, 39.948


def stopping_scale(density: Value) -> Value:
    """Return K Z/A rho in MeV/cm, what the stopping number is multiplied by over beta^2; ``density`` in g/cm3."""
    return _CONSTANT * _CHARGE / _MASS * density


def bethe(momentum: Tensor, mass: Value, density: Value, excitation: Value = EXCITATION_ENERGY) -> Tensor:
    """Return the mean dE/dx in MeV/cm: K Z/A rho / beta^2 times the stopping number, which is at least 1.

    The number is 0.5 ln(2 m_e (beta gamma)^2 T_max / I^2) - beta^2 - delta / 2 (Review of Particle Physics, passage
    of particles through matter; the same as LArSoft lardataalg DetectorPropertiesStandard::Eloss without a cut).

    Args:
        momentum: MeV/c, positive, any shape.
        mass: MeV, much above an electron's.
        density: g/cm3.
        excitation: mean excitation energy, eV.
    """
    ratio = momentum / mass
    gamma = torch.sqrt(1.0 + ratio * ratio)
    beta2 = (ratio / gamma) ** 2
    light = _ELECTRON_MASS / mass
    largest = 2.0 * _ELECTRON_MASS * ratio * ratio / (1.0 + 2.0 * gamma * light + light * light)
    inside = 2.0 * _ELECTRON_MASS * ratio * ratio * largest / (1e-6 * excitation) ** 2
    number = 0.5 * torch.log(inside) - beta2 - 0.5 * _density_effect(ratio)
    return stopping_scale(density) * torch.clamp(number, min=1.0) / beta2


def _density_effect(ratio: Tensor) -> Tensor:
    """Return delta at beta gamma = ``ratio``."""
    a, k, x0, x1, c = _STERNHEIMER
    x = torch.log10(ratio)
    delta = 2.0 * math.log(10.0) * x - c + a * torch.clamp(x1 - x, min=0.0) ** k
    return torch.where(x >= x0, delta, 0.0)


class EnergyLossOracle(Oracle):
    """Mean dE/dx of muons and protons at 87.3 K by LArSoft's Eloss."""

    name: ClassVar[str] = "lar_dedx"
    inputs: ClassVar[tuple[str, ...]] = ("particle", "p_GeV", "kind")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        # The compiled code prints six decimals.
        "dEdx_MeV_cm": (1e-6, 1e-6)
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the mean energy loss; rows of another kind or particle are not compared."""
        masses = {"mu": MUON_MASS, "p": _PROTON_MASS}
        mass = torch.tensor([masses.get(str(name), math.nan) for name in table["particle"]], dtype=torch.float64)
        found = bethe(1e3 * torch.from_numpy(numbers(table["p_GeV"])), mass, argon_density(87.3)).numpy()
        return {"dEdx_MeV_cm": np.where(table["kind"] == "mean", found, np.nan)}
