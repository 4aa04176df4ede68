"""Tokens with other weights of their events; nothing else of them changes."""

from __future__ import annotations

from dataclasses import replace

from shiftlab.detector import Value
from shiftlab.events.tokens import Tokens

__all__ = ["weighted"]


def weighted(tokens: Tokens, factor: Value) -> Tokens:
    """Return the tokens with the weights of their events times ``factor``, one number or float64 (event,)."""
    return replace(tokens, events=replace(tokens.events, weight=tokens.events.weight * factor))
