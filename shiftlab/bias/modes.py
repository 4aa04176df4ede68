"""Principal modes of the tasks' covariance, their loadings with intervals, and the nuisances that make each mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shiftlab.bias.bootstrap import HALF_68, interval
from shiftlab.bias.covariance import Part
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["Modes", "Shares", "aligned", "mode_names", "principal_modes", "shares_of_parts", "shares_of_regression"]

_SPARE: Final = 8
"""Fewest joint universes beyond the fitted terms of the regression on nuisances (convention)."""


@dataclass(frozen=True)
class Modes:
    """Principal modes, the largest first.

    Attributes:
        variance: (mode,), variance of each mode, in the currency's unit squared.
        fraction: (mode,), its share of the sum over all modes.
        loading: (task, mode), how far each task moves when the mode moves by one sigma, in the currency's unit; the
            sum over tasks is positive.
        low: (task, mode), lower end of the interval of each loading over replicas.
        high: (task, mode), upper end.
    """

    variance: Floats
    fraction: Floats
    loading: Floats
    low: Floats
    high: Floats

    @property
    def direction(self) -> Floats:
        """(task, mode), the loadings at unit length."""
        return np.asarray(self.loading / np.sqrt(self.variance), dtype=np.float64)


def principal_modes(covariance: Floats, replicas: Floats, number: int = 3, half: float = HALF_68) -> Modes:
    """Return the leading modes of a covariance with percentile intervals of the loadings.

    Modes of equal variance are free to turn into each other, so each replica's loadings are turned onto the
    sample's (orthogonal Procrustes) before their spread is taken. The interval is of the loading in that frame;
    that a mode is separate from its neighbour is told by ``fraction``, not by the loadings. In that frame 68% and 95%
    intervals over events cover 0.68-0.73 and 0.95-0.97 (``shiftlab validate statistics``).

    Args:
        covariance: (task, task), in one currency; eigenvalues below 0, of a debiased matrix, count as 0.
        replicas: (replica, task, task), of events, universes or both.
        number: Modes wanted; fewer come back where the covariance has fewer above 0.
        half: Half the probability of the intervals.

    Raises:
        ConfigError: fewer than 1 mode wanted.
        DataError: no task moves, or there are fewer than 2 replicas.
    """
    if number < 1:
        raise ConfigError(f"modes = {number}; 1 or more are needed.")
    if len(replicas) < 2:
        raise DataError(f"{len(replicas)} replicas of the covariance; intervals of loadings need 2 or more.")
    values, loading = _loadings(covariance)
    above = int((values > 1e-12 * max(values[0], 0.0)).sum())
    if not above:
        raise DataError("no task moves beyond event noise, so there is no mode.")
    kept = min(number, above)
    loading = loading[:, :kept] * np.where(loading[:, :kept].sum(axis=0) < 0.0, -1.0, 1.0)
    turned = aligned(_loadings(replicas)[1][..., :kept], loading)
    low, high = interval(np.moveaxis(turned, 0, -1), half)
    positive = np.clip(values, 0.0, None)
    return Modes(positive[:kept], positive[:kept] / positive.sum(), loading, low, high)


def _loadings(matrices: Floats) -> tuple[Floats, Floats]:
    """Return eigenvalues (..., mode), descending, and eigenvectors times their roots (..., task, mode)."""
    values, vectors = np.linalg.eigh(matrices)
    values, vectors = values[..., ::-1], vectors[..., ::-1]
    return values, np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None))[..., None, :], dtype=np.float64)


def aligned(loadings: Floats, target: Floats) -> Floats:
    """Return loadings (..., task, mode) turned by the rotation (or reflection) of the modes that is nearest to target.

    Orthogonal Procrustes problem (Schoenemann 1966, Psychometrika 31, 1): with loadings^T target = U s V^T the
    rotation is U V^T.
    """
    left, _, right = np.linalg.svd(np.swapaxes(loadings, -1, -2) @ target)
    return np.asarray(loadings @ (left @ right), dtype=np.float64)


@dataclass(frozen=True)
class Shares:
    """What each mode's variance is made of.

    Attributes:
        nuisances: Names of the nuisances.
        share: (nuisance, mode), share of the mode's variance that the nuisance makes; a share over a finite
            sample, freed of chance, may be slightly below 0.
        rest: (mode,), what is left: interactions of nuisances, frozen maps, event noise.
    """

    nuisances: tuple[str, ...]
    share: Floats
    rest: Floats


def shares_of_parts(modes: Modes, parts: Sequence[Part], covariance: Floats | None = None) -> Shares:
    """Return the shares from one-nuisance universes: v^T S_k v over v^T S v for each mode v.

    Args:
        modes: The modes, in the currency of the parts.
        parts: Response to each nuisance; where they have replicas, their covariances are freed of event noise, as that
            of the modes is.
        covariance: (task, task), the covariance whose modes they are; the sum over the parts by default.
    """
    each = np.stack([_freed(part.covariance) for part in parts])
    along = np.einsum("am,kab,bm->km", modes.direction, each, modes.direction)
    whole = along.sum(axis=0)
    if covariance is not None:
        whole = np.einsum("am,ab,bm->m", modes.direction, covariance, modes.direction)
    share = along / whole
    return Shares(tuple(part.nuisance for part in parts), share, 1.0 - share.sum(axis=0))


def _freed(covariance: Floats) -> Floats:
    freed: Floats = covariance[0] if len(covariance) == 1 else 2.0 * covariance[0] - covariance[1:].mean(axis=0)
    return freed


def shares_of_regression(
    modes: Modes, displacement: Floats, value: Floats, nuisances: Sequence[str], *, even: bool = False
) -> Shares:
    """Return the shares from joint universes: each mode's score regressed on z, and on z^2 - 1 if ``even``.

    For standard-normal nuisances the terms are uncorrelated and have variances 1 and 2, so that a nuisance's
    share is (beta^2 + 2 gamma^2) / Var(score), with the squares freed of the fit's own errors.

    Args:
        modes: The modes, in the currency of the displacements.
        displacement: (universe, task), of the joint universes.
        value: (universe, nuisance), z, in sigma.
        nuisances: Their names.
        even: Fit the even terms too.

    Raises:
        DataError: too few universes for the number of terms (says how many are needed), a nuisance is never moved,
            or nuisances are moved together, so that they cannot be told apart.
    """
    terms = np.concatenate([value, value**2 - 1.0] if even else [value], axis=1)
    needed = terms.shape[1] + 1 + _SPARE
    if len(displacement) < needed:
        raise DataError(
            f"{len(displacement)} joint universes cannot tell {len(nuisances)} nuisances apart "
            f"({'linear and even' if even else 'linear'} terms): {needed} or more are needed."
        )
    unmoved = [name for name, column in zip(nuisances, value.T, strict=True) if not column.any()]
    if unmoved:
        raise DataError(f"no joint universe moves {', '.join(unmoved)}; leave it out of the regression.")
    matrix = np.concatenate([np.ones((len(terms), 1)), terms], axis=1)
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        raise DataError(
            f"the joint universes move some of {', '.join(nuisances)} together; their shares cannot be told apart."
        )
    score = displacement @ modes.direction
    fitted, *_ = np.linalg.lstsq(matrix, score, rcond=None)
    residual = score - matrix @ fitted
    spread = (residual**2).sum(axis=0) / (len(matrix) - matrix.shape[1])
    chance = np.diag(np.linalg.inv(matrix.T @ matrix))[1:, None] * spread
    square = fitted[1:] ** 2 - chance
    count = len(nuisances)
    made = square[:count] + (2.0 * square[count:] if even else 0.0)
    whole = made.sum(axis=0) + spread
    return Shares(tuple(nuisances), made / whole, spread / whole)


def mode_names(shares: Shares, most: int = 3, least: float = 0.1) -> tuple[str, ...]:
    """Return a name for each mode: its largest nuisances with their shares, say "lifetime 62%, gain 21%".

    Args:
        shares: What the modes are made of.
        most: Most nuisances in a name.
        least: Least share to be named; "mixed" where no nuisance reaches it.
    """
    names = []
    for column in shares.share.T:
        order = [k for k in np.argsort(-column, kind="stable")[:most] if column[k] >= least]
        names.append(", ".join(f"{shares.nuisances[k]} {column[k]:.0%}" for k in order) or "mixed")
    return tuple(names)
