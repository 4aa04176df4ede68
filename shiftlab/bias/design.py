"""Which universes a responses store holds: the nominal, the one-nuisance pairs and the joint ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Design", "Term", "read_design"]


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
    """

    names: tuple[str, ...]
    group: tuple[str, ...]
    throw: npt.NDArray[np.int64]
    recalibrate: tuple[str, ...]
    nuisances: tuple[str, ...]
    value: Floats
    one_sided: frozenset[str] = frozenset()

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
        sides: dict[tuple[str, str], dict[int, dict[float, int]]] = {}
        for universe in range(len(self.names)):
            nuisance, strength = self.shifted(universe)
            if nuisance:
                throws = sides.setdefault((nuisance, self.recalibrate[universe]), {})
                throws.setdefault(int(self.throw[universe]), {})[strength] = universe
        found = []
        for nuisance in self.nuisances:
            throws = sides.get((nuisance, recalibrate)) or sides.get((nuisance, "none"), {})
            pairs = [sides_of for _, sides_of in sorted(throws.items()) if 1.0 in sides_of or -1.0 in sides_of]
            if throws and not pairs:
                strengths = sorted({s for sides_of in throws.values() for s in sides_of})
                raise DataError(f"nuisance '{nuisance}' has universes at {strengths} sigma, but none at +1 or -1.")
            if pairs:
                plus = tuple(pair.get(1.0, -1) for pair in pairs)
                minus = tuple(pair.get(-1.0, -1) for pair in pairs)
                found.append(Term(nuisance, plus, minus, nuisance in self.one_sided))
        return tuple(found)

    def joint(self, recalibrate: str) -> tuple[tuple[int, ...], ...]:
        """Return the joint universes in blocks of antithetic pairs; one without a partner is its own block.

        A pair has opposite values, save for one-sided nuisances, which take the same size in both.
        """
        left = [i for i, g in enumerate(self.group) if g == "multisim" and self.recalibrate[i] == recalibrate]
        blocks: list[tuple[int, ...]] = []
        while left:
            first = left.pop(0)
            size = np.abs(self.value[first])
            partner = next((i for i in left if np.array_equal(np.abs(self.value[i]), size)), None)
            if partner is None:
                blocks.append((first,))
            else:
                left.remove(partner)
                blocks.append((first, partner))
        return tuple(blocks)


def read_design(datasets: Mapping[str, xr.Dataset]) -> Design:
    """Return the universes of a store, which must be the same for every task.

    Raises:
        DataError: there is no task; tasks differ in arms, seeds or universes; a universe is there twice.
    """
    if not datasets:
        raise DataError("the responses hold no task.")
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
    )
    _refuse_repeats(design)
    return design


def _one_sided(data: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return bool (nuisance,); a store that does not say holds two-sided ones."""
    if "one_sided" not in data.coords:
        return np.zeros(data.sizes["nuisance"], dtype=np.bool_)
    return np.asarray(data["one_sided"].values, dtype=np.bool_)


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
