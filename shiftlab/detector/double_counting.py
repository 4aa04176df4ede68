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
    detector: str,
    effects: Sequence[Effect[Any]],
    nuisances: Collection[str],
    allowed: bool | Collection[str],
    key: str = "detector.allow_double_counting",
) -> None:
    """Refuse uncertain parameters that double count, unless the user allows each pair.

    Args:
        detector: its name, for the message.
        effects: of the detector.
        nuisances: names of the uncertain parameters.
        allowed: True for all, or pairs written ``one+other``, in any order.
        key: of the configuration, which allows pairs; for the message.

    Raises:
        ConfigError: naming all pairs, their reasons and, to be copied, the setting that allows them.
    """
    if allowed is True:
        return
    given = list(allowed or ())
    pairs = {frozenset(pair.split("+")) for pair in given}
    refused = [found for found in double_counts(effects, nuisances) if frozenset(found[:2]) not in pairs]
    if refused:
        said = "; ".join(f"{one} and {other} are both uncertain, but {reason}" for one, other, reason in refused)
        # A setting on the command line replaces that of the file: it holds what the file allows, too.
        whole = ",".join([*given, *(f"{one}+{other}" for one, other, _ in refused)])
        raise ConfigError(
            f"detector '{detector}': {said}. Set the sigma of one to 0, or allow the "
            f"{'pair' if len(refused) == 1 else 'pairs'}: '{key}=[{whole}]'."
        )
