"""A declared toy of a scintillator tracker: from energy deposits in polystyrene to reconstructed tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from shiftlab.detector.scintillator.clusters import Clusters, clusters
from shiftlab.detector.scintillator.configuration import settings
from shiftlab.detector.scintillator.owners import Owners, owners
from shiftlab.detector.scintillator.photostatistics import Hits, calibrate, collect, illuminate
from shiftlab.detector.scintillator.reconstruction import Reconstruction, reconstruct
from shiftlab.detector.scintillator.response import Response, Toy
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.detector.scintillator.tokens import tokens_of
from shiftlab.detector.scintillator.truth import with_format_truth
from shiftlab.detector.stream import Stream
from shiftlab.detector.universe import NOMINAL, Universe
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.deposits import Deposits
from shiftlab.events.tokens import Tokens

__all__ = ["Recorded", "ScintillatorDetector", "scintillator_detector"]


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
class ScintillatorDetector:
    """A stack of planes of triangular scintillator strips with a toy reconstruction.

    Attributes:
        name: Say ``minerva_like``.
        geometry: Planes and strips.
        response: From energy to photoelectrons and back.
        toy: Settings of the pattern recognition.
        seed: Of all keyed draws.
    """

    name: str = "minerva_like"
    geometry: StripGeometry = field(default_factory=StripGeometry)
    response: Response = field(default_factory=Response)
    toy: Toy = field(default_factory=Toy)
    seed: int = 1

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
            universe: The nominal one; this detector has no effects yet.

        Raises:
            ConfigError: the universe displaces a nuisance.
            DataError: the deposits lack something that the toy reconstruction looks at.
        """
        found = self.record(deposits, universe).reconstruction
        return tokens_of(found.objects, found.remainder, with_format_truth(deposits, found.objects))

    def record(self, deposits: Deposits, universe: Universe = NOMINAL) -> Recorded:
        """Return hits, clusters and objects of every event; arguments and errors as for ``tokens``."""
        displaced = [name for name, value in universe.nuisances if value != 0]
        if displaced:
            raise ConfigError(
                f"universe '{universe.name}' displaces {', '.join(displaced)}; detector '{self.name}' has no effects, "
                "so only the nominal universe can be recorded."
            )
        stream = Stream(self.seed, self.name, universe.throw)
        keys = deposits.events.key
        who, owner = owners(deposits)
        light = illuminate(deposits, owner, self.geometry, self.response)
        hits = calibrate(collect(light, keys, self.geometry, stream), self.response)
        found = clusters(hits, self.geometry)
        reconstruction = reconstruct(
            found,
            who,
            _vertices(deposits),
            keys,
            geometry=self.geometry,
            response=self.response,
            toy=self.toy,
            stream=stream,
        )
        return Recorded(hits, found, who, reconstruction)


def scintillator_detector(name: str = "minerva_like") -> ScintillatorDetector:
    """Return a detector with default values: ``minerva_like``, 352 planes of 127 strips in polystyrene.

    Raises:
        UnknownNameError: there is no such detector; others are made with ``ScintillatorDetector.from_config``.
    """
    if name != "minerva_like":
        raise UnknownNameError("scintillator detector", name, ["minerva_like"])
    return ScintillatorDetector(name)


def _vertices(deposits: Deposits) -> Tensor:
    """Return float64 (event, 3), cm."""
    truth = deposits.events.truth
    lacking = [f"vertex_{axis}" for axis in "xyz" if f"vertex_{axis}" not in truth]
    if lacking:
        raise DataError(f"events without truth {', '.join(lacking)}: the toy reconstruction starts from the vertex.")
    return torch.stack([truth[f"vertex_{axis}"].double() for axis in "xyz"], dim=1)
