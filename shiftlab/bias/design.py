"""Which universes a responses store holds: the nominal, the one-nuisance pairs and the joint ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.bias.admission import admit
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["SCRAMBLINGS", "Curve", "Design", "Sampling", "Term", "read_design"]

SCRAMBLINGS: Final = 8
"""Least number of Sobol scramblings from whose spread an interval is made (seven degrees of freedom; convention)."""

Sampling: TypeAlias = Literal["independent", "pairs", "scramblings"]
"""How joint universes were drawn, which says what may be resampled: see ``Design.sampling``."""

_Sides: TypeAlias = dict[int, dict[float, int]]
"""Throw to strength to number of the universe."""


@dataclass(frozen=True)
class Term:
    """One nuisance's universes at one sigma, one pair per throw of the frozen maps.

    Attributes:
        nuisance: Name of the nuisance.
        plus: Universe numbers at +1 sigma, one per throw; -1 where that side was not run.
        minus: The same at -1 sigma.
        one_sided: The parameter exists on one side of its nominal only; its displacement is |z|, z a standard normal.
    """

    nuisance: str
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    one_sided: bool = False

    @property
    def mirrored(self) -> bool:
        """True when one side stands for both, with the opposite sign (so the even part is 0)."""
        return -1 in self.plus or -1 in self.minus


@dataclass(frozen=True)
class Curve:
    """All strengths at which one nuisance was displaced alone, for the response over strength.

    Attributes:
        nuisance: Name of the nuisance.
        strengths: In units of its sigma, ascending, without 0 (which is the nominal universe).
        throws: Realisations of the frozen maps, ascending.
        universes: int64 (throw, strength), universe numbers; -1 where that one was not run.
        one_sided: The parameter exists on one side of its nominal only.
    """

    nuisance: str
    strengths: tuple[float, ...]
    throws: tuple[int, ...]
    universes: npt.NDArray[np.int64]
    one_sided: bool = False


@dataclass(frozen=True)
class Design:
    """The universes of a store, in its order.

    Attributes:
        names: Names of the universes.
        group: nominal, unisim, multisim, injected or control, per universe.
        throw: int64 (universe,), number of the frozen-map realisation.
        recalibrate: none, mip or exact, per universe.
        nuisances: Names of the nuisances.
        value: (universe, nuisance), in units of each nuisance's sigma.
        one_sided: Nuisances whose parameter exists on one side of its nominal only.
        scrambling: int64 (universe,), number of a joint universe's Sobol scrambling; 0 for the only one or none.
        prior: (nuisance, nuisance), correlation matrix of the nuisances' prior; the unit matrix by default.
    """

    names: tuple[str, ...]
    group: tuple[str, ...]
    throw: npt.NDArray[np.int64]
    recalibrate: tuple[str, ...]
    nuisances: tuple[str, ...]
    value: Floats
    one_sided: frozenset[str] = frozenset()
    scrambling: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    prior: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        """Take one scrambling and independent nuisances where nothing is given."""
        if not len(self.scrambling):
            object.__setattr__(self, "scrambling", np.zeros(len(self.names), dtype=np.int64))
        if not len(self.prior):
            object.__setattr__(self, "prior", np.eye(len(self.nuisances)))

    @property
    def nominal(self) -> int:
        """Number of the universe that every bias is taken from.

        Raises:
            DataError: there is none, or more than one.
        """
        found = [i for i, group in enumerate(self.group) if group == "nominal" and self.recalibrate[i] == "none"]
        if len(found) != 1:
            raise DataError(
                f"the responses hold {len(found)} nominal universes; exactly one of group 'nominal' with "
                f"recalibrate 'none' is needed. Universes: {', '.join(self.names)}."
            )
        return found[0]

    @property
    def recalibrations(self) -> tuple[str, ...]:
        """The recalibrations that have universes, "none" first."""
        return tuple(sorted(set(self.recalibrate), key=lambda name: (name != "none", name)))

    def shifted(self, universe: int) -> tuple[str, float]:
        """Return the nuisance that a one-nuisance universe displaces and by how many sigma; ("", 0) for others."""
        if self.group[universe] != "unisim":
            return "", 0.0
        moved = np.flatnonzero(self.value[universe])
        if len(moved) != 1:
            raise DataError(f"unisim universe '{self.names[universe]}' displaces {len(moved)} nuisances, not 1.")
        return self.nuisances[moved[0]], float(self.value[universe, moved[0]])

    def terms(self, recalibrate: str) -> tuple[Term, ...]:
        """Return the one-sigma universes of every nuisance, in the order of ``nuisances``.

        With ``recalibrate`` other than "none" a nuisance without such universes falls back on its
        plain ones: recalibrating does not touch it, or it was not asked for.

        Raises:
            DataError: a nuisance has universes, but none at one sigma.
        """
        found = []
        for nuisance, throws in self._alone(recalibrate).items():
            pairs = [sides for _, sides in sorted(throws.items()) if 1.0 in sides or -1.0 in sides]
            if not pairs:
                strengths = sorted({s for sides in throws.values() for s in sides})
                raise DataError(f"nuisance '{nuisance}' has universes at {strengths} sigma, but none at +1 or -1.")
            plus = tuple(pair.get(1.0, -1) for pair in pairs)
            minus = tuple(pair.get(-1.0, -1) for pair in pairs)
            found.append(Term(nuisance, plus, minus, nuisance in self.one_sided))
        return tuple(found)

    def curves(self, recalibrate: str) -> tuple[Curve, ...]:
        """Return all one-nuisance universes, nuisance by nuisance in the order of ``nuisances``.

        Nuisances without recalibrated universes fall back on their plain ones, as in ``terms``.
        """
        found = []
        for nuisance, sides in self._alone(recalibrate).items():
            strengths = tuple(sorted({strength for one in sides.values() for strength in one}))
            throws = tuple(sorted(sides))
            numbers = [[sides[throw].get(strength, -1) for strength in strengths] for throw in throws]
            universes = np.array(numbers, dtype=np.int64)
            found.append(Curve(nuisance, strengths, throws, universes, nuisance in self.one_sided))
        return tuple(found)

    def _alone(self, recalibrate: str) -> dict[str, _Sides]:
        """Return the one-nuisance universes by nuisance, plain where there are no recalibrated ones."""
        sides: dict[tuple[str, str], _Sides] = {}
        for universe in range(len(self.names)):
            nuisance, strength = self.shifted(universe)
            if nuisance:
                throws = sides.setdefault((nuisance, self.recalibrate[universe]), {})
                throws.setdefault(int(self.throw[universe]), {})[strength] = universe
        chosen = {name: sides.get((name, recalibrate)) or sides.get((name, "none"), {}) for name in self.nuisances}
        return {name: throws for name, throws in chosen.items() if throws}

    def prior_among(self, nuisances: Sequence[str]) -> Floats:
        """Return the prior's correlation matrix of some nuisances, in their order, (nuisance, nuisance).

        Raises:
            DataError: a name is none of the store's nuisances.
        """
        missing = [name for name in nuisances if name not in self.nuisances]
        if missing:
            raise DataError(f"no nuisance {', '.join(missing)} in the store; it has {', '.join(self.nuisances)}.")
        chosen = [self.nuisances.index(name) for name in nuisances]
        return np.asarray(self.prior[np.ix_(chosen, chosen)], dtype=np.float64)

    def joint(self, recalibrate: str) -> tuple[tuple[int, ...], ...]:
        """Return the joint universes in blocks of antithetic pairs; one without a partner is its own block.

        A pair has opposite values, save for one-sided nuisances, which take the same size in both.
        """
        waiting: dict[tuple[int, bytes], list[int]] = {}
        found: dict[int, tuple[int, ...]] = {}
        for i in self._joint(recalibrate):
            # Adding 0.0 turns -0.0 into 0.0, whose bytes differ.
            alike = waiting.setdefault((int(self.throw[i]), (np.abs(self.value[i]) + 0.0).tobytes()), [])
            if alike:
                first = alike.pop(0)
                found[first] = (first, i)
            else:
                alike.append(i)
                found[i] = (i,)
        return tuple(found.values())

    def _joint(self, recalibrate: str) -> list[int]:
        return [i for i, g in enumerate(self.group) if g == "multisim" and self.recalibrate[i] == recalibrate]

    def sampling(self, recalibrate: str) -> Sampling:
        """Return how the joint universes were drawn, so what of them is independent.

        ``independent``: every universe. ``pairs``: every pair (about nominal, since the mean of a pair has no odd
        part); those of one Sobol sequence fill the prior more evenly than independent ones, so that their spread
        overstates the error of a mean over many of them (see ``blocks``). ``scramblings``: every scrambling as a whole;
        the mean over its universes is one number, and the spread of these numbers is the error.

        Raises:
            DataError: there are no joint universes, or only some of them have a scrambling.
        """
        joint = self._joint(recalibrate)
        if not joint:
            raise DataError(
                f"the responses hold no joint universes (recalibrate '{recalibrate}'): universes.joint makes them."
            )
        numbered = self.scrambling[joint] > 0
        if numbered.any():
            if not numbered.all():
                name = self.names[joint[int(np.argmin(numbered))]]
                raise DataError(f"joint universe '{name}' has no scrambling, but others have; make all in one draw.")
            return "scramblings"
        return "pairs" if any(len(block) > 1 for block in self.joint(recalibrate)) else "independent"

    def blocks(self, recalibrate: str, least: int = 2) -> tuple[tuple[int, ...], ...]:
        """Return the joint universes in blocks that are independent of each other: what a resampling may draw.

        The second moment about nominal is the mean over these blocks of a number that each gives, so that a simple
        interval is mean +- t s / sqrt(blocks), t Student's. Coverage where 0.68 is claimed, in 2,000 experiments with
        six elements of a covariance of nine nuisances: 64 independent universes 0.65 to 0.68, 256 of them 0.66 to 0.68;
        eight scramblings of eight pairs 0.67 to 0.69 (with three nuisances 0.63 to 0.67, since a square of few is
        skewed); pairs of one Sobol sequence 0.60 to 0.69 for eight pairs, 0.80 to 0.96 for 32 and 1.00 for 128:
        conservative, since the error is that much smaller than the spread says.

        Args:
            recalibrate: none, mip or exact.
            least: Number of blocks that are needed; of scramblings at least 8 in any case.

        Raises:
            DataError: there are fewer (the message says how many are needed), or one block is larger than another.
        """
        sampling = self.sampling(recalibrate)
        found = self.joint(recalibrate)
        if sampling == "scramblings":
            together: dict[int, list[int]] = {}
            for universe in self._joint(recalibrate):
                together.setdefault(int(self.scrambling[universe]), []).append(universe)
            found = tuple(tuple(together[number]) for number in sorted(together))
            least = max(least, SCRAMBLINGS)
        sizes = {len(block) for block in found}
        what, size = _WORDS[sampling], max(sizes)
        if len(found) < least:
            raise DataError(
                f"intervals over universes need at least {least} {what}; the responses hold {len(found)} (recalibrate "
                f"'{recalibrate}'). universes.joint={least * size} makes {least}"
                + (f", with universes.scramblings={least}." if sampling == "scramblings" else ".")
            )
        if len(sizes) > 1:
            raise DataError(f"the joint universes form {what} of {min(sizes)} to {size}; all must be as large.")
        return found


_WORDS: Final[Mapping[Sampling, str]] = {
    "independent": "independent universes",
    "pairs": "antithetic pairs",
    "scramblings": "Sobol scramblings",
}


def read_design(datasets: Mapping[str, xr.Dataset]) -> Design:
    """Return the universes of a store, which must be the same for every task.

    Raises:
        DataError: there is no task; one cannot be read by name and key (``admission.admit``); tasks differ in arms,
            seeds or universes; a universe is there twice.
    """
    if not datasets:
        raise DataError("the responses hold no task.")
    admit(datasets)
    first, *others = datasets
    data = datasets[first]
    for axis in ("arm", "seed", "universe"):
        for other in others:
            if not np.array_equal(data[axis].values, datasets[other][axis].values):
                raise DataError(f"tasks '{first}' and '{other}' differ in their {axis}s; biases cannot be paired.")
    design = Design(
        names=tuple(str(name) for name in data["universe"].values),
        group=tuple(str(group) for group in data["group"].values),
        throw=data["throw"].values.astype(np.int64),
        recalibrate=tuple(str(name) for name in data["recalibrate"].values),
        nuisances=tuple(str(name) for name in data["nuisance"].values),
        value=data["nuisance_value"].transpose("universe", "nuisance").values.astype(np.float64),
        one_sided=frozenset(str(name) for name in data["nuisance"].values[_one_sided(data)]),
        scrambling=_scrambling(data),
        prior=_prior(data),
    )
    _refuse_repeats(design)
    return design


def _one_sided(data: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return bool (nuisance,); a store that does not say holds two-sided ones."""
    if "one_sided" not in data.coords:
        return np.zeros(data.sizes["nuisance"], dtype=np.bool_)
    return np.asarray(data["one_sided"].values, dtype=np.bool_)


