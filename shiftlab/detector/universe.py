"""Universes: full sets of nuisance values with the number of the frozen maps' realisation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from scipy import special, stats

from shiftlab.detector.parameter import Parameter
from shiftlab.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from shiftlab.detector.nuisances import Nuisance

__all__ = ["NOMINAL", "Group", "HasNuisances", "Recalibrate", "Universe", "multisim", "unisim"]

Recalibrate: TypeAlias = Literal["none", "mip", "exact"]
Group: TypeAlias = Literal["nominal", "unisim", "multisim", "injected", "control"]

_RECALIBRATE: Final = ("none", "mip", "exact")
_GROUPS: Final = ("nominal", "unisim", "multisim", "injected", "control")


class HasNuisances(Protocol):
    """Whatever can be displaced: a detector of images or of tokens."""

    @property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """The parameters that have an uncertainty."""
        ...

    def check(self, universe: Universe) -> None:
        """Raise ConfigError where the detector cannot record a universe, whatever the events."""
        ...


@dataclass(frozen=True)
class Universe:
    """One full set of nuisance values; those that are not named are zero.

    Attributes:
        name: unique within a run.
        nuisances: (name, displacement in sigma), sorted by name.
        throw: realisation of the run-frozen maps.
        recalibrate: ``mip`` rescales energies with a muon sample seen in this universe; ``exact`` calibrates with the
            universe's own constants instead of the nominal ones.
        group: what the universe is for.

    Raises:
        ConfigError: a nuisance is given twice or is not finite, or a word is not allowed.
    """

    name: str
    nuisances: tuple[tuple[str, float], ...] = ()
    throw: int = 0
    recalibrate: Recalibrate = "none"
    group: Group = "nominal"

    def __post_init__(self) -> None:
        """Sort the nuisances and refuse what cannot be meant."""
        ordered = tuple(sorted((str(name), float(value)) for name, value in self.nuisances))
        object.__setattr__(self, "nuisances", ordered)
        names = [name for name, _ in ordered]
        for name, value in ordered:
            if names.count(name) > 1:
                raise ConfigError(f"universe '{self.name}' gives nuisance '{name}' twice.")
            if not math.isfinite(value):
                raise ConfigError(f"universe '{self.name}': nuisance {name} = {value} is not finite.")
        if self.recalibrate not in _RECALIBRATE:
            raise UnknownNameError("recalibration", self.recalibrate, _RECALIBRATE)
        if self.group not in _GROUPS:
            raise UnknownNameError("universe group", self.group, _GROUPS)

    def value(self, nuisance: str) -> float:
        """Return the displacement of a nuisance in sigma, 0 where it is not named."""
        return dict(self.nuisances).get(nuisance, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a provenance record."""
        return {
            "name": self.name,
            "nuisances": dict(self.nuisances),
            "throw": self.throw,
            "recalibrate": self.recalibrate,
            "group": self.group,
        }


NOMINAL: Final = Universe("nominal")
"""The universe with all nuisances zero."""


def unisim(
    detector: HasNuisances,
    strengths: Sequence[float] = (-1.0, 1.0),
    throws: Mapping[str, int] | None = None,
    recalibrate: Recalibrate = "none",
    only: Collection[str] | None = None,
) -> tuple[Universe, ...]:
    """Return one universe per nuisance and strength, called ``gain_scale+1`` or ``gain_spread-1_throw2``.

    Args:
        detector: whose nuisances are displaced.
        strengths: displacements in sigma; negative ones are left out for one-sided parameters.
        throws: number of realisations of a nuisance's frozen map, say ``{"gain_spread": 4}`` (the default);
            each is used at every strength, so that the throws come in pairs.
        recalibrate: ``mip`` adds ``_mip`` to every name.
        only: nuisances to displace; all when None.

    Raises:
        UnknownNameError: ``throws`` or ``only`` names no nuisance of the detector.
    """
    names = [nuisance.name for nuisance in detector.nuisances]
    counts = {"gain_spread": 4} if throws is None else dict(throws)
    if throws is None:
        counts = {name: count for name, count in counts.items() if name in names}
    for name in (*counts, *(only or ())):
        if name not in names:
            raise UnknownNameError("nuisance", name, names)
    suffix = "" if recalibrate == "none" else f"_{recalibrate}"
    found: list[Universe] = []
    for nuisance in detector.nuisances:
        if only is not None and nuisance.name not in only:
            continue
        for throw in range(counts.get(nuisance.name, 1)):
            label = f"_throw{throw}" if nuisance.name in counts else ""
            for strength in strengths:
                if strength < 0 and not nuisance.parameter.two_sided:
                    continue
                name = f"{nuisance.name}{strength:+g}{label}{suffix}"
                found.append(Universe(name, ((nuisance.name, strength),), throw, recalibrate, "unisim"))
    return tuple(found)


