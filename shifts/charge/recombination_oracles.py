"""Independent numbers on recombination: escaping fractions, inverse calorimetry, and NEST's quanta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Oracle, numbers
from shiftlab.units import W_ION_EV
from shifts.charge.recombination_laws import (
    EXCITONS_PER_ION,
    birks,
    birks_inverse,
    doke_birks,
    ellipsoid_box,
    modified_box,
    modified_box_inverse,
    photons,
)

__all__ = ["DokeBirksOracle", "InverseOracle", "NestYieldOracle", "RecombinationOracle"]

Table = Mapping[str, npt.NDArray[np.str_]]
Columns = Mapping[str, npt.NDArray[np.float64]]

_LARSOFT_W: Final = 1e9 / 4.237e7
"""eV; LArSoft has 4.237e7 electrons per GeV."""

_NEST_W: Final = 19.5
"""eV per quantum in NEST."""


class RecombinationOracle(Oracle):
    """Escaping fraction, electrons and photons of JAXTPC, larnd-sim-jax, GAMPixPy and SPINE, run side by side."""

    name: ClassVar[str] = "recombination"
    inputs: ClassVar[tuple[str, ...]] = (
        "model",
        "A_or_alpha",
        "k_or_beta",
        "R_aniso",
        "efield_kV_cm",
        "density_g_cm3",
        "dEdx_MeV_cm",
        "phi_deg",
    )
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        # The absolute part is the table's last digit.
        "R": (1e-6, 1e-10),
        "electrons_per_MeV": (1e-6, 1e-5),
        "photons_per_MeV": (1e-6, 1e-5),
    }

    def compute(self, table: Table) -> Columns:
        """Return what the law named in the column ``model`` gives; other names are not compared."""
        columns = {name: torch.from_numpy(numbers(table[name])) for name in self.inputs[1:]}
        one, two, field, density, dedx = (
            columns[name] for name in ("A_or_alpha", "k_or_beta", "efield_kV_cm", "density_g_cm3", "dEdx_MeV_cm")
        )
        cosine = torch.cos(torch.deg2rad(columns["phi_deg"]))
        laws = {
            "birks": birks(dedx, one, two, field, density),
            "modbox": modified_box(dedx, one, two, field, density),
            "emb": ellipsoid_box(dedx, one, two, columns["R_aniso"], cosine, field, density),
        }
        kind = np.array([str(name).split("_")[0] for name in table["model"]])
        fraction = torch.full_like(dedx, torch.nan)
        for name, law in laws.items():
            fraction = torch.where(torch.from_numpy(kind == name), law, fraction)
        electrons = fraction * (1e6 / W_ION_EV)
        light = photons(torch.ones_like(electrons), electrons)
        return _named(self.expected, fraction, electrons, light)


class InverseOracle(Oracle):
    """dE/dx from dQ/dx by LArSoft (23.6016 eV per ion pair) and SPINE (23.6 eV)."""

    name: ClassVar[str] = "recombination_inverse"
    inputs: ClassVar[tuple[str, ...]] = ("dQdx_e_per_cm", "efield_kV_cm", "density_g_cm3")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(
        ("larsoft_birks_dEdx", "larsoft_modbox_dEdx", "spine_birks_dEdx", "spine_modbox_dEdx"), (1e-6, 0.0)
    )

    def compute(self, table: Table) -> Columns:
        """Return the inverses with the constants of ICARUS 2004 and ArgoNeuT."""
        charge, *argon = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        found = [
            law(charge, *constants, argon[0], argon[1], w)
            for w in (_LARSOFT_W, W_ION_EV)
            for law, constants in ((birks_inverse, (0.8, 0.0486)), (modified_box_inverse, (0.93, 0.212)))
        ]
        return _named(self.expected, *found)


class DokeBirksOracle(Oracle):
    """Recombination of nestpy 2.1.3, the legacy model for leptons."""

    name: ClassVar[str] = "doke_birks_nest"
    inputs: ClassVar[tuple[str, ...]] = ("efield_kV_cm", "density_g_cm3", "dEdx_MeV_cm")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {"recomb_prob": (1e-6, 0.0), "survival_R": (1e-6, 0.0)}

    def compute(self, table: Table) -> Columns:
        """Return the recombining and the escaping fraction."""
        field, density, dedx = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        fraction = doke_birks(dedx, field, density)
        return _named(self.expected, 1.0 - fraction, fraction)


class NestYieldOracle(Oracle):
    """Quanta of nestpy 2.1.3 for electron recoils.

    NEST's split into charge and light is a fit of its own to low energies, not a function of dE/dx: its electrons are
    taken from the table. Compared are ion pairs and excitons, and the light that conservation of quanta leaves.
    """

    name: ClassVar[str] = "nest_er_yields"
    inputs: ClassVar[tuple[str, ...]] = ("efield_kV_cm", "E_keV", "Ne")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(
        ("Nion", "Nex", "Nph", "Ne_over_Nion", "Nex_over_Nion"), (1e-6, 0.0)
    )

    def compute(self, table: Table) -> Columns:
        """Return numbers of quanta from energy and electrons."""
        energy = 1e-3 * torch.from_numpy(numbers(table["E_keV"]))
        electrons = torch.from_numpy(numbers(table["Ne"]))
        w = _NEST_W * (1.0 + EXCITONS_PER_ION)
        ions = energy * (1e6 / w)
        excitons = EXCITONS_PER_ION * ions
        light = photons(energy, electrons, w)
        return _named(self.expected, ions, excitons, light, electrons / ions, excitons / ions)


def _named(names: Mapping[str, object], *columns: Tensor) -> Columns:
    return {name: column.numpy() for name, column in zip(names, columns, strict=True)}
