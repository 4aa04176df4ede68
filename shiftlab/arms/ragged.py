"""Attention inside each event of a ragged batch: events of like length share one dense product, the rest is packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Ragged", "buckets"]

_SHORTEST = 0.75
"""Length of the shortest event of a bucket over that of the longest: at most a third of the work is wasted."""
_FEW = 4


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Group events of like length, longest first; a bucket of fewer than four takes the next event of any length."""
    order = sorted(range(len(lengths)), key=lambda event: -lengths[event])
    found: list[list[int]] = []
    for event in order:
        longest = lengths[found[-1][0]] if found else 0
        if not found or (lengths[event] < _SHORTEST * longest and len(found[-1]) >= _FEW):
            found.append([event])
        else:
            found[-1].append(event)
    return found


@dataclass(frozen=True)
class Ragged:
    """Where the packed tokens of a batch lie in its buckets.

    Attributes:
        rows: int64 (event, length) per bucket: row of each token, and one past the last where there is none.
        place: int64 (token,): where each token lies in all buckets, flattened and joined.
    """

    rows: tuple[Tensor, ...]
    place: Tensor

    @classmethod
    def of(cls, offsets: Tensor) -> Ragged:
        """Return the buckets of a batch with these ``offsets``, int64 (event + 1,)."""
        first, lengths = offsets[:-1], offsets.diff()
        tokens = int(offsets[-1])
        plain = lengths.tolist()
        rows, start = [], 0
        place = torch.empty(tokens + 1, dtype=torch.int64, device=offsets.device)
        for events in buckets(plain):
            chosen = torch.tensor(events, device=offsets.device)
            within = torch.arange(plain[events[0]], device=offsets.device)
            row = torch.where(within < lengths[chosen, None], first[chosen, None] + within, tokens)
            place[row.flatten()] = torch.arange(row.numel(), device=offsets.device) + start
            start += row.numel()
            rows.append(row)
        return cls(tuple(rows), place[:-1])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, nothing: Tensor) -> Tensor:
        """Return (token, head, column): softmax(query . key) value inside each event.

        Args:
            query: (token, head, column).
            key: (token, head, column).
            value: (token, head, value column).
            nothing: (column,), the key of a place without a token; no query may like it.
        """
        blank = nothing.expand(1, *key.shape[1:])
        key = torch.cat([key, blank.to(key.dtype)])
        query = torch.cat([query, torch.zeros_like(query[:1])])
        value = torch.cat([value, torch.zeros_like(value[:1])])
        answers = []
        for rows in self.rows:
            q, k, v = (one[rows].transpose(1, 2) for one in (query, key, value))
            seen = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            answers.append(seen.transpose(1, 2).flatten(0, 1))
        return torch.cat(answers)[self.place]
