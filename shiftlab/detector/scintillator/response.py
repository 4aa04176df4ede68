"""Constants of a plastic-scintillator tracker's response and of its toy reconstruction, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from shiftlab.detector.medium import Value
from shiftlab.errors import ConfigError

__all__ = ["Response", "Toy"]

_SHIFTED: Final = ("birks", "light_yield", "attenuation_length", "statistics", "time_resolution")


@dataclass(frozen=True)
class Response:
    """How energy becomes photoelectrons and back; what the effects of stage ``respond`` work on.

    Birks' constant, light yield, attenuation length, time resolution and statistics may differ from event to
    event: a float64 tensor (event,) in place of the number.

    Attributes:
        birks: Birks' constant, cm/MeV. MINERvA's test beam found 0.0905 +- 0.015 mm/MeV (NIM A789 (2015) 28,
            arXiv:1501.06431).
        mip_dedx: Stopping power of polystyrene at minimum ionisation, MeV/cm: 1.936 MeV cm2/g at 1.060 g/cm3
            (Particle Data Group, atomic and nuclear properties).
        point_dedx: dE/dx, MeV/cm, at which deposits without length are quenched where a hadron or nucleus left
            them; an assumption, of the order of a proton of some MeV. They carry half a per cent of the energy.
        light_yield: Photoelectrons per MeV of a MIP in the middle of a strip; 6.5 were measured in the vertical
            slice test of strips, fibre and photomultiplier (MINERvA document, J. Chvojka and H. Budd).
        attenuation_length: Of the fibre, cm; 350 is the lower limit in the data sheet of Kuraray's Y-11 fibre.
        threshold: Fewest photoelectrons that are kept; an assumption.
        time_resolution: Of one hit, ns; 3.4 in the vertical slice test.
        statistics: Photoelectrons that count for the statistics, over those of the light yield. 1 is Poisson's law;
            the signal's relative variance is 1 / (statistics N), so that 1 / statistics is the excess noise factor.
    """

    birks: Value = 0.00905
    mip_dedx: float = 2.052
    point_dedx: float = 100.0
    light_yield: Value = 6.5
    attenuation_length: Value = 350.0
    threshold: int = 2
    time_resolution: Value = 3.4
    statistics: Value = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("mip_dedx", "point_dedx", "light_yield", "attenuation_length", "statistics"):
            _positive("response", name, getattr(self, name))
        for name in ("birks", "time_resolution"):
            _positive("response", name, getattr(self, name), zero=True)
        if self.threshold < 1:
            raise ConfigError(f"response.threshold = {self.threshold}; at least one photoelectron makes a hit.")

    def rows(self, event: Tensor) -> Response:
        """Return the constants of each row's event, ``event`` int64 (row,); numbers stay numbers."""
        each: dict[str, Any] = {name: getattr(self, name) for name in _SHIFTED}
        each = {name: value[event] for name, value in each.items() if isinstance(value, Tensor)}
        return replace(self, **each)


@dataclass(frozen=True)
class Toy:
    """Settings of the pattern recognition, all of them assumptions unless a source is named.

    Attributes:
        prong_planes: Fewest planes of a prong.
        photon_energy: Least energy of a photon, MeV.
        photon_planes: Fewest planes of a photon.
        blob_energy: Least energy of a blob, MeV; the smallest in published samples of MINERvA tokens.
        blob_gap: Clusters nearer than this belong to one blob, cm.
        michel_energy: Least energy of a tagged Michel electron, MeV.
        muon_momentum: Least true momentum of a matched muon, MeV/c.
        muon_angle: Largest true angle of a matched muon to the beam, degrees (the usual cut of MINERvA).
        muon_planes: A matched muon has a hit in one of this many last planes.
        muon_resolution: Relative spread of the muon's momentum; between that by range and that by curvature.
        muon_direction: Spread of each of the muon's two projected angles, radians.
        fuzz_distance: Energy of the matched muon farther than this from its line is fuzz, cm.
        iso_distance: Energy of blobs nearer than this to the matched muon's line is its isolated blobs', cm.
        position: Where the deposits' x = y = z = 0 is in the frame of the tokens, cm: the beam is at x = y = 0
            there, and z of blobs is 450 to 910 cm in published samples.
        spill: First and last time of an event, us; drawn flat, since deposits have no time.
    """

    prong_planes: int = 5
    photon_energy: float = 20.0
    photon_planes: int = 3
    blob_energy: float = 1.0
    blob_gap: float = 6.0
    michel_energy: float = 8.0
    muon_momentum: float = 1500.0
    muon_angle: float = 20.0
    muon_planes: int = 4
    muon_resolution: float = 0.06
    muon_direction: float = 0.010
    fuzz_distance: float = 3.3
    iso_distance: float = 20.0
    position: tuple[float, float, float] = (-115.0, -115.0, 540.0)
    spill: tuple[float, float] = (0.5, 9.5)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("blob_gap", "muon_angle", "fuzz_distance", "iso_distance"):
            _positive("toy", name, getattr(self, name))
        for name in ("photon_energy", "blob_energy", "michel_energy", "muon_momentum"):
            _positive("toy", name, getattr(self, name), zero=True)
        for name in ("muon_resolution", "muon_direction"):
            _positive("toy", name, getattr(self, name), zero=True)
        for name in ("prong_planes", "photon_planes", "muon_planes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"toy.{name} = {getattr(self, name)}; it must be at least 1.")
        if not self.spill[0] <= self.spill[1]:
            raise ConfigError(f"toy.spill = {self.spill}; its first time must not be after its last.")


def _positive(place: str, name: str, value: Value, *, zero: bool = False) -> None:
    if isinstance(value, Tensor):
        fits = bool((torch.isfinite(value) & ((value >= 0) if zero else (value > 0))).all())
    else:
        fits = (value > 0 or (zero and value == 0)) and value != float("inf")
    if not fits:
        wanted = "positive or zero" if zero else "positive"
        raise ConfigError(f"{place}.{name} = {value}; it must be {wanted} and finite.")
