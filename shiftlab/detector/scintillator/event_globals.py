"""The sixteen globals of an event, made again from its tokens whenever these change."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.objects import Remainder
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBALS
from shiftlab.events.tokens import Tokens

__all__ = ["RECOIL", "globals_of", "remainder_of"]

RECOIL: Final = (1, 2, 4, 5, 6, 7)
"""Kinds whose energy is part of the hadronic recoil: all but the muon and the muon-like prongs."""

_SUMMED: Final = (2, 3, 4, 5, 6, 7)
_FLOOR: Final = 1e-5
_PASSIVE_FLOOR: Final = 1e-3
_PASSIVE_SCALE: Final = 1e4


def globals_of(features: Tensor, kind: Tensor, event: Tensor, remainder: Remainder) -> tuple[Tensor, Tensor]:
    """Return the globals, float32 (event, 16), and bool (event, 16), which of them are measured.

    A shift of tokens' energies or angles moves the hadronic recoil (column 2), the passive recoil (3 to 5), the
    two photons' mass (8) and the energy sums (10 to 15); tokens that come or go move also columns 7 and 9.
    Logarithms and offsets are minerva-ml's: log(E + 1e-5) for columns 0 to 2, log(E / 10^4 + 1e-3) for 3 to 5,
    log(sum + 1e-3) for 10 to 15, E in MeV.

    Args:
        features: float32 (token, column), as ``tokens_of`` makes them.
        kind: int64 (token,).
        event: int64 (token,).
        remainder: What the globals hold beyond the tokens.
    """
    events = len(remainder.recoil)
    energy = _energy(features)
    seen = total(energy * _is(kind, RECOIL), event, events)
    recoil = (remainder.recoil + seen).clamp(min=0.0)
    passive = (remainder.passive + seen).clamp(min=0.0) / _PASSIVE_SCALE
    outer = remainder.outer / _PASSIVE_SCALE
    sums = [total(energy * (kind == one), event, events) for one in _SUMMED]
    columns = [
        *((value.clamp(min=0.0) + _FLOOR).log() for value in (remainder.fuzz, remainder.isolated, recoil)),
        *((value + _PASSIVE_FLOOR).log() for value in (passive, outer, passive + outer)),
        remainder.michels,
        (total(kind == 0, event, events) > 0).double(),
        _two_photon_mass(features, kind, event, events),
        total(kind == 4, event, events) + remainder.pions,
        *((value + 1e-3).log() for value in sums),
    ]
    known = torch.ones((events, len(GLOBALS)), dtype=torch.bool, device=energy.device)
    known[:, 8] = columns[8] > 0
    return torch.stack(columns, dim=1).float(), known


def remainder_of(tokens: Tokens) -> Remainder:
    """Return what the globals of ``tokens`` hold beyond the tokens; ``globals_of`` then gives them back.

    Works for any tokens of this layout, also those of a file, whose recoil is not the sum of its tokens.
    """
    events, numbers = len(tokens), tokens.globals.double()
    seen = total(_energy(tokens.features) * _is(tokens.particle, RECOIL), tokens.event_index, events)
    passive, outer = ((numbers[:, i].exp() - _PASSIVE_FLOOR) * _PASSIVE_SCALE for i in (3, 4))
    return Remainder(
        fuzz=numbers[:, 0].exp() - _FLOOR,
        isolated=numbers[:, 1].exp() - _FLOOR,
        recoil=numbers[:, 2].exp() - _FLOOR - seen,
        passive=passive - seen,
        outer=outer,
        michels=numbers[:, 6],
        pions=numbers[:, 9] - total(tokens.particle == 4, tokens.event_index, events),
    )


def _energy(features: Tensor) -> Tensor:
    """Return float64 (token,), MeV: the exponential of the column log(E), as minerva-ml sums it."""
    return features[:, COLUMNS.index("log_E")].double().exp()


def _is(kind: Tensor, wanted: tuple[int, ...]) -> Tensor:
    return torch.isin(kind, torch.tensor(wanted, device=kind.device))


def _two_photon_mass(features: Tensor, kind: Tensor, event: Tensor, events: int) -> Tensor:
    """Return float64 (event,), MeV: invariant mass of an event's two photons, 0 where it has not two."""
    eta, phi, log_pt, log_e = (features[:, COLUMNS.index(n)].double() for n in ("eta", "phi", "log_pT", "log_E"))
    across = log_pt.exp()
    momentum = torch.stack([across * phi.cos(), across * phi.sin(), across * eta.sinh(), log_e.exp()], dim=1)
    photon = kind == 1
    summed = total(momentum[photon], event[photon], events)
    square = summed[:, 3] ** 2 - (summed[:, :3] ** 2).sum(dim=1)
    two = torch.bincount(event[photon], minlength=events) == 2
    return torch.where(two, square.clamp(min=0.0).sqrt(), 0.0)
