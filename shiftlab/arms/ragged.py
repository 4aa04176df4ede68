"""Attention inside each event of a ragged batch: events of like length share one dense product, the rest is packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Ragged", "buckets"]

_SHORTEST: Final = 0.75
"""Length of the shortest event of a bucket over that of the longest: at most a third of the work is wasted."""
_FEW: Final = 4


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
    """Where the packed tokens of a batch lie.

    On CUDA attention runs over torch's jagged tensors, whose fused kernels read offsets and pad nothing; on
    the CPU, where those pad every event to the longest, it runs over buckets.

    Attributes:
        offsets: int64 (event + 1,).
        shortest: Tokens of the shortest event.
        longest: Tokens of the longest event.
        rows: int64 (event, length) per bucket: row of each token, and one past the last where there is none;
            no bucket on CUDA.
        place: int64 (token,): where each token lies in all buckets, flattened and joined.
    """

    offsets: Tensor
    shortest: int
    longest: int
    rows: tuple[Tensor, ...]
    place: Tensor

    @classmethod
    def of(cls, offsets: Tensor, jagged: bool | None = None) -> Ragged:
        """Return the layout of a batch with these ``offsets``, int64 (event + 1,).

        Args:
            offsets: First token of each event, and one past the last of all.
            jagged: Whether to attend over jagged tensors; where the offsets are on CUDA when None.
        """
        plain = offsets.diff().tolist()
        shortest, longest = (min(plain), max(plain)) if plain else (0, 0)
        if offsets.is_cuda if jagged is None else jagged:
            return cls(offsets, shortest, longest, (), offsets.new_empty(0))
        first, lengths, tokens = offsets[:-1], offsets.diff(), sum(plain)
        rows, start = [], 0
        place = torch.empty(tokens + 1, dtype=torch.int64, device=offsets.device)
        for events in buckets(plain):
            chosen = torch.tensor(events, device=offsets.device)
            within = torch.arange(plain[events[0]], device=offsets.device)
            row = torch.where(within < lengths[chosen, None], first[chosen, None] + within, tokens)
            place[row.flatten()] = torch.arange(row.numel(), device=offsets.device) + start
            start += row.numel()
            rows.append(row)
        return cls(offsets, shortest, longest, tuple(rows), place[:-1])

    @property
    def padded(self) -> int:
        """Tokens of all buckets with what fills them up; what is not filled up where there are no buckets."""
        return sum(row.numel() for row in self.rows) if self.rows else int(self.offsets[-1])

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # else every number of buckets is compiled anew
    def attend(self, query: Tensor, key: Tensor, value: Tensor, nothing: Tensor) -> Tensor:
        """Return (token, head, column): softmax(query . key) value inside each event.

        It runs in the precision of its input even under autocast: keys may hold squared distances, which cancel
        between columns, and would be wrong by whole units in bfloat16.

        Args:
            query: (token, head, column).
            key: (token, head, column).
            value: (token, head, value column).
            nothing: (column,), the key of a place without a token; no query may like it.
        """
        with torch.autocast(query.device.type, enabled=False):
            if not self.rows:
                answer: Tensor = self._jagged(query, key, value)
                return answer
            return self._bucketed(query, key, value, nothing)

    def attend_present(self, query: Tensor, key: Tensor, value: Tensor, nothing: Tensor, weight: Tensor) -> Tensor:
        """Return what ``attend`` does where ``weight`` (token,) says how far each token is there; it has buckets.

        A token always sees itself: whether it is there is for those that see it.
        """
        key = torch.cat([key, nothing.expand(1, *key.shape[1:]).to(key.dtype)])
        query, value = (torch.cat([one, torch.zeros_like(one[:1])]) for one in (query, value))
        weight = torch.cat([weight, torch.zeros_like(weight[:1])])
        answers = []
        for rows in self.rows:
            q, k, v = (one[rows].transpose(1, 2) for one in (query, key, value))
            scores = q @ k.transpose(2, 3)
            near = torch.exp(scores - scores.detach().amax(dim=3, keepdim=True))
            own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
            seen = near * torch.where(own, torch.ones_like(weight[:1]), weight[rows][:, None, None, :])
            answers.append((seen @ v / seen.sum(dim=3, keepdim=True)).transpose(1, 2).flatten(0, 1))
        return torch.cat(answers).index_select(0, self.place)

    def _jagged(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (
            torch.nested.nested_tensor_from_jagged(
                one, self.offsets, min_seqlen=self.shortest, max_seqlen=self.longest
            ).transpose(1, 2)
            for one in (query, key, value)
        )
        seen: Tensor = functional.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).values()
        return seen

    def _bucketed(self, query: Tensor, key: Tensor, value: Tensor, nothing: Tensor) -> Tensor:
        blank = nothing.expand(1, *key.shape[1:])
        key = torch.cat([key, blank.to(key.dtype)])
        query = torch.cat([query, torch.zeros_like(query[:1])])
        value = torch.cat([value, torch.zeros_like(value[:1])])
        answers = []
        for rows in self.rows:
            flat = rows.flatten()
            q, k, v = (
                one.index_select(0, flat).view(*rows.shape, *one.shape[1:]).transpose(1, 2)
                for one in (query, key, value)
            )
            seen = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            answers.append(seen.transpose(1, 2).flatten(0, 1))
        return torch.cat(answers).index_select(0, self.place)