def multisim(detector: HasNuisances, n: int, seed: int, recalibrate: Recalibrate = "none") -> tuple[Universe, ...]:
    """Return ``n`` joint universes in antithetic pairs: ``joint_01`` is minus ``joint_00``, in the same throw.

    Standard-normal displacements of all nuisances from one scrambled Sobol sequence; each is clipped,
    the same on both sides, where its parameter would leave the physical bounds. Every pair has its own
    throw of the frozen maps. Where the detector cannot record one of a pair (noise far above the threshold, say),
    the next pair of the sequence takes its place, so the prior ends there.

    Args:
        detector: whose nuisances are thrown.
        n: number of universes, even.
        seed: of the Sobol scrambling.
        recalibrate: as in ``unisim``.

    Raises:
        ConfigError: ``n`` is odd or not positive, or the detector cannot record most universes of its priors.
    """
    if n < 2 or n % 2:
        raise ConfigError(f"multisim: n = {n} must be even and positive, since universes come in antithetic pairs.")
    pairs = n // 2
    suffix = "" if recalibrate == "none" else f"_{recalibrate}"
    found: list[Universe] = []
    for row in _normals(len(detector.nuisances), pairs, seed):
        throw = 1000 * (seed + 1) + len(found) // 2
        both = [
            Universe(
                f"joint_{len(found) + i:02d}{suffix}", _displaced(detector, row, sign), throw, recalibrate, "multisim"
            )
            for i, sign in enumerate((1.0, -1.0))
        ]
        if all(_recorded(detector, one) for one in both):
            found += both
        if len(found) == n:
            return tuple(found)
    raise ConfigError(
        f"multisim: the detector can record fewer than {n} of {4 * n} joint universes of its priors: "
        f"{_why(detector, both)}"
    )


def _normals(dimensions: int, pairs: int, seed: int) -> Iterator[list[float]]:
    """Give normals (nuisance,) of one scrambled Sobol sequence, four times as many as there are pairs."""
    sampler = stats.qmc.Sobol(d=dimensions, scramble=True, rng=seed)
    yield from special.ndtri(sampler.random_base2(max(pairs - 1, 0).bit_length() + 2)).tolist()


def _displaced(detector: HasNuisances, row: Sequence[float], sign: float) -> tuple[tuple[str, float], ...]:
    return tuple(
        (one.name, _displacement(one.parameter, sign * z)) for one, z in zip(detector.nuisances, row, strict=True)
    )


def _recorded(detector: HasNuisances, universe: Universe) -> bool:
    try:
        detector.check(universe)
    except ConfigError:
        return False
    return True


def _why(detector: HasNuisances, universes: Sequence[Universe]) -> str:
    for universe in universes:
        try:
            detector.check(universe)
        except ConfigError as error:
            return str(error)
    return "the last ones tried were allowed."


def _displacement(parameter: Parameter, z: float) -> float:
    """Clip a normal displacement to the physical bounds; a one-sided parameter takes its size."""
    limit = parameter.limit()
    return min(max(z, -limit), limit) if parameter.two_sided else min(abs(z), limit)
