"""The places in a scintillator tracker's chain where effects act, and what each of them works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from shiftlab.detector.double_counting import refuse_double_counting
from shiftlab.detector.effect import SCINTILLATOR_STAGES, Effect
from shiftlab.detector.nuisances import Values, nuisances_of, values_of
from shiftlab.detector.scintillator.photostatistics import Hits
from shiftlab.detector.scintillator.response import Response
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.errors import ConfigError
from shiftlab.events.deposits import EventTable
from shiftlab.events.tokens import Tokens

__all__ = ["STATES", "TOKEN_STAGES", "ordered", "through", "weighed"]

TOKEN_STAGES: Final = ("token", "weigh")
"""Stages that need no deposits."""

STATES: Final[Mapping[str, type[Any]]] = {"respond": Response, "couple": Hits, "token": Tokens, "weigh": Tokens}
"""What the effects of each stage work on."""

State = TypeVar("State")


def ordered(
    detector: str,
    effects: Sequence[Effect[Any]],
    stages: Sequence[str],
    allowed: bool | tuple[str, ...],
) -> tuple[Effect[Any], ...]:
    """Return the effects in the order of their stages; those of one stage keep the order in which they are given.

    Args:
        detector: its name, for messages.
        effects: its effects.
        stages: those that the detector has.
        allowed: pairs of nuisances that may double count, or True for all.

    Raises:
        ConfigError: two effects share a name, an effect's stage is not among ``stages``, it needs or changes what
            its stage does not have, its nominal values contradict each other, or uncertain parameters double count.
    """
    names = [effect.name for effect in effects]
    for effect in effects:
        if names.count(effect.name) > 1:
            raise ConfigError(f"detector '{detector}': effect '{effect.name}' is listed twice.")
        _refuse_unfit(detector, effect, stages)
    order = tuple(sorted(effects, key=lambda effect: SCINTILLATOR_STAGES.index(effect.stage)))
    names = [nuisance.name for nuisance in nuisances_of(order)]
    refuse_double_counting(detector, order, names, allowed, key="allow_double_counting")
    nominal = values_of(order, NOMINAL)
    for effect in order:
        effect.check(nominal[effect.name], float("-inf"))
    return order


def through(
    effects: Sequence[Effect[Any]], stage: str, state: State, universe: Universe, values: Values, seed: int
) -> State:
    """Return the state after the effects of one stage, each with draws of its own.

    Args:
        effects: of the detector, in order.
        stage: which of them act.
        state: what they work on.
        universe: its throw makes the frozen draws.
        values: physical values of all effects in this universe.
        seed: of the keyed draws.
    """
    for effect in effects:
        if effect.stage == stage:
            state = effect.apply(state, values[effect.name], Stream(seed, effect.name, universe.throw))
    return state


def weighed(effects: Sequence[Effect[Any]], tokens: Tokens, universe: Universe, values: Values, seed: int) -> Tokens:
    """Return the tokens after the stages ``token`` and ``weigh``; the latter changes ``events.weight`` alone."""
    shifted = through(effects, "token", tokens, universe, values, seed)
    weight = through(effects, "weigh", shifted, universe, values, seed).events.weight
    return replace(shifted, events=replace(shifted.events, weight=weight))


def _refuse_unfit(detector: str, effect: Effect[Any], stages: Sequence[str]) -> None:
    if effect.stage not in stages:
        raise ConfigError(
            f"detector '{detector}': effect {effect.name} acts at stage '{effect.stage}'; this detector has the "
            f"stages {', '.join(stages)}."
        )
    known = {field.name for field in fields(STATES[effect.stage])}
    if effect.stage in TOKEN_STAGES:
        known |= {field.name for field in fields(EventTable)}
    for what, names in (("needs", effect.needs), ("changes", effect.changes)):
        missing = [name for name in names if name not in known]
        if missing:
            raise ConfigError(
                f"effect {effect.name} {what} {', '.join(missing)}, which stage {effect.stage} does not have."
            )
    if effect.stage == "weigh" and set(effect.changes) - {"weight"}:
        raise ConfigError(f"effect {effect.name} of stage weigh changes {', '.join(effect.changes)}; allowed: weight.")
