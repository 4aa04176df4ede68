"""Electron-ion recombination: the fraction of ionisation electrons that escape, by modified box or Birks' law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Medium, Parameter, Stream, Value
from shiftlab.units import MIP_DEDX

__all__ = ["Recombination", "birks", "modified_box"]

_BOX: Final = 0.0
_BIRKS: Final = 1.0

SMALLEST_DEDX: Final = 1.0
"""MeV/cm; smaller values, and point deposits, are treated as this one (larsim ISCalcCorrelated)."""


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


class Recombination(Effect[Charge]):
    """Charge that escapes recombination, from each step's own dE/dx."""

    name: ClassVar[str] = "recombination"
    stage: ClassVar[str] = "recombine"
    needs: ClassVar[tuple[str, ...]] = ("dedx", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "alpha",
            0.93,
            0.02,
            "1",
            (0.8, 1.2),
            requires=("model", _BOX),
            source="arXiv:1306.1712 (ArgoNeuT); bounds from larnd-sim-jax optimize/ranges.py",
            confidence="C",
            doc="Modified box: moves minimum-ionising tracks by 2.8%, stopping protons by 0.4%.",
        ),
        Parameter(
            "beta",
            0.212,
            0.002,
            "(kV/cm)(g/cm2)/MeV",
            (0.15, 0.25),
            requires=("model", _BOX),
            source="arXiv:1306.1712 (ArgoNeuT); bounds from larnd-sim-jax optimize/ranges.py",
            confidence="C",
            doc="Modified box: moves densely ionising steps most.",
        ),
        Parameter(
            "birks_a",
            0.800,
            0.003,
            "1",
            (0.5, 1.0),
            requires=("model", _BIRKS),
            source="larsim simulationservices.fcl (ICARUS 2004)",
            confidence="A",
            doc="Birks: overall factor.",
        ),
        Parameter(
            "birks_k",
            0.0486,
            0.0006,
            "(kV/cm)(g/cm2)/MeV",
            (0.03, 0.08),
            requires=("model", _BIRKS),
            source="Amoruso et al., NIM A523 (2004) 275",
            confidence="C",
            doc="Birks: quenching per dE/dx.",
        ),
        Parameter(
            "model",
            _BOX,
            0.0,
            "1",
            (_BOX, _BIRKS),
            two_sided=False,
            source="the two models in common use",
            confidence="A",
            choices=("modified_box", "birks"),
            doc="Which law gives the escaping fraction.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by the escaping fraction at its dE/dx."""
        dedx = torch.clamp(events.dedx, min=SMALLEST_DEDX)
        rows = {name: events.per_row(value) for name, value in values.items()}
        argon = (events.efield, events.per_row(events.medium.density))
        return events.with_electrons(events.electrons * _fraction(dedx, rows, *argon))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the escaping fraction at the dE/dx of a minimum-ionising muon, 2.1 MeV/cm."""
        return _fraction(torch.full_like(drift_time, MIP_DEDX), values, medium.efield, medium.density)


def _fraction(dedx: Tensor, values: Mapping[str, Value], efield: Value, density: Value) -> Tensor:
    medium = (efield, density)
    model = values["model"]
    if not isinstance(model, Tensor):
        if model == _BIRKS:
            return birks(dedx, values["birks_a"], values["birks_k"], *medium)
        return modified_box(dedx, values["alpha"], values["beta"], *medium)
    by_birks = birks(dedx, values["birks_a"], values["birks_k"], *medium)
    by_box = modified_box(dedx, values["alpha"], values["beta"], *medium)
    return torch.where(model == _BIRKS, by_birks, by_box)
