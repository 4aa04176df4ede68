"""The matched muon of an event: its momentum as reconstructed and in truth, and tokens with another one."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from shiftlab.detector import DataError
from shiftlab.detector.scintillator.rederive import rederived
from shiftlab.detector.scintillator.token_kinematics import (
    FourMomentum,
    four_momentum,
    logarithm,
    matched_muons,
    with_columns,
    with_four_momentum,
    without_floor,
)
from shiftlab.events.tokens import Tokens

__all__ = ["MUON_MASS", "true_momentum", "with_direction", "with_size"]

MUON_MASS: Final = 105.6583755
"""MeV (Particle Data Group)."""

_TRUTH: Final = tuple(f"muon_momentum_{axis}" for axis in "xyz")


def true_momentum(tokens: Tokens, effect: str) -> Tensor:
    """Return float64 (token, 3), MeV: the true momentum of the muon of each token's event.

    Raises:
        DataError: the events lack the truth, or it is NaN where there is a muon token.
    """
    truth = tokens.events.truth
    lacking = [name for name in _TRUTH if name not in truth]
    if lacking:
        raise DataError(f"effect {effect} needs the truth {', '.join(lacking)} of the events, which they do not have.")
    momentum = torch.stack([truth[name].double() for name in _TRUTH], dim=1)[tokens.event_index]
    bad = torch.nonzero(matched_muons(tokens) & ~torch.isfinite(momentum).all(dim=1))
    if len(bad):
        event = int(tokens.event_index[int(bad[0])])
        raise DataError(f"effect {effect}: event {event} has a muon token, but its truth {_TRUTH[0]} is NaN.")
    return momentum


def with_size(tokens: Tokens, size: Tensor, effect: str) -> Tokens:
    """Return the tokens with |p| of the matched muon ``size``, float64 (token,) MeV; direction kept, E on mass shell.

    Both tokens of the muon change. The recoil holds no muon, and keeps its bits.

    Raises:
        DataError: a muon would have no momentum left.
    """
    muon = matched_muons(tokens)
    momentum, _ = four_momentum(tokens)
    old = momentum.norm(dim=1)
    bad = torch.nonzero(muon & ~(size > 0))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"effect {effect}: event {int(tokens.event_index[row])}: the muon's momentum of {float(old[row]):g} MeV "
            f"would become {float(size[row]):g} MeV; it must stay positive."
        )
    across = without_floor(tokens, "log_pT") * size / torch.where(old > 0, old, 1.0)
    values = {
        "log_pT": logarithm(tokens, "log_pT", torch.where(muon, across, 0.0)),
        "log_E": logarithm(tokens, "log_E", (size**2 + MUON_MASS**2).sqrt()),
    }
    return rederived(tokens, with_columns(tokens, muon & (size != old), values))


def with_direction(tokens: Tokens, slope: Tensor, rows: Tensor) -> Tokens:
    """Return the tokens with other directions in ``rows``, bool (token,); |p| and E stay.

    Args:
        tokens: The tokens.
        slope: float64 (token, 2), px/pz and py/pz, of particles that go forward.
        rows: Tokens that change.
    """
    momentum, energy = four_momentum(tokens)
    forward = torch.cat([slope, torch.ones_like(slope[:, :1])], dim=1)
    turned = momentum.norm(dim=1, keepdim=True) * forward / forward.norm(dim=1, keepdim=True)
    new = with_four_momentum(tokens, rows, FourMomentum(turned, energy))
    keep = with_columns(new, rows, {"log_E": tokens.column("log_E").double()})
    return rederived(tokens, keep)
