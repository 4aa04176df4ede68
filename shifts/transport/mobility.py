"""Electron mobility, drift velocity and diffusion in liquid argon as functions of field and temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Medium, Oracle, Value, numbers

__all__ = [
    "DiffusionOracle",
    "DriftVelocityOracle",
    "diffusion_constants",
    "drift_velocity",
    "electron_mobility",
    "medium_at",
    "microboone_icarus_velocity",
    "walkowiak_icarus_velocity",
]

_MOBILITY: Final = (551.6, 7158.3, 4440.43, 4.29, 43.63, 0.2053)
"""a0 to a5 of arXiv:1508.07059 in cm2/V/s and powers of kV/cm, at 89 K."""

_MOBILITY_TEMPERATURE: Final = 89.0

_ENERGY: Final = (0.0075, 742.9, 3269.6, 31678.2)
"""b0 to b3 of arXiv:1508.07059 in eV and powers of kV/cm, at 87 K."""

_ENERGY_TEMPERATURE: Final = 87.0

_LOW, _HIGH = 0.619, 0.699
"""kV/cm; below the first LArSoft takes the ICARUS fit, above the second Walkowiak's, and a mean in between."""


def _number(value: Value) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _mobility_and_slope(efield: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu in cm2/V/s and d ln mu / d ln E."""
    a0, a1, a2, a3, a4, a5 = _MOBILITY
    # Products and square roots are rounded alike in every batch, which a general power is not.
    root = torch.sqrt(efield)
    above = a0 + a1 * efield + a2 * efield * root + a3 * efield * efield * root
    below = 1.0 + (a1 / a0) * efield + a4 * efield * efield + a5 * efield * efield * efield
    above_slope = a1 * efield + 1.5 * a2 * efield * root + 2.5 * a3 * efield * efield * root
    below_slope = (a1 / a0) * efield + 2.0 * a4 * efield * efield + 3.0 * a5 * efield * efield * efield
    warmth = temperature / _MOBILITY_TEMPERATURE
    return above / (below * warmth * torch.sqrt(warmth)), above_slope / above - below_slope / below


def electron_mobility(efield: Value, temperature: Value) -> Tensor:
    """Return float64 mu in cm2/V/s: the Atrazhev-Timoshkin form with BNL's constants, arXiv:1508.07059.

    mu = (a0 + a1 E + a2 E^1.5 + a3 E^2.5) / (1 + (a1/a0) E + a4 E^2 + a5 E^3) (T / 89 K)^-1.5.

    Args:
        efield: kV/cm, positive, any shape.
        temperature: K, any shape that broadcasts.
    """
    return _mobility_and_slope(_number(efield), _number(temperature))[0]


def drift_velocity(efield: Value, temperature: Value) -> Tensor:
    """Return float64 v = mu E in cm/us; arguments as in ``electron_mobility``."""
    return electron_mobility(efield, temperature) * _number(efield) * 1e-3


def diffusion_constants(efield: Value, temperature: Value) -> tuple[Tensor, Tensor]:
    """Return float64 (D_L, D_T) in cm2/s, arXiv:1508.07059; arguments as in ``electron_mobility``.

    D_L = mu e_L / e with the electron energy e_L = (b0 + b1 E + b2 E^2) / (1 + (b1/b0) E + b3 E^2) (T / 87 K) eV,
    and D_L / D_T = 1 + d ln mu / d ln E, the generalised Einstein relation.
    """
    field, kelvin = _number(efield), _number(temperature)
    b0, b1, b2, b3 = _ENERGY
    energy = (b0 + b1 * field + b2 * field * field) / (1.0 + (b1 / b0) * field + b3 * field * field)
    mobility, slope = _mobility_and_slope(field, kelvin)
    longitudinal = mobility * energy * (kelvin / _ENERGY_TEMPERATURE)
    return longitudinal, longitudinal / (1.0 + slope)


def medium_at(medium: Medium, efield: Value | None = None, temperature: Value | None = None) -> Medium:
    """Return the argon at another field (kV/cm) or temperature (K); None keeps the one that it has.

    Velocity and diffusion change by the ratio of the parametrisation's values at the new and the old point, so that
    a detector keeps its own nominal constants; at the same point every bit stays. Density is not changed.
    """
    field = medium.efield if efield is None else efield
    kelvin = medium.temperature if temperature is None else temperature
    old_long, old_trans = diffusion_constants(medium.efield, medium.temperature)
    new_long, new_trans = diffusion_constants(field, kelvin)
    velocity = drift_velocity(field, kelvin) / drift_velocity(medium.efield, medium.temperature)
    return replace(
        medium,
        efield=field,
        temperature=kelvin,
        drift_velocity=_plain(medium.drift_velocity * velocity),
        diffusion_longitudinal=_plain(medium.diffusion_longitudinal * (new_long / old_long)),
        diffusion_transverse=_plain(medium.diffusion_transverse * (new_trans / old_trans)),
    )


def _plain(value: Tensor) -> Value:
    """Return one number as a float, unless a gradient is asked for."""
    return value if value.dim() or value.requires_grad else float(value)


def walkowiak_icarus_velocity(efield: Value, temperature: Value) -> Tensor:
    """Return float64 drift velocity in cm/us: LArSoft's default, linear at low field, then ICARUS, then Walkowiak.

    W. Walkowiak, NIM A449 (2000) 288, and S. Amoruso et al. (ICARUS), NIM A516 (2004) 68, joined as in LArSoft
    lardataalg DetectorPropertiesStandard::DriftVelocity; its range is 87 to 94 K and up to 4 kV/cm.
    Arguments as in ``electron_mobility``.
    """
    field, kelvin = _number(efield), _number(temperature)
    icarus = _logarithmic(field, kelvin - 105.749, (-0.04640, 0.01712, 1.88125, 0.99408, 0.01172, 4.20214))
    walkowiak = _logarithmic(field, kelvin - 90.371, (-0.01481, -0.0075, 0.141, 12.4, 1.627, 0.317))
    part = torch.clamp((field - _LOW) / (_HIGH - _LOW), 0.0, 1.0)
    high = icarus * (1.0 - part) + walkowiak * part
    warm = kelvin - 87.203
    edge = 0.0938163 + warm * (-0.0052563 - 0.0001470 * warm)
    slope = 5.18406 + warm * (0.01448 + warm * (-0.003497 - 0.000516 * warm))
    return 0.1 * torch.where(field < edge, field * slope, high)


def _logarithmic(field: Tensor, warm: Tensor, p: tuple[float, ...]) -> Tensor:
    """Return (p1 dT + 1)(p3 E ln(1 + p4 / E) + p5 E^p6) + p2 dT in mm/us."""
    curve = p[2] * field * torch.log1p(p[3] / field) + p[4] * torch.pow(field, p[5])
    return (p[0] * warm + 1.0) * curve + p[1] * warm


def microboone_icarus_velocity(efield: Value, temperature: Value) -> Tensor:
    """Return float64 drift velocity in cm/us: the polynomial of MicroBooNE and ICARUS, arXiv:2008.09765.

    Its temperature slope, -1.84%/K about 89 K, is LArSoft's. Arguments as in ``electron_mobility``.
    """
    field, kelvin = _number(efield), _number(temperature)
    curve = torch.zeros_like(field)
    for constant in (-0.556184, 0.389696, 3.20752, -6.53093, 5.53416):
        curve = (curve + constant) * field
    return 0.1 * (1.0 - 0.0184 * (kelvin - 89.0)) * curve


class DriftVelocityOracle(Oracle):
    """Drift velocity of LArSoft (both models), larnd-sim and GAMPixPy."""

    name: ClassVar[str] = "drift_velocity"
    inputs: ClassVar[tuple[str, ...]] = ("efield_kV_cm", "temperature_K")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        # The compiled code prints nine decimals.
        "larsoft_walkowiak_icarus": (1e-6, 0.0),
        "larsoft_microboone_icarus": (1e-6, 0.0),
        "larndsim_bnl": (1e-6, 0.0),
        "gampixpy_bnl": (1e-6, 0.0),
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the velocity by each parametrisation."""
        point = [torch.from_numpy(numbers(table[name])) for name in self.inputs]
        bnl = drift_velocity(*point).numpy()
        return {
            "larsoft_walkowiak_icarus": walkowiak_icarus_velocity(*point).numpy(),
            "larsoft_microboone_icarus": microboone_icarus_velocity(*point).numpy(),
            "larndsim_bnl": bnl,
            "gampixpy_bnl": bnl,
        }


class DiffusionOracle(Oracle):
    """Diffusion constants of GAMPixPy, and the size of a cloud after a drift."""

    name: ClassVar[str] = "diffusion"
    inputs: ClassVar[tuple[str, ...]] = ("efield_kV_cm", "temperature_K", "distance_cm")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(
        ("DL_cm2_s", "DT_cm2_s", "DL_over_DT", "v_cm_us", "t_us", "sigma_L_mm", "sigma_T_mm", "sigma_t_us"), (1e-6, 0.0)
    )

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return constants, velocity, drift time and widths."""
        field, kelvin, distance = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        along, across = diffusion_constants(field, kelvin)
        velocity = drift_velocity(field, kelvin)
        time = distance / velocity
        # 1e-6 s/us, and 10 mm/cm.
        widths = [10.0 * torch.sqrt(2.0e-6 * constant * time) for constant in (along, across)]
        columns = (along, across, along / across, velocity, time, *widths, 0.1 * widths[0] / velocity)
        return {name: column.numpy() for name, column in zip(self.expected, columns, strict=True)}
