"""Joint prior of the nuisances: which of them are correlated, and standard-normal draws of all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["correlation_matrix", "independent_normals", "pair_of", "sobol_normals"]

_SMALLEST: Final = 1e-8
"""Least eigenvalue of a matrix that counts as positive definite; rounding makes a singular one about 1e-16."""

_SPARE: Final = 4
"""How many times as many draws as asked for are made, for a detector that cannot record every one of them."""


def pair_of(key: str, allowed: Sequence[str]) -> tuple[str, str]:
    """Return the two nuisances that a key names, ``gain_scale+lifetime_tau`` or ``gain_scale, lifetime_tau``.

    Raises:
        ConfigError: the key does not hold two different names.
        UnknownNameError: one of them is not among ``allowed``.
    """
    names = [name.strip() for name in key.replace("+", ",").split(",")]
    if len(names) != 2 or names[0] == names[1]:
        raise ConfigError(f"correlations: '{key}' must name two different nuisances, as 'gain_scale+lifetime_tau'.")
    for name in names:
        if name not in allowed:
            raise UnknownNameError("nuisance in correlations", name, allowed)
    return names[0], names[1]


def correlation_matrix(names: Sequence[str], pairs: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the prior's correlation matrix, (nuisance, nuisance), 1 on the diagonal.

    Args:
        names: of the nuisances, in the order of the matrix.
        pairs: correlation by pair of names, see ``pair_of``; pairs that are not given are independent.

    Raises:
        ConfigError: a key is no pair, a pair is given twice, a value is not in (-1, 1), or the matrix is not positive
            definite: no such prior exists. The message names the pairs that contradict each other.
        UnknownNameError: a pair names no nuisance.
    """
    matrix = np.eye(len(names))
    given: dict[frozenset[str], str] = {}
    for key, value in pairs.items():
        one, other = pair_of(key, names)
        twin = given.setdefault(frozenset((one, other)), key)
        if twin != key:
            raise ConfigError(f"correlations: '{twin}' and '{key}' are the same pair; give it once.")
        if not -1.0 < value < 1.0:
            raise ConfigError(
                f"correlations: '{key}' = {value}; allowed is more than -1 and less than 1 (two nuisances that always "
                "move together are one)."
            )
        i, j = names.index(one), names.index(other)
        matrix[i, j] = matrix[j, i] = value
    _refuse_indefinite(names, matrix)
    return matrix


def _refuse_indefinite(names: Sequence[str], matrix: NDArray[np.float64]) -> None:
    """Raise ConfigError with the pairs among the nuisances whose combination would have a negative variance."""
    if not len(names):
        return
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= _SMALLEST:
        return
    involved = np.flatnonzero(np.abs(vectors[:, 0]) > 1e-6)
    guilty = [(i, j) for i, j in combinations(involved.tolist(), 2) if matrix[i, j] != 0.0]
    listed = ", ".join(f"{names[i]}+{names[j]} = {matrix[i, j]:g}" for i, j in guilty)
    # 1 + s (matrix - 1) has the least eigenvalue 1 - s (1 - least).
    raise ConfigError(
        f"correlations: no prior has {listed}: the matrix is not positive definite (smallest eigenvalue "
        f"{values[0]:.3g}). Multiplied by less than {1.0 / (1.0 - values[0]):.3f} they would be possible."
    )


def sobol_normals(dimensions: int, wanted: int, seed: int, scrambling: int) -> Iterator[NDArray[np.float64]]:
    """Give standard normals (nuisance,) of one scrambled Sobol sequence, at least four times as many as wanted.

    Every point is a draw from the prior; the points of one scrambling depend on each other (they fill the space
    evenly), those of two scramblings do not (Owen 1995; scrambled as by Matousek 1998).

    Args:
        dimensions: number of nuisances.
        wanted: number of points that will be used.
        seed: of the study.
        scrambling: number of the scrambling, 0 for the only one.
    """
    source = seed if scrambling == 0 else np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(scrambling,)))
    sampler = stats.qmc.Sobol(d=dimensions, scramble=True, rng=source)
    yield from special.ndtri(sampler.random_base2(max(wanted - 1, 0).bit_length() + 2))


def independent_normals(dimensions: int, wanted: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Give independent standard normals (nuisance,), four times as many as wanted."""
    source = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    yield from source.standard_normal((_SPARE * wanted, dimensions))
