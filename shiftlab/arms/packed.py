"""Events as packed tokens, patches or particles: some of the events, on any device, without padding."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from shiftlab.events.ragged import ragged_rows

__all__ = ["Packed"]


@dataclass(frozen=True)
class Packed:
    """Packed tokens; those of event i are rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: int64 (event + 1,).
        of_tokens: Names of the tensors with a row for each token.
        of_events: Names of the tensors with a row for each event.
    """

    of_tokens: ClassVar[tuple[str, ...]] = ()
    of_events: ClassVar[tuple[str, ...]] = ()
    offsets: Tensor

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """int64 (event,): tokens of each event."""
        return self.offsets.diff()

    @property
    def token_event(self) -> Tensor:
        """int64 (token,): the event of each token."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.lengths)

    def take(self, index: Tensor) -> Self:
        """Return the events at ``index`` (int64), in that order."""
        rows, offsets = ragged_rows(self.offsets, index)
        return self.picked(offsets, rows, index)

    def between(self, first: int, last: int) -> Self:
        """Return events ``first:last`` as views (nothing is copied but the offsets)."""
        a, b = int(self.offsets[first]), int(self.offsets[last])
        return self.picked(self.offsets[first : last + 1] - a, slice(a, b), slice(first, last))

    def picked(self, offsets: Tensor, tokens: Tensor | slice, events: Tensor | slice, **others: Any) -> Self:
        """Return some tokens and events, with their new ``offsets``; ``others`` are fields of other lengths."""
        rows = {name: getattr(self, name)[tokens] for name in self.of_tokens}
        rows |= {name: getattr(self, name)[events] for name in self.of_events}
        return replace(self, offsets=offsets, **rows, **others)

    def to(self, device: torch.device | str) -> Self:
        """Return the same events on ``device``."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})
