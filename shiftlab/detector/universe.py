"""Universes: full sets of nuisance values with the number of the frozen maps' realisation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shiftlab.detector.parameter import Parameter
from shiftlab.detector.prior import correlation_matrix, independent_normals, sobol_normals
from shiftlab.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from shiftlab.detector.nuisances import Nuisance

__all__ = [
    "NOMINAL",
    "SCRAMBLINGS",
    "Draws",
    "Group",
    "HasNuisances",
    "Recalibrate",
    "Universe",
    "Unphysical",
    "check_joint",
    "multisim",
    "unisim",
]

Recalibrate: TypeAlias = Literal["none", "mip", "exact"]
Draws: TypeAlias = Literal["sobol", "independent"]
Unphysical: TypeAlias = Literal["error", "leave_out"]
Group: TypeAlias = Literal["nominal", "unisim", "multisim", "injected", "control"]

_RECALIBRATE: Final = ("none", "mip", "exact")
_DRAWS: Final = ("sobol", "independent")
_GROUPS: Final = ("nominal", "unisim", "multisim", "injected", "control")

SCRAMBLINGS: Final = 8
"""Least number of Sobol scramblings from whose spread an interval is made (seven degrees of freedom; convention)."""


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
        scrambling: number, from 1, of the Sobol scrambling that a joint universe is a point of; 0 where all joint
            universes are of one sequence, or of none.

    Raises:
        ConfigError: a nuisance is given twice or is not finite, a word is not allowed, or a scrambling is negative.
    """

    name: str
    nuisances: tuple[tuple[str, float], ...] = ()
    throw: int = 0
    recalibrate: Recalibrate = "none"
    group: Group = "nominal"
    scrambling: int = 0

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
        if self.scrambling < 0:
            raise ConfigError(f"universe '{self.name}': scrambling = {self.scrambling}; allowed is 0 or more.")

    def value(self, nuisance: str) -> float:
        """Return the displacement of a nuisance in sigma, 0 where it is not named."""
        return dict(self.nuisances).get(nuisance, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a provenance record; scrambling 0 is left out."""
        plain = {
            "name": self.name,
            "nuisances": dict(self.nuisances),
            "throw": self.throw,
            "recalibrate": self.recalibrate,
            "group": self.group,
        }
        # Written only where it says something, so that records from before there were scramblings stay equal.
        return plain | ({"scrambling": self.scrambling} if self.scrambling else {})


NOMINAL: Final = Universe("nominal")
"""The universe with all nuisances zero."""


def unisim(
    detector: HasNuisances,
    strengths: Sequence[float] = (-1.0, 1.0),
    throws: Mapping[str, int] | None = None,
    recalibrate: Recalibrate = "none",
    only: Collection[str] | None = None,
    unphysical: Unphysical = "error",
) -> tuple[Universe, ...]:
    """Return one universe per nuisance and strength, called ``gain_scale+1`` or ``gain_spread-1_throw2``.

    Args:
        detector: whose nuisances are displaced.
        strengths: displacements in sigma, say (-3, -2, -1, -0.5, 0.5, 1, 2, 3) for response curves; negative ones are
            left out for one-sided parameters.
        throws: number of realisations of a nuisance's frozen map, say ``{"gain_spread": 4}`` (the default);
            each is used at every strength, so that the throws come in pairs.
        recalibrate: ``mip`` adds ``_mip`` to every name.
        only: nuisances to displace; all when None.
        unphysical: ``leave_out`` makes no universe where the detector cannot record it, say minus three sigma of a
            fraction of dead channels that would be negative; ``error`` makes it, and whoever records it refuses it.

    Raises:
        UnknownNameError: ``throws`` or ``only`` names no nuisance of the detector.
        ConfigError: a strength is 0, not finite or given twice.
    """
    names = [nuisance.name for nuisance in detector.nuisances]
    counts = {"gain_spread": 4} if throws is None else dict(throws)
    if throws is None:
        counts = {name: count for name, count in counts.items() if name in names}
    for name in (*counts, *(only or ())):
        if name not in names:
            raise UnknownNameError("nuisance", name, names)
    _check_strengths(strengths)
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
                one = Universe(name, ((nuisance.name, strength),), throw, recalibrate, "unisim")
                if unphysical == "error" or _recorded(detector, one):
                    found.append(one)
    return tuple(found)


def _check_strengths(strengths: Sequence[float]) -> None:
    for strength in strengths:
        if strength == 0 or not math.isfinite(strength):
            raise ConfigError(
                f"unisim: strength {strength:g} is given; 0 is the nominal universe, and others are finite."
            )
        if list(strengths).count(strength) > 1:
            raise ConfigError(f"unisim: strength {strength:+g} is given twice; each makes one universe.")


def multisim(
    detector: HasNuisances,
    n: int,
    seed: int,
    recalibrate: Recalibrate = "none",
    *,
    draws: Draws = "sobol",
    scramblings: int = 1,
    correlations: Mapping[str, float] | None = None,
) -> tuple[Universe, ...]:
    """Return ``n`` joint universes, all nuisances drawn from their prior.

    ``sobol``: antithetic pairs (``joint_01`` is minus ``joint_00``, in the same throw) from ``scramblings``
    independent scrambled Sobol sequences, as many from each. They fill the prior evenly, so that a covariance over them
    is closer to the prior's than over as many independent ones. The price: universes of one sequence depend on each
    other, so their spread is no measure of the error; that of eight scramblings or more is. As many scramblings as
    pairs make independent antithetic pairs. ``independent``: independent draws, each in its own throw.

    A nuisance is clipped, the same on both sides, where its parameter would leave the physical bounds; a one-sided one
    takes the size of its normal. Correlated nuisances are L z with L L^T the correlation matrix, z independent normals
    and L triangular (Cholesky). Every pair has its own throw of the frozen maps. Where the detector cannot record one
    of a pair (noise far above the threshold, say), the next pair of the sequence takes its place, so the prior ends
    there.

    Args:
        detector: whose nuisances are thrown.
        n: number of universes; with ``sobol`` a multiple of twice the number of scramblings.
        seed: of the scrambling or of the draws.
        recalibrate: as in ``unisim``.
        draws: ``sobol`` or ``independent``.
        scramblings: 1, or at least 8.
        correlations: of nuisances in the prior, by pair, say ``{"gain_scale+lifetime_tau": 0.5}``.

    Raises:
        ConfigError: ``n`` and ``scramblings`` do not fit together, the correlations contradict each other, the
            detector cannot record most universes of its priors, or pairs are asked for where all nuisances are
            one-sided.
        UnknownNameError: no such kind of draws, or a correlation names no nuisance of the detector.
    """
    problem = check_joint(n, draws, scramblings)
    if problem:
        raise ConfigError(f"multisim: {problem}")
    if draws == "sobol" and not any(one.parameter.two_sided for one in detector.nuisances):
        raise ConfigError(
            "multisim: no nuisance has two sides, so both universes of an antithetic pair would be the same; "
            "draws=independent has no pairs."
        )
    names = [nuisance.name for nuisance in detector.nuisances]
    lower = np.linalg.cholesky(correlation_matrix(names, correlations)) if correlations else None
    sides = (1.0, -1.0) if draws == "sobol" else (1.0,)
    share = n // scramblings
    found: list[Universe] = []
    for number in range(scramblings):
        scrambling = 0 if scramblings == 1 else number + 1
        if draws == "sobol":
            rows = sobol_normals(len(names), share // 2, seed, scrambling)
        else:
            rows = independent_normals(len(names), share, seed)
        blocks = (_block(detector, row if lower is None else lower @ row, sides) for row in rows)
        for block in _recorded_blocks(detector, blocks, share, recalibrate):
            throw = 1000 * (seed + 1) + len(found) // len(sides)
            for values in block:
                name = f"joint_{len(found):02d}" + ("" if recalibrate == "none" else f"_{recalibrate}")
                found.append(Universe(name, values, throw, recalibrate, "multisim", scrambling))
    return tuple(found)


def check_joint(n: int, draws: str, scramblings: int) -> str:
    """Return what is wrong with so many joint universes, and which numbers are allowed; empty where nothing is.

    Raises:
        UnknownNameError: no such kind of draws.
    """
    if draws not in _DRAWS:
        raise UnknownNameError("draws of joint universes", draws, _DRAWS)
    if draws == "independent" and scramblings != 1:
        return f"scramblings = {scramblings} is given; independent draws have none (allowed: 1)."
    if scramblings < 1 or 1 < scramblings < SCRAMBLINGS:
        return (
            f"scramblings = {scramblings} is given; 1, or at least {SCRAMBLINGS}, is wanted: the spread of fewer "
            "says too little about the error."
        )
    step = 2 * scramblings if draws == "sobol" else 1
    if n < step or n % step:
        why = "they come in antithetic pairs" if scramblings == 1 else f"as many pairs from each of {scramblings}"
        near = max(step, step * ((n + step // 2) // step))
        wanted = f"an even number, since {why}" if step == 2 else f"a multiple of {step}" + (f" ({why})" * (step > 2))
        return f"{n} joint universes are asked for; {wanted}, at least {step}, is wanted, say {near}."
    return ""


_Values: TypeAlias = tuple[tuple[str, float], ...]


def _block(detector: HasNuisances, row: NDArray[np.float64], sides: Sequence[float]) -> list[_Values]:
    """Return the nuisance values of universes that belong together: one, or two that are opposite."""
    return [
        tuple(
            (one.name, _displacement(one.parameter, side * z)) for one, z in zip(detector.nuisances, row, strict=True)
        )
        for side in sides
    ]


def _recorded_blocks(
    detector: HasNuisances, blocks: Iterable[list[_Values]], universes: int, recalibrate: Recalibrate
) -> list[list[_Values]]:
    """Return the first blocks that the detector can record, so many that they hold ``universes``."""
    kept: list[list[_Values]] = []
    refused: list[Universe] = []
    for block in blocks:
        tried = [Universe("joint", values, 0, recalibrate, "multisim") for values in block]
        if all(_recorded(detector, one) for one in tried):
            kept.append(block)
        else:
            refused = tried
        if len(kept) * len(block) == universes:
            return kept
    raise ConfigError(
        f"multisim: the detector can record fewer than {universes} of {4 * universes} joint universes of its priors: "
        f"{_why(detector, refused)}"
    )


def _recorded(detector: HasNuisances, universe: Universe) -> bool:
    try:
        detector.check(universe)
    except ConfigError:
        return False
    return True


def _why(detector: HasNuisances, refused: Sequence[Universe]) -> str:
    for universe in refused:
        try:
            detector.check(universe)
        except ConfigError as error:
            return str(error)
    return "none was refused."


def _displacement(parameter: Parameter, z: float) -> float:
    """Clip a normal displacement to the physical bounds; a one-sided parameter takes its size."""
    limit = parameter.limit()
    return min(max(z, -limit), limit) if parameter.two_sided else min(abs(z), limit)