def _scrambling(data: xr.Dataset) -> npt.NDArray[np.int64]:
    """Return int64 (universe,); a store that does not say holds one sequence, or independent draws."""
    if "scrambling" not in data.coords:
        return np.zeros(data.sizes["universe"], dtype=np.int64)
    return np.asarray(data["scrambling"].values, dtype=np.int64)


def _prior(data: xr.Dataset) -> Floats:
    """Return the prior's correlation matrix (nuisance, nuisance); a store that does not say has independent ones.

    Raises:
        DataError: it is not that of the store's nuisances, not symmetric with a unit diagonal, or has a negative
            eigenvalue.
    """
    names = [str(name) for name in data["nuisance"].values]
    if "prior_correlation" not in data.coords:
        return np.eye(len(names))
    matrix = data["prior_correlation"].transpose("nuisance", "other_nuisance").values.astype(np.float64)
    if [str(name) for name in data["other_nuisance"].values] != names:
        raise DataError(f"prior_correlation is over other nuisances than the universes, which have {', '.join(names)}.")
    if not (np.isfinite(matrix).all() and np.array_equal(matrix, matrix.T) and np.all(np.diag(matrix) == 1.0)):
        raise DataError("prior_correlation must be finite and symmetric with 1 on its diagonal.")
    if len(names) and np.linalg.eigvalsh(matrix)[0] < -1e-9:
        raise DataError("prior_correlation has a negative eigenvalue: no prior has such correlations.")
    return matrix


def _refuse_repeats(design: Design) -> None:
    names: dict[object, str] = {}
    for i, name in enumerate(design.names):
        if name in names:
            raise DataError(f"universe '{name}' is in the responses twice.")
        names[name] = name
        if design.group[i] == "control":
            continue
        content = (design.group[i], int(design.throw[i]), design.recalibrate[i], design.value[i].tobytes())
        if content in names:
            raise DataError(f"universes '{names[content]}' and '{name}' are the same universe, listed twice.")
        names[content] = name
