"""Bodies: one file per network that turns events into features."""

from __future__ import annotations

from functools import cache

from shiftlab.arms.body import Body
from shiftlab.registry import Registry

__all__ = ["bodies"]


@cache
def bodies() -> Registry[Body]:
    """Return the register of bodies, filled from the entry-point group ``shiftlab.bodies``."""
    return Registry("shiftlab.bodies", Body, "body")  # type: ignore[type-abstract]
