"""The universes of a store, and those that are to be emulated, as points in the space of the nuisances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.detector import Universe
from shiftlab.errors import DataError, UnknownNameError

__all__ = ["Points"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Universes, by number.

    Attributes:
        names: Their names.
        group: nominal, unisim, multisim, injected or control.
        throw: Number of the realisation of the frozen maps.
        scrambling: Number of the Sobol scrambling of joint universes.
        recalibrate: none, mip or exact.
        nuisances: Names of the nuisances.
        value: (universe, nuisance), displacements in sigma; sizes where a nuisance is one-sided.
        one_sided: bool (nuisance,): the parameter exists on one side of nominal only.
    """

    names: tuple[str, ...]
    group: tuple[str, ...]
    throw: tuple[int, ...]
    scrambling: tuple[int, ...]
    recalibrate: tuple[str, ...]
    nuisances: tuple[str, ...]
    value: Floats
    one_sided: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of universes."""
        return len(self.names)

    @classmethod
    def of_store(cls, data: xr.Dataset) -> Self:
        """Return the universes of the dataset of one task.

        Raises:
            DataError: some of them are emulated themselves.
        """
        if "emulated" in data.coords and bool(data["emulated"].any()):
            raise DataError(
                f"{int(data['emulated'].sum())} universes of these responses are emulated themselves; a response is "
                "made from, and tested with, directly simulated ones only."
            )
        nuisances = tuple(str(name) for name in data["nuisance"].values)
        scrambling = data["scrambling"].values if "scrambling" in data.coords else np.zeros(data.sizes["universe"])
        sides = data["one_sided"].values if "one_sided" in data.coords else np.zeros(len(nuisances))
        return cls(
            names=tuple(str(name) for name in data["universe"].values),
            group=tuple(str(group) for group in data["group"].values),
            throw=tuple(int(throw) for throw in data["throw"].values),
            scrambling=tuple(int(number) for number in scrambling),
            recalibrate=tuple(str(word) for word in data["recalibrate"].values),
            nuisances=nuisances,
            value=_sizes(data["nuisance_value"].values.astype(np.float64), sides.astype(np.bool_)),
            one_sided=sides.astype(np.bool_),
        )

    def asked(self, universes: Sequence[Universe]) -> Points:
        """Return universes that are to be emulated, in the nuisances of this store.

        Raises:
            UnknownNameError: one displaces a nuisance that the store does not have.
            DataError: there is none, or one is listed twice.
        """
        if not universes:
            raise DataError("no universes to emulate.")
        names = tuple(universe.name for universe in universes)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"universe '{twice}' is to be emulated twice.")
        column = {name: i for i, name in enumerate(self.nuisances)}
        value = np.zeros((len(names), len(column)))
        for row, universe in enumerate(universes):
            for name, z in universe.nuisances:
                if name in column:
                    value[row, column[name]] = z
                elif z != 0.0:
                    raise UnknownNameError("nuisance of the responses", name, self.nuisances)
        return Points(
            names=names,
            group=tuple(universe.group for universe in universes),
            throw=tuple(universe.throw for universe in universes),
            scrambling=tuple(universe.scrambling for universe in universes),
            recalibrate=tuple(universe.recalibrate for universe in universes),
            nuisances=self.nuisances,
            value=_sizes(value, self.one_sided),
            one_sided=self.one_sided,
        )

    def take(self, rows: Sequence[int]) -> Points:
        """Return some of the universes."""
        return Points(
            names=tuple(self.names[i] for i in rows),
            group=tuple(self.group[i] for i in rows),
            throw=tuple(self.throw[i] for i in rows),
            scrambling=tuple(self.scrambling[i] for i in rows),
            recalibrate=tuple(self.recalibrate[i] for i in rows),
            nuisances=self.nuisances,
            value=self.value[list(rows)],
            one_sided=self.one_sided,
        )

    @property
    def nominal(self) -> int:
        """Number of the universe that displacements are taken from.

        Raises:
            DataError: there is none, or more than one.
        """
        kinds = zip(self.group, self.recalibrate, strict=True)
        found = [i for i, kind in enumerate(kinds) if kind == ("nominal", "none")]
        if len(found) != 1:
            raise DataError(f"the responses hold {len(found)} nominal universes; exactly one is needed.")
        return found[0]

    def displaced(self, universe: int) -> tuple[str, ...]:
        """Return the names of the nuisances that a universe displaces."""
        return tuple(self.nuisances[i] for i in np.flatnonzero(self.value[universe]))

    def unisim_strengths(self) -> set[float]:
        """Return the sizes of the displacements of the universes that displace one nuisance alone, in sigma."""
        alone = [u for u, group in enumerate(self.group) if group == "unisim" and len(self.displaced(u)) == 1]
        return {float(np.abs(self.value[u]).max()) for u in alone}

    @property
    def joint(self) -> bool:
        """Whether some universe displaces several nuisances."""
        return bool(((self.value != 0).sum(axis=1) > 1).any())

    def largest(self) -> Floats:
        """Return the largest displacement of each nuisance on either side, (nuisance,), in sigma."""
        largest: Floats = np.abs(self.value).max(axis=0, initial=0.0)
        return largest


def _sizes(value: Floats, one_sided: npt.NDArray[np.bool_]) -> Floats:
    """Return displacements with those of one-sided nuisances replaced by their sizes."""
    return np.where(one_sided, np.abs(value), value)
