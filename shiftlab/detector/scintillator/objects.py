"""Reconstructed objects of many events: muons, photons, blobs and prongs before they become tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

__all__ = ["KINDS", "MASSES", "Objects", "Remainder", "join", "rank"]

KINDS: Final = ("muon", "photon", "blob", "prong_muon", "prong_pion", "prong_proton")
"""Kinds of objects, in the numbering of the tokens (0 to 5)."""

MASSES: Final = {"prong_muon": 105.658, "prong_pion": 139.570, "prong_proton": 938.272}
"""Mass that each hypothesis gives a prong, MeV (Particle Data Group)."""


@dataclass(frozen=True)
class Objects:
    """Objects of one or several kinds.

    Attributes:
        event: int64 (object,).
        kind: int64 (object,), place in KINDS.
        momentum: float64 (object, 4): px, py, pz, E in MeV.
        dedx: float64 (object,), MeV/cm; NaN where the kind has none.
        position: float64 (object, 3), mm, in the tokens' frame; NaN where the kind has none.
        time: float64 (object,), ns.
    """

    event: Tensor
    kind: Tensor
    momentum: Tensor
    dedx: Tensor
    position: Tensor
    time: Tensor

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.event)


@dataclass(frozen=True)
class Remainder:
    """What an event's globals hold beyond its tokens; float64 (event,), MeV unless said.

    The recoil's tokens are photons, blobs, pion and proton prongs and the two aggregates.

    Attributes:
        fuzz: Energy of the matched muon away from its line.
        isolated: Energy of blobs near the matched muon's line.
        recoil: Hadronic recoil less the summed E of the recoil's tokens: what lies under the blobs' threshold,
            less the masses in the prongs' E.
        passive: The same for the recoil corrected for passive material, inner detector.
        outer: Energy of the outer detector; 0 where there is none.
        michels: Number of Michel electrons.
        pions: Number of pion prongs that are no token of their own.
    """

    fuzz: Tensor
    isolated: Tensor
    recoil: Tensor
    passive: Tensor
    outer: Tensor
    michels: Tensor
    pions: Tensor


def join(parts: list[Objects]) -> Objects:
    """Return all objects, sorted by event, then in the order of the parts."""
    event = torch.cat([part.event for part in parts])
    order = torch.argsort(event, stable=True)
    return Objects(*(torch.cat([getattr(part, n) for part in parts])[order] for n in Objects.__dataclass_fields__))


def rank(event: Tensor, value: Tensor) -> Tensor:
    """Return int64 (row,): the place of each row among those of its event, 0 for the largest value."""
    order = torch.argsort(value, descending=True, stable=True)
    order = order[torch.argsort(event[order], stable=True)]
    ordered = event[order]
    start = torch.searchsorted(ordered, ordered)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=event.device) - start
    return place
