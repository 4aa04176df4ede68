"""How far statements on trained arms reach: for one foundation checkpoint, for a few seeds, or beyond."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shiftlab.report.record import Record
from shiftlab.report.wording import joined

__all__ = ["FEWEST_SEEDS", "one_checkpoint", "reach", "scoped"]

FEWEST_SEEDS: Final = 5
"""Trainings that a claim about a way of training needs; fewer give a range of what was seen."""

_WORDS: Final = "for this checkpoint"


def one_checkpoint(record: Record) -> dict[str, str]:
    """Return the arms whose seeds all rest on one foundation checkpoint, each with the beginning of its digest."""
    given = record.provenance.get("foundations", {})
    digests = {arm: set(given.get(arm, {}).values()) for arm in record.arms}
    return {arm: str(next(iter(found)))[:12] for arm, found in digests.items() if len(found) == 1}


def scoped(record: Record, sentence: str, arms: Iterable[str] | None = None) -> str:
    """Return a sentence with the words that limit it to one checkpoint, where an arm that it is about has only one.

    Args:
        record: The run.
        sentence: Ends in a full stop.
        arms: What it is about; None takes the arms that it names.
    """
    single = one_checkpoint(record)
    about = [arm for arm in single if arm in sentence] if arms is None else [arm for arm in arms if arm in single]
    return f"{sentence.removesuffix('.')} ({_WORDS})." if about else sentence


def reach(record: Record) -> list[str]:
    """Return what limits every statement on the page: single checkpoints, and fewer seeds than a claim needs."""
    seeds = len(record.seeds)
    sentences = []
    for digest in dict.fromkeys(one_checkpoint(record).values()):
        arms = [arm for arm, own in one_checkpoint(record).items() if own == digest]
        sentences.append(
            f"All {seeds} seeds of {joined(arms)} rest on one foundation checkpoint ({digest}): every statement on "
            f"{'it' if len(arms) == 1 else 'them'} reads {_WORDS}, and another pre-training may give another answer."
        )
    if seeds < FEWEST_SEEDS:
        sentences.append(
            f"{seeds} training seed{'s' if seeds != 1 else ''}, where a claim about a way of training needs at least "
            f"{FEWEST_SEEDS}: differences between arms are those of these trainings, and no claim is made."
        )
    return sentences
