"""Which particles a token's energy belongs to: by truth where the file has it, else by kind and a declared mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector import DataError, Value
from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.event_globals import RECOIL
from shiftlab.detector.scintillator.token_kinematics import is_kind, matched_muons, per_token, visible_energy
from shiftlab.events.minerva_ml.columns import KINDS
from shiftlab.events.tokens import Tokens

__all__ = ["FAMILIES", "HYPOTHESES", "recoil_share", "share_of"]

FAMILIES: Final = ("em", "proton", "meson", "neutron", "other")
"""Particle hypotheses that MAT-MINERvA varies one by one (``universes/ResponseSystematics.cxx``)."""

HYPOTHESES: Final[Mapping[str, str]] = {"photon": "em", "prong_13": "proton", "prong_8": "meson"}
"""Family of the kinds that are a particle hypothesis. That 13 is the proton and 8 the pion is inferred from
minerva-ml's code; muons and muon-like prongs belong to no family."""

_MIXED: Final[Mapping[str, str]] = {
    "blob": "blob_share",
    "blob_aggregate": "blob_share",
    "prong_aggregate": "prong_share",
}


def share_of(tokens: Tokens, family: str, effect: str, shares: Mapping[str, Value]) -> Tensor:
    """Return float64 (token,): the part of each token's visible energy that a family of particles left.

    Args:
        tokens: The tokens.
        family: One of FAMILIES.
        effect: Name of the effect, for messages.
        shares: ``blob_share`` and ``prong_share``: the family's part of blobs and of the sum of spare prongs, where
            the file has no truth of its own; one number or float64 (event,).

    Raises:
        DataError: neither truth ``fraction_{family}`` nor the kinds are there, or the truth is not a fraction.
    """
    name = f"fraction_{family}"
    if name in tokens.truth:
        return _true_share(tokens, name, effect)
    if tokens.kinds != KINDS:
        raise DataError(
            f"effect {effect} must know whose energy a token holds: it needs truth {name} of the tokens, or the kinds "
            f"{', '.join(KINDS)}; these have truth {', '.join(tokens.truth) or 'none'} and kinds "
            f"{', '.join(tokens.kinds)}."
        )
    share = torch.zeros(len(tokens.particle), dtype=torch.float64, device=tokens.particle.device)
    for kind, own in HYPOTHESES.items():
        if own == family:
            share = torch.where(is_kind(tokens, kind), 1.0, share)
    for kind, parameter in _MIXED.items():
        share = torch.where(is_kind(tokens, kind), per_token(tokens, shares[parameter]), share)
    return share


def recoil_share(tokens: Tokens, share: Tensor) -> Tensor:
    """Return float64 (event,): E_p/E_tot, the part of the recoil's visible energy that a family left.

    E_tot sums the visible energy of all tokens but the matched muon's two. MAT-MINERvA takes the same ratio from
    passive-corrected energies of the true particles (``ResponseSystematics.cxx``, ``GetRecoilShift``).

    Args:
        tokens: The tokens.
        share: float64 (token,), from ``share_of``.
    """
    visible, _ = visible_energy(tokens)
    hadronic = torch.isin(tokens.particle, torch.tensor((*RECOIL, KINDS.index("prong_3")), device=share.device))
    visible = torch.where(hadronic & ~matched_muons(tokens), visible, 0.0)
    event, events = tokens.event_index, len(tokens)
    whole = total(visible, event, events)
    return total(visible * share, event, events) / torch.where(whole > 0, whole, 1.0)


def _true_share(tokens: Tokens, name: str, effect: str) -> Tensor:
    share = tokens.truth[name].double()
    bad = torch.nonzero(~((share >= 0) & (share <= 1)))
    if len(bad):
        row = int(bad[0])
        event = int(tokens.event_index[row])
        raise DataError(
            f"effect {effect}: event {event}, token {row - int(tokens.offsets[event])}: truth {name} is "
            f"{float(share[row])}; it must be a fraction from 0 to 1."
        )
    return share
