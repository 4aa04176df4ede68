"""Effects on reconstructed tokens that come from a file, without the deposits that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shiftlab.detector.configuration import allowed_pairs, chosen_effects
from shiftlab.detector.effect import Effect
from shiftlab.detector.nuisances import Displaceable
from shiftlab.detector.scintillator.configuration import refuse_unknown, whole
from shiftlab.detector.scintillator.stages import TOKEN_STAGES, ordered, weighed
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.events.tokens import Tokens

__all__ = ["TokenDetector"]


@dataclass(frozen=True)
class TokenDetector(Displaceable):
    """A detector of which only the tokens are known; its effects are those of the stages ``token`` and ``weigh``.

    Attributes:
        effects: in the order of their stages (sorted when made).
        name: for messages and records.
        seed: of all keyed draws.
        allow_double_counting: pairs ``one+other`` of nuisances that may both be uncertain although they share a
            physical cause; True allows all.

    Raises:
        ConfigError: as for ``ScintillatorDetector``, or an effect needs deposits.
    """

    effects: tuple[Effect[Any], ...]
    name: str = "tokens"
    seed: int = 1
    allow_double_counting: bool | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Order the effects and refuse those that cannot act here."""
        order = ordered(self.name, self.effects, TOKEN_STAGES, self.allow_double_counting)
        object.__setattr__(self, "effects", order)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TokenDetector:
        """Return the detector of a configuration: ``name``, ``seed``, ``effects``, ``allow_double_counting``.

        Raises:
            ConfigError: a key or value is not allowed; the message names it.
        """
        refuse_unknown("detector", config, ("name", "seed", "effects", "allow_double_counting"))
        seed = whole("detector.seed", config.get("seed", 1))
        return cls(chosen_effects(config), str(config.get("name", "tokens")), seed, allowed_pairs(config))

    def record(self, tokens: Tokens, universe: Universe = NOMINAL) -> Tokens:
        """Return the tokens as they would be in a universe; errors as for ``values``, and those of the effects."""
        return weighed(self.effects, tokens, universe, self.values(universe), self.seed)
