"""Finding of blobs: faint ones missed, close ones taken for one, some lost; the energy stays in the recoil.

The recoil sums all clusters, whether they are part of a blob or not, so none of the three moves it; the number of
blobs, their summed energy and their order follow. What the file already summed into ``blob_aggregate`` cannot be
taken apart: it goes only where its whole energy is below the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.blobs import joined
from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.rederive import keep_tokens, rederived
from shiftlab.detector.scintillator.token_kinematics import (
    FourMomentum,
    four_momentum,
    is_kind,
    per_token,
    require_tokens,
    with_columns,
    with_four_momentum,
    without_floor,
)
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle

__all__ = ["BlobDrop", "BlobMerge", "BlobThreshold"]

_CHANGES: Final = ("offsets", "features", "valid", "particle", "globals", "global_valid", "truth")
_CUT: Final = 1.0
"""MeV: no blob of minerva-ml's files and of the toy has less; single precision may say slightly less."""


class BlobThreshold(Effect[Tokens]):
    """Blobs of less than ``energy`` are not found.

    The nominal, 1 MeV, is the threshold of minerva-ml's files and of the toy; there the file is left as it is. What a
    file left out cannot come back, so the threshold can only rise.
    """

    name: ClassVar[str] = "blob_threshold"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M15",)
    order: ClassVar[int] = 12
    needs: ClassVar[tuple[str, ...]] = ("features", "particle")
    changes: ClassVar[tuple[str, ...]] = _CHANGES
    parameters = (
        Parameter(
            "energy",
            _CUT,
            0.15,
            "MeV",
            (_CUT, 50.0),
            identity=_CUT,
            two_sided=False,
            algebra="nest",
            source="judgement: 15% of the cut at 1 MeV",
            confidence="C",
            doc="Smallest energy of a blob that is found.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Leave out the blobs below the threshold."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E")
        level = _per_token(events, values["energy"])
        faint = is_kind(events, "blob", "blob_aggregate") & (without_floor(events, "log_E") < level) & (level > _CUT)
        return rederived(events, keep_tokens(events, ~faint)) if bool(faint.any()) else events


class BlobMerge(Effect[Tokens]):
    """Blobs whose places are joined by steps shorter than ``distance`` are found as one.

    Energies add; place and time are means weighted by energy; the direction is that from the detector's origin to
    the place, as for every blob.
    """

    name: ClassVar[str] = "blob_merge"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M15",)
    order: ClassVar[int] = 11
    needs: ClassVar[tuple[str, ...]] = ("features", "valid", "particle")
    changes: ClassVar[tuple[str, ...]] = _CHANGES
    parameters = (
        Parameter(
            "distance",
            0.0,
            72.0,
            "mm",
            (0.0, 500.0),
            identity=0.0,
            two_sided=False,
            source="judgement: a fifth more than the 60 mm within which the toy joins clusters",
            confidence="C",
            doc="Distance below which two blobs are found as one.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Join the blobs of each event."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E", *"xyzt")
        distance = _per_token(events, values["distance"])
        placed = events.valid[:, [events.columns.index(axis) for axis in "xyz"]].all(dim=1)
        rows = torch.nonzero(is_kind(events, "blob") & placed & (distance > 0)).squeeze(1)
        place = 1e4 * torch.stack([events.column(axis).double() for axis in "xyz"], dim=1)
        group, count = joined(events.event_index[rows], place[rows] / distance[rows, None], 1.0)
        if count == len(rows):
            return events
        return rederived(events, _merged(events, rows, group, count, place))


class BlobDrop(Effect[Tokens]):
    """Each blob is lost with ``probability``; a larger probability loses the same blobs and more."""

    name: ClassVar[str] = "blob_drop"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M15",)
    order: ClassVar[int] = 10
    needs: ClassVar[tuple[str, ...]] = ("features", "particle", "key")
    changes: ClassVar[tuple[str, ...]] = _CHANGES
    parameters = (
        Parameter(
            "probability",
            0.0,
            0.02,
            "1",
            (0.0, 1.0),
            identity=0.0,
            two_sided=False,
            algebra="nest",
            source="judgement",
            confidence="C",
            doc="Probability that a blob is not found.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Lose blobs by a draw of event and place, so that neither order nor energy of the others matters."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E", *"xyz")
        blob = is_kind(events, "blob")
        probability = _per_token(events, values["probability"])[blob]
        place = [events.column(axis)[blob].contiguous().view(torch.int32).long() for axis in "xyz"]
        draw = stream.uniform("blob", events.events.key[events.event_index[blob]], *place)
        lost = torch.zeros_like(blob)
        lost[blob] = draw < probability
        return rederived(events, keep_tokens(events, ~lost)) if bool(lost.any()) else events


def _per_token(tokens: Tokens, value: Value) -> Tensor:
    """Return float64 (token,)."""
    whole = torch.as_tensor(value, dtype=torch.float64, device=tokens.features.device)
    return torch.as_tensor(per_token(tokens, whole)).expand(len(tokens.particle))


def _merged(tokens: Tokens, rows: Tensor, group: Tensor, count: int, place: Tensor) -> Tokens:
    """Return the tokens with each group of ``rows`` in the place of its first member; single ones keep their bits."""
    energy = without_floor(tokens, "log_E")
    weight = energy[rows].clamp(min=1e-9)
    summed = total(weight, group, count)
    first = torch.full((count,), len(energy), dtype=torch.int64, device=rows.device)
    first = first.scatter_reduce(0, group, rows, "amin")
    several = torch.bincount(group, minlength=count) > 1
    momentum, whole, time = four_momentum(tokens).momentum, energy.clone(), tokens.column("t").double().clone()
    place = place.clone()
    place[first] = total(weight[:, None] * place[rows], group, count) / summed[:, None]
    time[first] = total(weight * time[rows], group, count) / summed
    whole[first] = summed
    momentum[first] = whole[first, None] * place[first] / place[first].norm(dim=1, keepdim=True).clamp(min=1e-300)
    changed = torch.zeros(len(energy), dtype=torch.bool, device=rows.device)
    changed[first[several]] = True
    placed = {axis: place[:, i] / 1e4 for i, axis in enumerate("xyz")}
    moved = with_columns(tokens, changed, {**placed, "t": time})
    keep = torch.ones_like(changed)
    keep[rows] = False
    keep[first] = True
    return keep_tokens(with_four_momentum(moved, changed, FourMomentum(momentum, whole)), keep)
