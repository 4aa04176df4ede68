"""How strips are read out: fibres on the pixels of photomultipliers with 64 anodes, 16 of them to a chip."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

__all__ = ["CHIP", "PIXELS", "neighbours", "pixel"]

PIXELS: Final = 64
"""Anodes of a photomultiplier, 8 x 8 (Hamamatsu H8804, as MINERvA uses it; NIM A743 (2014) 130)."""

CHIP: Final = 16
"""Pixels that one front-end chip reads (TriP-t chips of MINERvA's front-end boards; quoted)."""

_SIDE: Final = 8
_STEP: Final = 19
"""Pixels between neighbouring strips. A choice; pixels side by side then hold strips at least 24 apart, since
fibres are woven so that cross-talk does not look like the track that made it."""


def pixel(strip: Tensor) -> tuple[Tensor, Tensor]:
    """Return int64 (...) twice: the photomultiplier in the plane and the pixel of each strip.

    Strips 0 to 63 of a plane go to its first photomultiplier, the others to its second; strip i to pixel 19 i mod 64.
    """
    return strip // PIXELS, strip * _STEP % PIXELS


def neighbours(strips: int) -> Tensor:
    """Return int64 (strip, 4): the strips on the pixels left, right, above and below of each; -1 for none.

    Args:
        strips: in a plane.
    """
    strip = torch.arange(strips)
    tube, place = pixel(strip)
    row, column = place // _SIDE, place % _SIDE
    inverse = torch.argsort(torch.arange(PIXELS) * _STEP % PIXELS)
    found = []
    for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        r, c = row + down, column + right
        on = (r >= 0) & (r < _SIDE) & (c >= 0) & (c < _SIDE)
        other = tube * PIXELS + inverse[(r * _SIDE + c) % PIXELS]
        found.append(torch.where(on & (other < strips), other, -1))
    return torch.stack(found, dim=1)
