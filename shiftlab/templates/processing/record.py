"""One line of the processing record: what was done to which variation, where, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Entry"]


@dataclass(frozen=True)
class Entry:
    """What one step did.

    Attributes:
        step: ``closure``, ``significance``, ``bins``, ``symmetrise``, ``smooth``, ``shape_only``, ``correlate`` or
            ``prune``.
        done: what came of it, in a few words.
        nuisance: which variation, or empty for the nominal.
        channel: where, or empty for all.
        sample: where, or empty for all.
        bins: which bins of the channel, from 0; empty for all.
        numbers: what was measured, by name.
    """

    step: str
    done: str
    nuisance: str = ""
    channel: str = ""
    sample: str = ""
    bins: tuple[int, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as JSON values; a number that is not finite becomes None."""
        where = {name: getattr(self, name) for name in ("nuisance", "channel", "sample") if getattr(self, name)}
        bins = {"bins": list(self.bins)} if self.bins else {}
        numbers = {name: value if math.isfinite(value) else None for name, value in self.numbers.items()}
        return {"step": self.step, "done": self.done, **where, **bins, **numbers}
