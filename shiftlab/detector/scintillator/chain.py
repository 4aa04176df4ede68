"""A declared toy of a scintillator tracker: from energy deposits in polystyrene to reconstructed tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor

from shiftlab.detector.effect import SCINTILLATOR_STAGES, Effect, effects
from shiftlab.detector.nuisances import Displaceable, Values
from shiftlab.detector.scintillator.clusters import Clusters, clusters
from shiftlab.detector.scintillator.configuration import settings
from shiftlab.detector.scintillator.owners import Owners, owners, with_nobody
from shiftlab.detector.scintillator.photostatistics import Hits, calibrate, collect, count, illuminate
from shiftlab.detector.scintillator.reconstruction import Reconstruction, reconstruct
from shiftlab.detector.scintillator.response import Response, Toy
from shiftlab.detector.scintillator.stages import ordered, through, weighed
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.detector.scintillator.tokens import tokens_of
from shiftlab.detector.scintillator.truth import with_format_truth
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.deposits import Deposits
from shiftlab.events.tokens import Tokens

__all__ = ["Recorded", "ScintillatorDetector", "scintillator_detector"]

_EFFECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "minerva_like": (
        "scintillator_birks",
        "light_yield",
        "photostatistics",
        "fibre_attenuation",
        "hit_time_resolution",
    ),
}


@dataclass(frozen=True)
class Recorded:
    """Every level of the chain for the same events.

    Attributes:
        hits: Calibrated strips.
        clusters: Runs of neighbouring strips.
        owners: Visible particles.
        reconstruction: Objects and what the globals hold beyond them.
    """

    hits: Hits
    clusters: Clusters
    owners: Owners
    reconstruction: Reconstruction


@dataclass(frozen=True)
class ScintillatorDetector(Displaceable):
    """A stack of planes of triangular scintillator strips with a toy reconstruction.

    Attributes:
        name: Say ``minerva_like``.
        geometry: Planes and strips.
        response: From energy to photoelectrons and back, in the nominal detector.
        toy: Settings of the pattern recognition.
        seed: Of all keyed draws.
        effects: In the order of their stages (sorted when made).
        allow_double_counting: Pairs ``one+other`` of nuisances that may both be uncertain although they share a
            physical cause; True allows all.

    Raises:
        ConfigError: two effects share a name, a stage is none of a scintillator tracker's, an effect needs what its
            stage does not have, nominal values contradict ``response``, or uncertain parameters double count.
    """

    name: str = "minerva_like"
    geometry: StripGeometry = field(default_factory=StripGeometry)
    response: Response = field(default_factory=Response)
    toy: Toy = field(default_factory=Toy)
    seed: int = 1
    effects: tuple[Effect[Any], ...] = ()
    allow_double_counting: bool | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Order the effects and refuse a chain that cannot run."""
        order = ordered(self.name, self.effects, SCINTILLATOR_STAGES, self.allow_double_counting)
        object.__setattr__(self, "effects", order)
        self._refuse_contradiction()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ScintillatorDetector:
        """Return the detector of a configuration (``configs/detector/minerva_like.yaml``); keys as in ``settings``.

        Raises:
            ConfigError: a key or value is not allowed; the message names it.
        """
        return cls(*settings(config))

    def tokens(self, deposits: Deposits, universe: Universe = NOMINAL) -> Tokens:
        """Return the tokens of every event; an event without light has none and keeps its place.

        The same event gives the same tokens in any batch and order. Truth columns of the token format are added
        where the events have what they need (``with_format_truth``).

        Args:
            deposits: Events with ``instance``, ``particles`` and the truth columns ``vertex_x``, ``_y``, ``_z``.
            universe: Nuisance values, throw and calibration; see ``record``.

        Raises:
            UnknownNameError: the universe names a nuisance that the detector does not have.
            ConfigError: a value is outside its bounds.
            DataError: the deposits lack something that the toy reconstruction looks at.
        """
        values = self.values(universe)
        found = self._record(deposits, universe, values).reconstruction
        tokens = tokens_of(found.objects, found.remainder, with_format_truth(deposits, found.objects))
        return weighed(self.effects, tokens, universe, values, self.seed)

    def record(self, deposits: Deposits, universe: Universe = NOMINAL) -> Recorded:
        """Return hits, clusters and objects of every event; arguments and errors as for ``tokens``.

        Light is made with the universe's constants, energies with the nominal ones (``recalibrate`` none), with
        the universe's light yield (``mip``: the signal of a minimum-ionising particle is known) or with all of
        the universe's constants (``exact``).
        """
        return self._record(deposits, universe, self.values(universe))

    def response_in(self, universe: Universe) -> Response:
        """Return the constants of the response in a universe; errors as for ``values``."""
        return self._response(universe, self.values(universe))

    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the detector as plain JSON values."""
        allowed = self.allow_double_counting
        return {
            "name": self.name,
            "seed": self.seed,
            "geometry": asdict(self.geometry),
            "response": asdict(self.response),
            "toy": asdict(self.toy),
            "allow_double_counting": allowed if isinstance(allowed, bool) else list(allowed),
            "effects": {
                effect.name: {
                    "stage": effect.stage,
                    "parameters": {parameter.name: parameter.to_dict() for parameter in effect.parameters},
                }
                for effect in self.effects
            },
        }

    def _record(self, deposits: Deposits, universe: Universe, values: Values) -> Recorded:
        stream = Stream(self.seed, self.name, universe.throw)
        keys = deposits.events.key
        who, owner = owners(deposits)
        here = self._response(universe, values)
        expected = collect(illuminate(deposits, owner, self.geometry, here), keys, self.geometry)
        coupled = through(self.effects, "couple", expected, universe, values, self.seed)
        who, coupled = with_nobody(who, coupled)
        hits = calibrate(count(coupled, here, stream), _calibration(self.response, here, universe))
        found = clusters(hits, self.geometry)
        reconstruction = reconstruct(
            found,
            who,
            _vertices(deposits),
            keys,
            geometry=self.geometry,
            response=replace(self.response, time_resolution=here.time_resolution),
            toy=self.toy,
            stream=stream,
        )
        return Recorded(hits, found, who, reconstruction)

    def _response(self, universe: Universe, values: Values) -> Response:
        return through(self.effects, "respond", self.response, universe, values, self.seed)

    def _refuse_contradiction(self) -> None:
        """Refuse a nominal value of an effect that is not the constant of ``response``."""
        values = self.values(NOMINAL)
        for effect in self.effects:
            if effect.stage != "respond":
                continue
            found = through((effect,), "respond", self.response, NOMINAL, values, self.seed)
            for one in effect.changes:
                made, said = getattr(found, one), getattr(self.response, one)
                if made != said:
                    given = ", ".join(f"{name} = {value:g}" for name, value in values[effect.name].items())
                    raise ConfigError(
                        f"detector '{self.name}': effect {effect.name} at its nominal {given} gives response.{one} = "
                        f"{made:g}, but response.{one} = {said:g} is set; set both alike."
                    )


def scintillator_detector(name: str = "minerva_like") -> ScintillatorDetector:
    """Return a detector with default values: ``minerva_like``, 352 planes of 127 strips in polystyrene.

    Raises:
        UnknownNameError: there is no such detector; others are made with ``ScintillatorDetector.from_config``.
    """
    if name not in _EFFECTS:
        raise UnknownNameError("scintillator detector", name, _EFFECTS)
    return ScintillatorDetector(name, effects=tuple(effects().get(effect)() for effect in _EFFECTS[name]))


def _calibration(nominal: Response, here: Response, universe: Universe) -> Response:
    """Return the constants that energies are worked out with."""
    if universe.recalibrate == "mip":
        return replace(nominal, light_yield=here.light_yield)
    return here if universe.recalibrate == "exact" else nominal


def _vertices(deposits: Deposits) -> Tensor:
    """Return float64 (event, 3), cm."""
    truth = deposits.events.truth
    lacking = [f"vertex_{axis}" for axis in "xyz" if f"vertex_{axis}" not in truth]
    if lacking:
        raise DataError(f"events without truth {', '.join(lacking)}: the toy reconstruction starts from the vertex.")
    return torch.stack([truth[f"vertex_{axis}"].double() for axis in "xyz"], dim=1)
