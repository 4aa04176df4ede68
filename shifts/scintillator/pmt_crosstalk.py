"""Cross-talk of photomultipliers with many anodes: light of one fibre that is counted on its neighbours' pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Effect, Hits, Parameter, Stream, Value
from shifts.scintillator.photomultipliers import neighbours

__all__ = ["PmtCrosstalk"]

_CONSERVING: Final = 1.0
_FIXED: Final = 2.0**20
"""Light is moved in whole millionths of a photoelectron, so that no sum depends on its order."""


class PmtCrosstalk(Effect[Hits]):
    """A quarter of ``fraction`` of each strip's light appears on each of the four pixels beside its own.

    How strips lie on pixels is in ``photomultipliers``; a neighbour without a fibre takes nothing. A strip that has
    more light from others than of its own belongs to no particle.
    """

    name: ClassVar[str] = "pmt_crosstalk"
    stage: ClassVar[str] = "couple"
    catalogue: ClassVar[tuple[str, ...]] = ("S3",)
    needs: ClassVar[tuple[str, ...]] = ("plane", "strip", "expected", "along")
    changes: ClassVar[tuple[str, ...]] = ("event", "plane", "strip", "owner", "expected", "count", "energy", "along")
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("fraction", "crosstalk_response_scale", "both are the uncertain energy of cross-talk"),
    )
    parameters = (
        Parameter(
            "fraction",
            0.04,
            0.20,
            "1",
            (0.0, 0.25),
            identity=0.0,
            scale="log",
            source="20% of the component: MAT-MINERvA ParticleResponseDefaults.h; the nominal 4% is the size quoted "
            "for such photomultipliers with 1.2 mm fibres, to be confirmed",
            confidence="C",
            doc="Light that four neighbours together take from, or see of, a strip.",
        ),
        Parameter(
            "model",
            0.0,
            0.0,
            "1",
            (0.0, _CONSERVING),
            two_sided=False,
            source="the two ways in which cross-talk is modelled",
            confidence="A",
            choices=("additive", "conserving"),
            doc="Additive: the strip's own signal stays, since calibration is made with it; conserving: it loses.",
        ),
    )

    def apply(self, events: Hits, values: Mapping[str, Value], stream: Stream) -> Hits:
        """Give each strip's share to its pixel's neighbours; strips that had no light may come into the list."""
        beside = neighbours(events.geometry.strips).to(events.strip.device)[events.strip]
        there = beside >= 0
        share = events.expected * events.per_row(values["fraction"]) / beside.shape[1]
        amount = torch.round(share * _FIXED).long()
        loses = events.per_row(values["model"]) == torch.as_tensor(_CONSERVING, dtype=torch.float64)
        lost = amount * there.sum(dim=1) * torch.as_tensor(loses, device=amount.device)
        own = replace(events, expected=events.expected - lost.double() / _FIXED)
        given = there & (amount > 0)[:, None]
        row, side = torch.nonzero(given, as_tuple=True)
        return _received(own, events, row, beside[row, side], amount[row])


def _received(own: Hits, source: Hits, row: Tensor, strip: Tensor, amount: Tensor) -> Hits:
    """Return the hits with light of others added.

    Args:
        own: what the strips keep.
        source: the strips before the effect.
        row: int64 (gift,), the source of each gift.
        strip: int64 (gift,), where it goes, in the source's plane.
        amount: int64 (gift,), millionths of a photoelectron.
    """
    geometry, hits = own.geometry, len(own)
    channels = geometry.planes * geometry.strips
    address = torch.cat(
        [own.event * channels + own.channel, source.event[row] * channels + _channel(source, row, strip)]
    )
    cell, place = torch.unique(address, return_inverse=True)
    moment = torch.round(amount.double() * source.along[row]).long()
    received, moments = (
        torch.zeros(len(cell), dtype=torch.int64, device=cell.device).index_add_(0, place[hits:], part)
        for part in (amount, moment)
    )
    here = place[:hits]
    gift = received.double() / _FIXED
    expected = torch.zeros_like(gift).index_copy(0, here, own.expected)
    light = expected + gift
    old = torch.zeros_like(gift).index_copy(0, here, own.along)
    along = (old * expected + moments.double() / _FIXED) / light.clamp(min=1.0 / _FIXED)
    owner = torch.full_like(cell, -1).index_copy(0, here, own.owner)
    channel = cell % channels
    zero = torch.zeros_like(gift)
    return replace(
        own,
        event=cell // channels,
        plane=channel // geometry.strips,
        strip=channel % geometry.strips,
        owner=torch.where(gift > expected, -1, owner),
        expected=light,
        count=zero.index_copy(0, here, own.count),
        energy=zero.index_copy(0, here, own.energy),
        along=torch.where(received > 0, along, old),
    )


def _channel(source: Hits, row: Tensor, strip: Tensor) -> Tensor:
    return source.plane[row] * source.geometry.strips + strip
