"""Nested random masks: which of many parts is broken at a given fraction, with a part known beforehand."""

from __future__ import annotations

from torch import Tensor

from shiftlab.detector.medium import Value
from shiftlab.detector.stream import Stream

__all__ = ["broken"]


def broken(part: Tensor, fraction: Value, known: float, stream: Stream) -> Tensor:
    """Return a bool mask (row,): which parts are broken.

    At ``fraction == known`` the mask is the known map, which no throw changes. A larger fraction breaks
    more parts, a smaller one revives known ones; both are nested in the fraction and new in each throw.

    Args:
        part: int64 (row,), number of the part (readout channel, chip) of each row.
        fraction: broken fraction, one number or per row.
        known: fraction of the known map.
        stream: keyed draws.
    """
    listed = stream.uniform("known", part) < known
    if not isinstance(fraction, Tensor):
        if fraction == known:
            return listed
        if fraction > known:
            return listed | _excess(part, fraction, known, stream)
        return listed & ~_revived(part, fraction, known, stream)
    return (listed & ~_revived(part, fraction, known, stream)) | _excess(part, fraction, known, stream)


def _excess(part: Tensor, fraction: Value, known: float, stream: Stream) -> Tensor:
    """Which parts break beyond the known ones (none where ``fraction <= known``)."""
    draw = stream.uniform("excess", part, per_throw=True)
    return draw * (1.0 - known) < fraction - known


def _revived(part: Tensor, fraction: Value, known: float, stream: Stream) -> Tensor:
    """Which of the known parts work after all (none where ``fraction >= known``)."""
    draw = stream.uniform("revived", part, per_throw=True)
    return draw * known < known - fraction
