"""A detector that gives tokens, asked as one of images is: prepare events once, record them in every universe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from shiftlab.detector.effect import Effect
from shiftlab.detector.nuisances import Displaceable
from shiftlab.detector.scintillator.chain import ScintillatorDetector
from shiftlab.detector.scintillator.token_detector import TokenDetector
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.deposits import Deposits
from shiftlab.events.tokens import Tokens

__all__ = ["TokenChain"]


@dataclass(frozen=True)
class TokenChain(Displaceable):
    """The methods of ``Detector`` that a study needs, for tokens.

    Attributes:
        detector: That records.
    """

    detector: TokenDetector | ScintillatorDetector

    generators = ()
    """Effects that take events from a paired file: none."""

    geometry = None
    """Volume and lattice of images: none."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TokenChain:
        """Return the detector of a configuration with strips (it has ``toy``) or of tokens alone.

        Raises:
            ConfigError: a key or value is not allowed; the message names it.
        """
        return cls((ScintillatorDetector if "toy" in config else TokenDetector).from_config(config))

    @property
    def name(self) -> str:
        """Name of the detector."""
        return self.detector.name

    @property
    def effects(self) -> tuple[Effect[Any], ...]:  # type: ignore[override]
        """Its effects, in the order of their stages."""
        return self.detector.effects

    @property
    def takes(self) -> Literal["deposits", "tokens"]:
        """What it records from."""
        return "tokens" if isinstance(self.detector, TokenDetector) else "deposits"

    def seeded(self, seed: int) -> TokenChain:
        """Return the same detector with another seed of all draws."""
        return TokenChain(replace(self.detector, seed=seed))

    def check(self, universe: Universe) -> None:
        """Refuse a universe that a study cannot answer.

        Raises:
            UnknownNameError: the universe names a nuisance that the detector does not have.
            ConfigError: a value is outside its bounds, it reweighs events (an event has one weight in all universes of
                a study), or it recalibrates tokens of a file.
        """
        values, nominal = self.values(universe), self.values(NOMINAL)
        for effect in self.effects:
            if effect.stage == "weigh" and values[effect.name] != nominal[effect.name]:
                keys = " ".join(f"detector.effects.{effect.name}.{one.name}.sigma=0" for one in effect.parameters)
                raise ConfigError(
                    f"universe '{universe.name}': effect {effect.name} changes the weights of events, which have the "
                    f"same weight in all universes of a study. Leave it out with {keys}."
                )
        if universe.recalibrate != "none" and self.takes == "tokens":
            raise ConfigError(f"universe '{universe.name}': recalibrate={universe.recalibrate} needs deposits.")

    def prepare(self, events: Any, variations: Mapping[str, Any] | None = None) -> Any:
        """Return the events, which nothing is worked out of beforehand.

        Raises:
            DataError: they are not what the detector records from.
        """
        del variations
        if not isinstance(events, Tokens if self.takes == "tokens" else Deposits):
            raise DataError(
                f"detector '{self.name}' takes {self.takes}; events of type {type(events).__name__} are given."
            )
        return events

    def image(self, events: Any, universe: Universe = NOMINAL, *, scale: float = 1.0) -> Tokens:
        """Return the tokens of every event in a universe; ``scale`` is 1, for energies are recalibrated by it.

        Raises:
            ConfigError: ``scale`` is another, or as for ``check``.
            DataError: the events lack what an effect needs.
        """
        if scale != 1.0:
            raise ConfigError(f"detector '{self.name}': tokens cannot be scaled by {scale:g} afterwards.")
        if isinstance(self.detector, TokenDetector):
            return self.detector.record(events, universe)
        return self.detector.tokens(events, universe)

    def moves(self, universe: Universe) -> bool:
        """Return whether labels of voxels would change: there are none."""
        del universe
        return False

    def displaced_generators(self, universe: Universe) -> tuple[str, ...]:
        """Return the effects by which a universe takes events from a paired file: none."""
        del universe
        return ()

    def refuse_variations(self, names: Iterable[str]) -> None:
        """Raise UnknownNameError where a paired file is given."""
        for name in names:
            raise UnknownNameError(f"variation of detector '{self.name}'", name, ())

    def refuse(self, universe: Universe, events: Any) -> None:
        """Refuse a universe that these events cannot answer: the first one of them is recorded in it.

        Raises:
            ConfigError: as for ``check``.
            DataError: an effect needs what the events lack; the message names both.
        """
        self.check(universe)
        if len(events):
            self.image(events.take([0]), universe)

    def refused(self, events: Any) -> tuple[str, ...]:
        """Return the nuisances that these events cannot answer, since their effect needs what the file lacks."""
        found = []
        for nuisance in self.nuisances:
            try:
                self.image(events.take([0]), Universe("probe", ((nuisance.name, 1.0),)))
            except DataError:
                found.append(nuisance.name)
        return tuple(found)

    def summary(self, events: Any) -> dict[str, float]:
        """Return numbers on what the nominal detector makes of events."""
        tokens = self.image(self.prepare(events))
        return {
            "events": len(tokens),
            "tokens_per_event": len(tokens.features) / max(len(tokens), 1),
            "most_tokens": int(tokens.counts.max()) if len(tokens) else 0,
            "empty_events": int((tokens.counts == 0).sum()),
            "blank_entries": float((~tokens.valid).to(torch.float64).mean()) if len(tokens.features) else 0.0,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the detector as plain JSON values."""
        if isinstance(self.detector, ScintillatorDetector):
            return self.detector.to_dict()
        allowed = self.detector.allow_double_counting
        return {
            "name": self.name,
            "seed": self.detector.seed,
            "allow_double_counting": allowed if isinstance(allowed, bool) else list(allowed),
            "effects": {
                effect.name: {
                    "stage": effect.stage,
                    "parameters": {parameter.name: parameter.to_dict() for parameter in effect.parameters},
                }
                for effect in self.effects
            },
        }
