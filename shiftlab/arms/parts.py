"""The batches in which networks look at some events of a chunk: events by length, of one padded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PADDED_TOKENS", "Parts", "batches"]

PADDED_TOKENS = 3072
"""Tokens of a batch with its padding, chosen for the cache of one core; a longer event goes alone."""


def batches(lengths: Sequence[int], tokens: int = PADDED_TOKENS) -> Iterator[tuple[int, int]]:
    """Give runs ``first:last`` of events, ascending in length, whose padded size is at most ``tokens``."""
    first = 0
    for index, length in enumerate(lengths):
        if index > first and (index + 1 - first) * length > tokens:
            yield first, index
            first = index
    if len(lengths):
        yield first, len(lengths)


@dataclass(frozen=True)
class Parts:
    """Events of one chunk, cut into batches once for all networks that look at the same events.

    Attributes:
        patches: All of them, ascending in length.
        batches: First event, one past the last, and the batch.
    """

    patches: Any
    batches: tuple[tuple[int, int, Any], ...]

    @classmethod
    def of(cls, patches: Any) -> Parts:
        """Cut ``Patches`` or a ``TokenBatch``."""
        cuts = batches(patches.lengths.tolist())
        return cls(patches, tuple((first, last, patches.between(first, last)) for first, last in cuts))
