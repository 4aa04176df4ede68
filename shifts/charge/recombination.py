"""Electron-ion recombination: the fraction of ionisation electrons that escape, by one of four laws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Charge, ConfigError, Effect, Medium, Parameter, Stream, Value
from shiftlab.units import MIP_DEDX
from shifts.charge.recombination_laws import birks, doke_birks, ellipsoid_box, modified_box

__all__ = ["MEAN_COSINE", "SMALLEST_DEDX", "Recombination", "birks", "doke_birks", "ellipsoid_box", "modified_box"]

_BOX: Final = 0.0
_BIRKS: Final = 1.0
_EMB: Final = 2.0
_DOKE: Final = 3.0

SMALLEST_DEDX: Final = 1.0
"""MeV/cm; smaller values, and point deposits, are treated as this one (larsim ISCalcCorrelated)."""

MEAN_COSINE: Final = 3.0**-0.5
"""|cos| of a track of unknown direction: root mean square over all directions."""

_GAIN: Final = "a calibration with muons fixes gain times recombination over W, and leaves one residual"


class Recombination(Effect[Charge]):
    """Charge that escapes recombination, from each step's own dE/dx, and its angle to the field where the law asks."""

    name: ClassVar[str] = "recombination"
    stage: ClassVar[str] = "recombine"
    catalogue: ClassVar[tuple[str, ...]] = ("G1", "G2", "G3", "G4")
    needs: ClassVar[tuple[str, ...]] = ("dedx", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = tuple(
        (parameter, other, _GAIN)
        for parameter in ("alpha", "birks_a", "emb_alpha")
        for other in ("gain_scale", "w_value_w", "residual_gain_scale")
    )
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
            "emb_alpha",
            0.904,
            0.008,
            "1",
            (0.8, 1.0),
            requires=("model", _EMB),
            source="larsim simulationservices.fcl (ICARUS, arXiv:2407.12969); size from sbndcode recomb_variations",
            confidence="A",
            doc="Ellipsoid box: moves minimum-ionising tracks most.",
        ),
        Parameter(
            "emb_beta90",
            0.204,
            0.008,
            "(kV/cm)(g/cm2)/MeV",
            (0.15, 0.25),
            requires=("model", _EMB),
            source="larsim simulationservices.fcl (ICARUS, arXiv:2407.12969); size from sbndcode recomb_variations",
            confidence="A",
            doc="Ellipsoid box: quenching of steps across the field; 1.7% of the charge at 10 MeV/cm.",
        ),
        Parameter(
            "emb_r",
            1.25,
            0.02,
            "1",
            (1.0, 10.0),
            requires=("model", _EMB),
            source="larsim simulationservices.fcl (ICARUS, arXiv:2407.12969); size from sbndcode recomb_variations",
            confidence="A",
            doc="Ellipsoid box: how much more steps along the field recombine; 1 is the modified box.",
        ),
        Parameter(
            "model",
            _BOX,
            0.0,
            "1",
            (_BOX, _DOKE),
            two_sided=False,
            source="arXiv:1306.1712 (box), NIM A523 (2004) 275 (Birks), arXiv:2407.12969 (ellipsoid), NEST 2.1 and "
            "edep-sim (Doke-Birks)",
            confidence="A",
            choices=("modified_box", "birks", "emb", "doke_birks"),
            doc="Which law gives the escaping fraction; emb needs the directions of steps.",
        ),
    )

    def needed(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """Return also ``cosine`` where the law depends on the angle to the field."""
        return (*self.needs, "cosine") if values["model"] == _EMB else self.needs

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by the escaping fraction at its dE/dx.

        Raises:
            ConfigError: the law needs directions, and the deposits have none.
        """
        return events.with_electrons(events.electrons * _escaping(events, values))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Divide each deposit's charge by the escaping fraction at its dE/dx.

        Raises:
            ConfigError: nothing escapes from some deposit, or the law needs directions that the deposits do not have.
        """
        fraction = _escaping(events, values)
        if bool((fraction <= 0).any()):
            dedx = float(events.dedx[fraction <= 0][0])
            raise ConfigError(f"recombination cannot be undone: at {dedx:g} MeV/cm no electron escapes.")
        return events.with_electrons(events.electrons / fraction)

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the escaping fraction at the dE/dx of a minimum-ionising muon, 2.1 MeV/cm.

        The ellipsoid box is taken at the mean of cos^2 over all directions, 1/3.
        """
        cosine = torch.full_like(drift_time, MEAN_COSINE)
        return _fraction(torch.full_like(drift_time, MIP_DEDX), values, cosine, medium.efield, medium.density)


def _escaping(events: Charge, values: Mapping[str, Value]) -> Tensor:
    """Return float64 (deposit,): the escaping fraction of each deposit."""
    dedx = torch.clamp(events.dedx, min=SMALLEST_DEDX)
    rows = {name: events.per_row(value) for name, value in values.items()}
    return _fraction(dedx, rows, events.cosine, events.efield, events.per_row(events.medium.density))


def _fraction(
    dedx: Tensor, values: Mapping[str, Value], cosine: Tensor | None, efield: Value, density: Value
) -> Tensor:
    """Return the escaping fraction by the law of each row."""
    model = values["model"]
    if not isinstance(model, Tensor):
        return _by_law(float(model), dedx, values, cosine, efield, density)
    result = _by_law(_BOX, dedx, values, cosine, efield, density)
    for law in (_BIRKS, _EMB, _DOKE):
        chosen = model == law
        if bool(chosen.any()):
            result = torch.where(chosen, _by_law(law, dedx, values, cosine, efield, density), result)
    return result


def _by_law(
    law: float, dedx: Tensor, values: Mapping[str, Value], cosine: Tensor | None, efield: Value, density: Value
) -> Tensor:
    if law == _BIRKS:
        return birks(dedx, values["birks_a"], values["birks_k"], efield, density)
    if law == _DOKE:
        return doke_birks(dedx, efield, density)
    if law == _BOX:
        return modified_box(dedx, values["alpha"], values["beta"], efield, density)
    if cosine is None:
        raise ConfigError("recombination: the law emb needs directions of steps, which these deposits do not have.")
    own = (values["emb_alpha"], values["emb_beta90"], values["emb_r"])
    return ellipsoid_box(dedx, *own, cosine, efield, density)
