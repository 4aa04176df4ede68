"""Which detector nuisances lie inside what a model has seen in training, by what its record declares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from shiftlab.arms.arm import Arm
from shiftlab.detector.nuisances import Nuisance
from shiftlab.errors import ConfigError

__all__ = ["Coverage", "coverage", "seen_by"]

_GRAMMAR: Final = re.compile(r"(inside|partly)(?: ([\d.]+)\.\.([\d.]+))?: (.+)", re.DOTALL)


@dataclass(frozen=True)
class Coverage:
    """Whether a nuisance lies inside what pre-training showed.

    Attributes:
        nuisance: Its name.
        verdict: ``inside`` at one sigma either way, ``partly`` when only some of what it does was seen, ``outside``.
        why: In words.
    """

    nuisance: str
    verdict: Literal["inside", "partly", "outside"]
    why: str


def coverage(augmentations: Mapping[str, str], nuisances: Sequence[Nuisance]) -> tuple[Coverage, ...]:
    """Return which nuisances lie inside what a model has seen, in their order.

    Args:
        augmentations: What its record declares (``declared``); entries that are no nuisance or effect cover none.
        nuisances: Those of a detector.
    """
    return tuple(_covered(augmentations, nuisance) for nuisance in nuisances)


def seen_by(arms: Sequence[Arm], nuisances: Sequence[Nuisance]) -> list[dict[str, str]]:
    """Return a row per arm and nuisance with columns arm, nuisance, verdict, why and declared.

    What counts is what the arm's own record declares under ``augmentations``, and what the card of the foundation
    model that it rests on does; the seeds of an arm are trained alike, so that the first one stands for all. Where
    neither says anything the verdict is ``not declared``: the model may have been trained elsewhere.

    Args:
        arms: Trained arms.
        nuisances: Those of the detector that they are judged on.
    """
    rows = []
    for arm in {one.name: one for one in reversed(arms)}.values():
        said = _said(arm)
        if said is None:
            why = "neither the record nor the card of the model says what its training varied"
            found = tuple((one.name, "not declared", why) for one in nuisances)
        else:
            found = tuple((one.nuisance, one.verdict, one.why) for one in coverage(said, nuisances))
        names = "; ".join(f"{name}: {words}" for name, words in (said or {}).items() if not _GRAMMAR.fullmatch(words))
        rows += [
            {"arm": arm.name, "nuisance": nuisance, "verdict": verdict, "why": why, "declared": names}
            for nuisance, verdict, why in found
        ]
    return sorted(rows, key=lambda row: [one.name for one in arms].index(row["arm"]))


def _said(arm: Arm) -> dict[str, str] | None:
    """Return what an arm declares, its own and its foundation model's together; None when nothing does."""
    own: Any = arm.record.get("augmentations")
    foundation = getattr(arm, "foundation", None)
    card = {} if foundation is None else foundation.card
    taught: Any = card.get("augmentations", card.get("objective", {}).get("augmentations"))
    if own is None and taught is None:
        return None
    return {str(name): str(words) for part in (taught, own) for name, words in (part or {}).items()}


def _covered(augmentations: Mapping[str, str], nuisance: Nuisance) -> Coverage:
    said = augmentations.get(nuisance.name, augmentations.get(nuisance.effect, ""))
    match = _GRAMMAR.fullmatch(said)
    if match is None:
        return Coverage(nuisance.name, "outside", "nothing in its training varies this")
    verdict, low, high, why = match.groups()
    if low and not _within(nuisance, float(low), float(high)):
        return Coverage(nuisance.name, "partly", f"one sigma leaves the range {low} to {high} of the nominal; {why}")
    return Coverage(nuisance.name, "inside" if verdict == "inside" else "partly", why)


def _within(nuisance: Nuisance, low: float, high: float) -> bool:
    """Return whether the value at one sigma, over its nominal, is in the range on all sides that it has."""
    parameter = nuisance.parameter
    sides = (-1.0, 1.0) if parameter.two_sided else (1.0,)
    try:
        return all(low <= parameter.value(side) / parameter.nominal <= high for side in sides)
    except (ConfigError, ZeroDivisionError):
        return False
