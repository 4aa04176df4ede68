"""Laws of electron-ion recombination in liquid argon: the fraction of electrons that escape, and its inverses."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from shiftlab.detector import ConfigError, Value
from shiftlab.units import W_ION_EV

__all__ = [
    "EXCITONS_PER_ION",
    "birks",
    "birks_inverse",
    "doke_birks",
    "emb_beta",
    "emb_inverse",
    "ellipsoid_box",
    "modified_box",
    "modified_box_inverse",
    "photons",
]

EXCITONS_PER_ION: Final = 0.21
"""Excited atoms per ion pair (Doke et al., NIM A269 (1988) 291): one quantum costs 23.6 eV / 1.21 = 19.5 eV."""

_DOKE_SCALE: Final = 0.07
_DOKE_POWER: Final = -0.85
_DOKE_DENSITY: Final = 1.393


def modified_box(dedx: Tensor, alpha: Value, beta: Value, efield: Value, density: Value) -> Tensor:
    """Return the escaping fraction ln(alpha + xi) / xi, xi = beta dE/dx / (rho E), not below 0.

    ArgoNeuT, arXiv:1306.1712. ``dedx`` in MeV/cm (positive), ``beta`` in (kV/cm)(g/cm2)/MeV,
    ``efield`` in kV/cm, ``density`` in g/cm3; any shape.
    """
    xi = dedx * (beta / (density * efield))
    return torch.clamp(torch.log(alpha + xi) / xi, min=0.0)


def birks(dedx: Tensor, a: Value, k: Value, efield: Value, density: Value) -> Tensor:
    """Return the escaping fraction A / (1 + k dE/dx / (rho E)).

    ICARUS, Amoruso et al., NIM A523 (2004) 275. Units as in ``modified_box``.
    """
    # A plain number over a tensor would be rounded twice: torch multiplies it by the reciprocal.
    return torch.as_tensor(a, dtype=dedx.dtype, device=dedx.device) / (1.0 + dedx * (k / (density * efield)))


def emb_beta(beta90: Value, r: Value, cosine: Tensor) -> Tensor:
    """Return beta of a step at an angle phi to the field: beta90 / sqrt(sin^2 phi + cos^2 phi / R^2).

    ICARUS, arXiv:2407.12969. ``cosine`` is |cos phi|, any shape; at R = 1 the result is ``beta90``, bit for bit.
    """
    return beta90 / torch.sqrt(1.0 - cosine * cosine * (1.0 - 1.0 / (r * r)))


def ellipsoid_box(
    dedx: Tensor, alpha: Value, beta90: Value, r: Value, cosine: Tensor, efield: Value, density: Value
) -> Tensor:
    """Return the escaping fraction of the ellipsoid modified box: ``modified_box`` with ``emb_beta``.

    ICARUS, arXiv:2407.12969. Units as in ``modified_box``.
    """
    return modified_box(dedx, alpha, emb_beta(beta90, r, cosine), efield, density)


def doke_birks(dedx: Tensor, efield: Value, density: Value) -> Tensor:
    """Return the escaping fraction of NEST's first argon model and of edep-sim, not below 0.

    It is 1 - (A L / (1 + A L)) rho / 1.393 with L = dE/dx / rho in MeV cm2/g and A = 0.07 (E / (kV/cm))^-0.85, for
    electrons and muons: 0.84 for a minimum-ionising muon, where all other laws have 0.70. Units as in ``modified_box``.
    """
    strength = _DOKE_SCALE * torch.as_tensor(efield, dtype=dedx.dtype, device=dedx.device) ** _DOKE_POWER
    transfer = strength * (dedx / density)
    return torch.clamp(1.0 - transfer / (1.0 + transfer) * (density / _DOKE_DENSITY), min=0.0)


def photons(energy: Tensor, electrons: Tensor, w: Value = W_ION_EV) -> Tensor:
    """Return the scintillation photons of ``energy`` (MeV) where ``electrons`` escape: all quanta but these.

    Quanta are conserved: N_ph = E / W_ph - N_e with W_ph = ``w`` / 1.21 (eV), so charge and light are anticorrelated.
    """
    return energy * (1e6 * (1.0 + EXCITONS_PER_ION) / w) - electrons


def birks_inverse(dqdx: Tensor, a: Value, k: Value, efield: Value, density: Value, w: Value = W_ION_EV) -> Tensor:
    """Return dE/dx in MeV/cm of charge ``dqdx`` (electrons/cm): q / (A / W - k q / (rho E)), W in MeV.

    Units as in ``modified_box``; ``w`` in eV.

    Raises:
        ConfigError: a charge is negative or NaN, or at or above the pole A rho E / (k W), which no dE/dx reaches.
    """
    _refuse_negative(dqdx)
    most = a / (1e-6 * w)
    room = most - dqdx * (k / (density * efield))
    # At the pole itself rounding may leave a little room on either side.
    bad = torch.nonzero((room <= 1e-12 * most).flatten())
    if len(bad):
        given = float(dqdx.flatten()[bad[0, 0]])
        pole = most * (density * efield / k)
        least = float(torch.as_tensor(pole).min())
        raise ConfigError(
            f"Birks' law gives less than {least:.6g} electrons/cm (A rho E / (k W)) at any dE/dx; given {given:.6g}."
        )
    return dqdx / room


def modified_box_inverse(
    dqdx: Tensor, alpha: Value, beta: Value, efield: Value, density: Value, w: Value = W_ION_EV
) -> Tensor:
    """Return dE/dx in MeV/cm of charge ``dqdx`` (electrons/cm): (exp(b W q) - alpha) / b, b = beta / (rho E), W in MeV.

    Units as in ``modified_box``; ``w`` in eV. Without charge it is the dE/dx below which the law gives none.

    Raises:
        ConfigError: a charge is negative or NaN, or so small that the law with alpha above 1 never gives it.
    """
    _refuse_negative(dqdx)
    scale = beta / (density * efield)
    dedx = (torch.exp(dqdx * (1e-6 * w) * scale) - alpha) / scale
    bad = torch.nonzero((dedx < 0).flatten())
    if len(bad):
        given = float(dqdx.flatten()[bad[0, 0]])
        raise ConfigError(f"the box law with alpha above 1 gives more than {given:.6g} electrons/cm at any dE/dx.")
    return dedx


def emb_inverse(
    dqdx: Tensor,
    alpha: Value,
    beta90: Value,
    r: Value,
    cosine: Tensor,
    efield: Value,
    density: Value,
    w: Value = W_ION_EV,
) -> Tensor:
    """Return dE/dx in MeV/cm where the angle to the field is known: ``modified_box_inverse`` with ``emb_beta``.

    Raises:
        ConfigError: as in ``modified_box_inverse``.
    """
    return modified_box_inverse(dqdx, alpha, emb_beta(beta90, r, cosine), efield, density, w)


def _refuse_negative(dqdx: Tensor) -> None:
    bad = torch.nonzero(~(dqdx >= 0).flatten())
    if len(bad):
        raise ConfigError(f"a charge of {float(dqdx.flatten()[bad[0, 0]]):g} electrons/cm has no dE/dx.")
