"""Place of the detector's frame: added to the place of every token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.rederive import rederived
from shiftlab.detector.scintillator.token_kinematics import (
    FourMomentum,
    four_momentum,
    is_kind,
    per_token,
    require_tokens,
    with_columns,
    with_four_momentum,
)
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle

__all__ = ["VertexOffset"]


class VertexOffset(Effect[Tokens]):
    """Vertices, starts of prongs and blobs move by (``x``, ``y``, ``z``); tokens without a place stay.

    A blob's direction is that from the detector's origin to its place, so it turns with the place; its energy stays.
    The sum of spare blobs has no place of which that is true, and keeps its direction.
    """

    name: ClassVar[str] = "vertex_offset"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M16",)
    order: ClassVar[int] = 50
    needs: ClassVar[tuple[str, ...]] = ("features", "valid", "particle")
    changes: ClassVar[tuple[str, ...]] = ("features", "globals", "global_valid")
    parameters = tuple(
        Parameter(
            axis,
            0.0,
            1.0,
            "mm",
            (-100.0, 100.0),
            identity=0.0,
            source="judgement: what alignment of scintillator planes leaves",
            confidence="C",
            doc=f"Offset of all places in {axis}.",
        )
        for axis in "xyz"
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Move places, mm/10000, and turn the blobs' directions."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E", *"xyz")
        moved = events
        for axis in "xyz":
            value = torch.as_tensor(values[axis], dtype=torch.float64, device=events.features.device)
            offset = torch.as_tensor(per_token(events, value)).expand(len(events.particle))
            moved = with_columns(moved, offset != 0, {axis: events.column(axis).double() + offset / 1e4})
        return rederived(events, _pointed(moved, (moved.features != events.features).any(dim=1)))


def _pointed(tokens: Tokens, rows: torch.Tensor) -> Tokens:
    """Return the tokens with the momenta of blobs in ``rows`` from the origin to their place; E and |p| stay."""
    place = torch.stack([tokens.column(axis).double() for axis in "xyz"], dim=1)
    distance = place.norm(dim=1, keepdim=True)
    placed = tokens.valid[:, [tokens.columns.index(axis) for axis in "xyz"]].all(dim=1)
    rows = rows & is_kind(tokens, "blob") & placed & (distance[:, 0] > 0)
    momentum, energy = four_momentum(tokens)
    size = momentum.norm(dim=1, keepdim=True)
    new = FourMomentum(size * place / distance.clamp(min=1e-300), energy)
    return with_columns(with_four_momentum(tokens, rows, new), rows, {"log_E": tokens.column("log_E").double()})
