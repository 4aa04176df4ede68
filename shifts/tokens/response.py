"""Response to each kind of particle: the visible energy that showers, protons, mesons, neutrons and the rest leave.

A test beam measures the response particle by particle (MINERvA, NIM A789 (2015) 28, arXiv:1501.06431), so each
family is a nuisance of its own. Sizes are those of MAT-MINERvA's ``utilities/ParticleResponseDefaults.h``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.rederive import rederived
from shiftlab.detector.scintillator.token_kinematics import (
    logarithm,
    per_token,
    require_tokens,
    visible_energy,
    with_columns,
    without_floor,
)
from shiftlab.events.tokens import Tokens
from shifts.tokens.attribution import recoil_share, share_of
from shifts.tokens.identity import idle

__all__ = ["EmResponse", "MesonResponse", "NeutronResponse", "OtherResponse", "ProtonResponse", "rescaled"]

_CODE: Final = "MinervaExpt/MAT-MINERvA utilities/ParticleResponseDefaults.h"
_MEASURED: Final = (
    "energy in the blobs of 2000 ch_neutrino events of the toy (seed 1) by true particle: showers 0.164(10), primary "
    "protons 0.246(7), secondary protons 0.334(8), mesons 0.134(5), Michel electrons 0.110(3), rest 0.012(1)"
)


def rescaled(tokens: Tokens, factor: Tensor) -> Tokens:
    """Return the tokens with their visible energy times ``factor``, float64 (token,); direction and mass stay.

    Photons and blobs have no mass: log E and log pT grow by ln(factor). A prong's kinetic energy is what is visible:
    E = m + T factor, and p from the mass shell. Tokens with a factor of exactly 1 keep their bits.
    """
    visible, mass = visible_energy(tokens)
    shifted = visible * factor
    before, after = (part * (part + 2 * mass) for part in (visible, shifted))
    massless = (mass == 0) | (before <= 0)
    ratio = torch.where(massless, factor, (after / torch.where(massless, 1.0, before)).clamp(min=0.0).sqrt())
    values = {
        "log_pT": logarithm(tokens, "log_pT", without_floor(tokens, "log_pT") * ratio),
        "log_E": logarithm(tokens, "log_E", mass + shifted),
    }
    return with_columns(tokens, factor != 1.0, values)


def _scale(sigma: float, source: str, doc: str) -> Parameter:
    return Parameter(
        "scale", 1.0, sigma, "1", (0.0, 3.0), identity=1.0, source=f"{_CODE}: {source}", confidence="A", doc=doc
    )


def _share(name: str, nominal: float, source: str, doc: str) -> Parameter:
    return Parameter(name, nominal, 0.0, "1", (0.0, 1.0), source=source, confidence="C", doc=doc)


def _shares(blob: float, prong: float) -> tuple[Parameter, Parameter]:
    return (
        _share("blob_share", blob, _MEASURED, "Part of a blob's energy that the family left, where no truth says."),
        _share("prong_share", prong, "half each", "Part of the sum of spare prongs, where no truth says."),
    )


class _Response(Effect[Tokens]):
    """A family's visible energy times ``scale``; the recoil follows with the family's part of it."""

    family: ClassVar[str]
    stage: ClassVar[str] = "token"
    order: ClassVar[int] = 20
    needs: ClassVar[tuple[str, ...]] = ("features", "particle")
    changes: ClassVar[tuple[str, ...]] = ("features", "valid", "particle", "globals", "global_valid", "truth")

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Rescale tokens; recoil times 1 + (scale - 1) E_p/E_tot (MAT-MINERvA, ``GetRecoilShift``)."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E")
        share = share_of(events, self.family, self.name, values)
        change = torch.as_tensor(values["scale"], dtype=torch.float64, device=share.device) - 1.0
        factor = 1.0 + share * per_token(events, change)
        recoil = 1.0 + recoil_share(events, share) * change
        return rederived(events, rescaled(events, factor), recoil)


class EmResponse(_Response):
    """Energy of photons and of the showers in blobs times ``scale``; Michel electrons are not among them.

    The efficiency of the Michel tag holds the shower energy already, so the blobs' share leaves Michel electrons out.
    """

    name: ClassVar[str] = "em_response"
    catalogue: ClassVar[tuple[str, ...]] = ("M1",)
    family: ClassVar[str] = "em"
    parameters = (
        _scale(0.03, "electromagnetic 3%", "Response to electrons and photons, relative to nominal."),
        *_shares(0.164, 0.0),
    )


class ProtonResponse(_Response):
    """Visible energy of proton prongs and of the protons in blobs times ``scale``."""

    name: ClassVar[str] = "proton_response"
    catalogue: ClassVar[tuple[str, ...]] = ("M2",)
    family: ClassVar[str] = "proton"
    parameters = (
        _scale(0.035, "proton 3.5% (4, 3.5, 3% by kinetic energy)", "Response to protons, relative to nominal."),
        *_shares(0.246, 0.5),
    )


class MesonResponse(_Response):
    """Visible energy of pion prongs and of the mesons in blobs times ``scale``."""

    name: ClassVar[str] = "meson_response"
    catalogue: ClassVar[tuple[str, ...]] = ("M3",)
    family: ClassVar[str] = "meson"
    parameters = (
        _scale(0.05, "meson 5%", "Response to charged pions and kaons, relative to nominal."),
        *_shares(0.134, 0.5),
    )


class NeutronResponse(_Response):
    """Visible energy that neutrons leave in blobs times ``scale``; not together with a neutron reweighting.

    MAT-MINERvA varies low, middle and high kinetic energies by 25, 10 and 20%. A token does not know its neutron's
    energy; low energies are most of the blobs, so one scale has the size of the lowest, which is the largest.
    Secondary protons are taken for the neutrons' work: the sample does not say which of them pions or protons made.
    """

    name: ClassVar[str] = "neutron_response"
    catalogue: ClassVar[tuple[str, ...]] = ("M4",)
    family: ClassVar[str] = "neutron"
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("scale", "hadron_reinteraction_neutron", "the neutron reweighting covers the same response"),
    )
    parameters = (
        _scale(0.25, "neutron 25% at low energy (10, 20%)", "Response to neutrons, relative to nominal."),
        *_shares(0.334, 0.0),
    )


class OtherResponse(_Response):
    """Visible energy of everything else in blobs times ``scale``."""

    name: ClassVar[str] = "other_response"
    catalogue: ClassVar[tuple[str, ...]] = ("M5",)
    family: ClassVar[str] = "other"
    parameters = (
        _scale(0.20, "other particles 20%", "Response to fragments and unknown particles, relative to nominal."),
        *_shares(0.012, 0.0),
    )
