"""Effects on reconstructed tokens that come from a file, without the deposits that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shiftlab.detector.configuration import allowed_pairs, chosen_effects
from shiftlab.detector.effect import Effect
from shiftlab.detector.nuisances import Nuisance, nuisances_of, values_of
from shiftlab.detector.scintillator.configuration import refuse_unknown, whole
from shiftlab.detector.scintillator.stages import TOKEN_STAGES, ordered, weighed
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.events.tokens import Tokens

__all__ = ["TokenDetector"]


@dataclass(frozen=True)
class TokenDetector:
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

    @property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """The parameters with an uncertainty, in chain order."""
        return nuisances_of(self.effects)

    def values(self, universe: Universe) -> dict[str, dict[str, float]]:
        """Return the physical value of every parameter of every effect in a universe.

        Raises:
            UnknownNameError: the universe names a nuisance that the detector does not have.
            ConfigError: a value is outside its bounds, or the parameter does not act in this universe.
        """
        return values_of(self.effects, universe)

    def check(self, universe: Universe) -> None:
        """Raise ConfigError where a universe cannot be recorded, whatever the events; errors as for ``values``."""
        self.values(universe)

    def record(self, tokens: Tokens, universe: Universe = NOMINAL) -> Tokens:
        """Return the tokens as they would be in a universe; errors as for ``values``, and those of the effects."""
        return weighed(self.effects, tokens, universe, self.values(universe), self.seed)
