"""Birks quenching in plastic scintillator: densely ionising particles give less light for their energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import Effect, Oracle, Parameter, Response, Stream, Value, numbers, quenching

__all__ = ["PlasticQuenching", "ScintillatorBirks", "unquenched"]

_CM = 0.1
"""cm in a mm: kB in mm/MeV times it is kB in cm/MeV."""


def unquenched(seen: Tensor, length: Tensor, birks: Value) -> Tensor:
    """Return the deposited energy, E_vis / (1 - kB E_vis / dx), the inverse of E_vis = E / (1 + kB E / dx).

    Args:
        seen: visible energy, MeV, any shape; kB E_vis / dx is below 1 for every energy.
        length: path length dx, cm, positive.
        birks: kB, cm/MeV.
    """
    return seen / (1.0 - birks * seen / length)


class ScintillatorBirks(Effect[Response]):
    """Birks' constant of the strips: the light of a step is E / (1 + kB dE/dx), dE/dx that of the step itself.

    The light yield is given for minimum-ionising particles, which calibration with muons holds fixed: a larger kB
    moves protons down and leaves muons where they are.
    """

    name: ClassVar[str] = "scintillator_birks"
    stage: ClassVar[str] = "respond"
    catalogue: ClassVar[tuple[str, ...]] = ("S1",)
    needs: ClassVar[tuple[str, ...]] = ("birks",)
    changes: ClassVar[tuple[str, ...]] = ("birks",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("kb", "proton_response_scale", "quenching is one cause of the uncertain response to protons"),
        ("kb", "neutron_response_scale", "what neutrons leave are recoil protons, whose light is quenched"),
    )
    parameters = (
        Parameter(
            "kb",
            0.0905,
            0.015,
            "mm/MeV",
            (0.0, 0.3),
            source="MINERvA test beam, NIM A789 (2015) 28, arXiv:1501.06431 (quoted, not read)",
            confidence="C",
            doc="Birks' constant; at 20 MeV/cm one sigma takes 2.2% of the light, relative to a muon's.",
        ),
    )

    def apply(self, events: Response, values: Mapping[str, Value], stream: Stream) -> Response:
        """Put the constant into the response."""
        return replace(events, birks=values["kb"] * _CM)


class PlasticQuenching(Oracle):
    """Quenched light of a step against Geant4's expression (G4EmSaturation, charged particles)."""

    name: ClassVar[str] = "scint_birks"
    inputs: ClassVar[tuple[str, ...]] = ("kB_mm_per_MeV", "dEdx_MeV_cm")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        # The table is printed to ten digits.
        "quench_factor": (1e-9, 0.0),
        "visible_dEdx_MeV_cm": (1e-9, 0.0),
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the share of the energy that gives light, and the light of a cm, MeV/cm."""
        birks, dedx = (torch.from_numpy(numbers(table[name])) for name in self.inputs)
        factor = quenching(dedx, birks * _CM)
        return {"quench_factor": factor.numpy(), "visible_dEdx_MeV_cm": (factor * dedx).numpy()}
