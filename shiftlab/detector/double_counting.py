"""Nuisances that share one physical cause: both uncertain, the same shift would be counted twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from shiftlab.detector.effect import Effect
from shiftlab.errors import ConfigError

__all__ = ["double_counts", "refuse_double_counting"]


def double_counts(effects: Sequence[Effect[Any]], nuisances: Collection[str]) -> list[tuple[str, str, str]]:
    """Return (nuisance, other nuisance, reason) for each pair of ``nuisances`` that its effects say double counts."""
    found: dict[frozenset[str], tuple[str, str, str]] = {}
    for effect in effects:
        for parameter, other, reason in effect.double_counts:
            name = f"{effect.name}_{parameter}"
            if name in nuisances and other in nuisances:
                found.setdefault(frozenset((name, other)), (name, other, reason))
    return list(found.values())


def refuse_double_counting(
    detector: str, effects: Sequence[Effect[Any]], nuisances: Collection[str], allowed: bool | Collection[str]
) -> None:
    """Refuse uncertain parameters that double count, unless the user allows the pair.

    Args:
        detector: its name, for the message.
        effects: of the detector.
        nuisances: names of the uncertain parameters.
        allowed: True for all, or pairs written ``one+other``, in any order.

    Raises:
        ConfigError: naming both nuisances, the reason and what allows them.
    """
    if allowed is True:
        return
    pairs = {frozenset(pair.split("+")) for pair in allowed or ()}
    for one, other, reason in double_counts(effects, nuisances):
        if frozenset((one, other)) not in pairs:
            raise ConfigError(
                f"detector '{detector}': {one} and {other} are both uncertain, but {reason}. Set the sigma of one "
                f"to 0, or allow the pair: allow_double_counting: [{one}+{other}]."
            )
