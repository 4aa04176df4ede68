"""The parameters of a likelihood: names, kinds, first values, bounds and what constrains them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.errors import UnknownNameError

__all__ = ["KINDS", "Parameters"]

Floats = npt.NDArray[np.float64]

KINDS: Final = ("nuisance", "lumi", "normfactor", "shapefactor", "shapesys", "staterror")
"""What a parameter does; ``nuisance`` is a normsys, a histosys, or both under one name."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """One entry per parameter.

    Attributes:
        names: names; a parameter per bin is ``<name>[<bin>]``.
        kinds: one of ``KINDS`` each.
        initial: (parameter,) nominal values, also the first values of a fit.
        lower: (parameter,) lower bounds.
        upper: (parameter,) upper bounds.
        fixed: (parameter,) held at ``initial`` unless a fit frees it.
        centre: (parameter,) what the auxiliary measurement says; for a Poisson one, its count over ``tau``.
        width: (parameter,) sigma of a Gaussian constraint, infinite where there is none.
        tau: (parameter,) auxiliary events per unit of a Poisson constraint, 0 where there is none.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    initial: Floats
    lower: Floats
    upper: Floats
    fixed: npt.NDArray[np.bool_]
    centre: Floats
    width: Floats
    tau: Floats

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the position of a parameter.

        Raises:
            UnknownNameError: there is none of that name.
        """
        if name not in self.names:
            raise UnknownNameError("parameter", name, self.names)
        return self.names.index(name)

    def indices(self, names: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the positions of some parameters; see ``index``."""
        return np.array([self.index(name) for name in names], dtype=np.int64)

    def of_kind(self, *kinds: str) -> npt.NDArray[np.int64]:
        """Return the positions of all parameters of some kinds."""
        return np.flatnonzero([kind in kinds for kind in self.kinds])

    @property
    def constrained(self) -> npt.NDArray[np.bool_]:
        """(parameter,) whether an auxiliary measurement constrains it."""
        return np.isfinite(self.width) | (self.tau > 0.0)

    @property
    def prior(self) -> Floats:
        """(parameter,) sigma before the fit: ``width``, 1 / sqrt(tau), or infinite."""
        with np.errstate(divide="ignore"):
            return np.where(self.tau > 0.0, 1.0 / np.sqrt(self.tau), self.width)
