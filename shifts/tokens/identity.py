"""Whether an effect has nothing to do: every parameter is at the value that leaves its input untouched."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from shiftlab.detector import Effect, Value
from shiftlab.events.tokens import Tokens

__all__ = ["idle"]


def idle(effect: Effect[Tokens], values: Mapping[str, Value]) -> bool:
    """Return True where all parameters that have an identity are at it in every event; a gradient is always wanted."""
    for parameter in effect.parameters:
        value = values[parameter.name]
        if parameter.identity is None:
            continue
        if isinstance(value, Tensor) and value.requires_grad:
            return False
        if not bool((torch.as_tensor(value) == parameter.identity).all()):
            return False
    return True
