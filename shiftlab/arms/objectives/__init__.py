"""Pre-training objectives: one file per way of learning without labels."""

from __future__ import annotations

from functools import cache

from shiftlab.arms.objective import Objective
from shiftlab.registry import Registry

__all__ = ["objectives"]


@cache
def objectives() -> Registry[Objective]:
    """Return the register of objectives, filled from the entry-point group ``shiftlab.objectives``."""
    return Registry("shiftlab.objectives", Objective, "objective")  # type: ignore[type-abstract]
