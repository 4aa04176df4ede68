"""Energies, momenta and directions of tokens: from the logarithms of their columns and back, floors and units exact.

A token file holds log(pT + 1e-6 MeV) and log(E + 1e-6 MeV), or the same in GeV. Whatever changes a token's energy
works on E and pT themselves, in MeV and float64, and writes logarithms with the same floor; what it does not
change keeps every bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import torch
from torch import Tensor

from shiftlab.detector.medium import Value
from shiftlab.errors import DataError
from shiftlab.events.minerva_ml.columns import KINDS
from shiftlab.events.tokens import Tokens

__all__ = [
    "EDGE",
    "FLOOR",
    "FourMomentum",
    "four_momentum",
    "is_kind",
    "logarithm",
    "matched_muons",
    "per_token",
    "require_tokens",
    "visible_energy",
    "with_columns",
    "with_four_momentum",
    "without_floor",
]

FLOOR: Final = 1e-6
"""MeV, added to pT and E inside the logarithm (minerva-ml)."""

EDGE: Final = 10.0
"""Pseudorapidity is cut to +-10 (minerva-ml)."""

_SHIFT: Final = {"log(MeV)": 0.0, "log(GeV)": math.log(1000.0)}
_MASSLESS: Final = ("photon", "blob", "blob_aggregate")


class FourMomentum(NamedTuple):
    """Momentum, float64 (token, 3), and energy, float64 (token,), in MeV."""

    momentum: Tensor
    energy: Tensor


def require_tokens(tokens: Tokens, effect: str, *columns: str, kinds: bool = True) -> None:
    """Refuse tokens that lack what an effect reads.

    Args:
        tokens: The tokens.
        effect: Name of the effect, for the message.
        columns: Columns that it reads.
        kinds: Whether it tells particles apart by the kinds of minerva-ml.

    Raises:
        DataError: naming the effect and what is missing.
    """
    lacking = [name for name in columns if name not in tokens.columns]
    if lacking:
        raise DataError(
            f"effect {effect} needs columns {', '.join(lacking)} of the tokens; they have {', '.join(tokens.columns)}."
        )
    for name in ("log_pT", "log_E"):
        unit = tokens.units[tokens.columns.index(name)] if name in columns else "log(MeV)"
        if unit not in _SHIFT:
            raise DataError(f"effect {effect}: {name} of the tokens is in '{unit}'; allowed: {', '.join(_SHIFT)}.")
    if kinds and tokens.kinds != KINDS:
        raise DataError(
            f"effect {effect} tells tokens apart by the kinds {', '.join(KINDS)}; these have {', '.join(tokens.kinds)}."
        )


def per_token(tokens: Tokens, value: Value) -> Value:
    """Return a value per token where ``value`` is per event, else the one number."""
    return value[tokens.event_index] if isinstance(value, Tensor) and value.dim() == 1 else value


def is_kind(tokens: Tokens, *names: str) -> Tensor:
    """Return bool (token,): tokens of these kinds."""
    wanted = torch.tensor([KINDS.index(name) for name in names], device=tokens.particle.device)
    return torch.isin(tokens.particle, wanted)


def without_floor(tokens: Tokens, name: str) -> Tensor:
    """Return float64 (token,), MeV: E or pT of the column ``log_E`` or ``log_pT``, not below 0."""
    shift = _SHIFT[tokens.units[tokens.columns.index(name)]]
    return ((tokens.column(name).double() + shift).exp() - FLOOR).clamp(min=0.0)


def logarithm(tokens: Tokens, name: str, value: Tensor) -> Tensor:
    """Return float64 (token,): what the column ``name`` holds for ``value`` MeV, in the column's own unit."""
    return (value + FLOOR).log() - _SHIFT[tokens.units[tokens.columns.index(name)]]


def with_columns(tokens: Tokens, rows: Tensor, values: Mapping[str, Tensor]) -> Tokens:
    """Return the tokens with new entries in some columns; entries that are not valid and other rows keep their bits.

    Args:
        tokens: The tokens.
        rows: bool (token,), the rows that change.
        values: float64 (token,) by column.
    """
    columns = list(tokens.features.unbind(1))
    for name, value in values.items():
        place = tokens.columns.index(name)
        new = value.to(tokens.features.dtype)
        columns[place] = torch.where(rows & tokens.valid[:, place], new, columns[place])
    return replace(tokens, features=torch.stack(columns, dim=1))


def four_momentum(tokens: Tokens) -> FourMomentum:
    """Return momenta and energies; where pseudorapidity was cut, |p| is not known and is taken to be E."""
    eta, phi = tokens.column("eta").double(), tokens.column("phi").double()
    across, energy = without_floor(tokens, "log_pT"), without_floor(tokens, "log_E")
    cut = eta.abs() >= EDGE
    along = torch.where(cut, eta.sign() * (energy**2 - across**2).clamp(min=0.0).sqrt(), across * eta.sinh())
    return FourMomentum(torch.stack([across * phi.cos(), across * phi.sin(), along], dim=1), energy)


def with_four_momentum(tokens: Tokens, rows: Tensor, new: FourMomentum) -> Tokens:
    """Return the tokens with new eta, phi, log_pT and log_E in ``rows``, bool (token,)."""
    across = new.momentum[:, :2].norm(dim=1)
    # Without transverse momentum the ratio is infinite, and the cut makes it +-10; without momentum it is 0.
    eta = torch.where(across > 0, (new.momentum[:, 2] / across.clamp(min=1e-300)).asinh(), 0.0)
    eta = torch.where((across == 0) & (new.momentum[:, 2] != 0), new.momentum[:, 2].sign() * EDGE, eta)
    values = {
        "eta": eta.clamp(-EDGE, EDGE),
        "phi": torch.atan2(new.momentum[:, 1], new.momentum[:, 0]),
        "log_pT": logarithm(tokens, "log_pT", across),
        "log_E": logarithm(tokens, "log_E", new.energy),
    }
    return with_columns(tokens, rows, values)


def visible_energy(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return float64 (token,) twice, MeV: the energy that lights the detector, and the mass in the token's E.

    A prong's E holds the mass of its hypothesis, sqrt(E^2 - p^2); a photon's and a blob's holds none.
    """
    momentum, energy = four_momentum(tokens)
    mass = (energy**2 - (momentum**2).sum(dim=1)).clamp(min=0.0).sqrt()
    mass = torch.where(is_kind(tokens, *_MASSLESS), 0.0, mass)
    return energy - mass, mass


def matched_muons(tokens: Tokens) -> Tensor:
    """Return bool (token,): muon tokens, and the muon-like prong that holds the same four-momentum once more.

    The files of minerva-ml hold the matched muon twice, as ``muon`` and as ``prong_3``; both come from one fit.
    """
    muon = is_kind(tokens, "muon")
    keep = [tokens.columns.index(name) for name in ("eta", "phi", "log_pT", "log_E")]
    kinematics = tokens.features.detach()[:, keep]
    of_event = torch.full((len(tokens), len(keep)), torch.nan, dtype=kinematics.dtype, device=kinematics.device)
    event = tokens.event_index
    of_event[event[muon]] = kinematics[muon]
    return muon | (is_kind(tokens, "prong_3") & (of_event[event] == kinematics).all(dim=1))
