"""Systematic covariance of the biases of several tasks from one-nuisance universes, freed of event noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from shiftlab.bias.design import Term
from shiftlab.bias.statistic import Floats

__all__ = [
    *("RELIABLE", "Key", "Part", "Systematic"),
    *("correlation", "nearest_psd", "odd_even", "second_moments", "systematic"),
]

Key: TypeAlias = tuple[str, int, str]
"""Arm, seed and recalibration."""

RELIABLE: Final = 0.5
"""Least share of the raw variance that must survive debiasing for a correlation to be quoted (convention)."""


@dataclass(frozen=True)
class Part:
    """Response of the tasks to one nuisance; replica 0 is the sample itself.

    Attributes:
        nuisance: Name of the nuisance.
        odd: (1 + replica, throw, task), (b+ - b-) / 2.
        even: (1 + replica, throw, task), (b+ + b-) / 2; zero where one side was mirrored.
        mirrored: One side stands for both.
        one_sided: Nature allows one side only (a fraction of dead channels that was nominally none): the response is
            ``odd`` times |z|, z a standard normal.
    """

    nuisance: str
    odd: Floats
    even: Floats
    mirrored: bool
    one_sided: bool = False

    @property
    def throws(self) -> int:
        """Number of throws of the frozen map."""
        return int(self.odd.shape[1])

    @property
    def rows(self) -> Floats:
        """(1 + replica, row, task): rows x whose sum of x x^T is ``covariance``.

        Of each of T throws sqrt(1 / T) r and sqrt(2 / T) q (one-sided sqrt((1 - 2 / pi) / T) d); and with two throws or
        more the deviation of its mean response from that of all throws, over sqrt(T - 1).
        """
        if self.one_sided:
            rows = [np.sqrt((1.0 - 2.0 / np.pi) / self.throws) * self.odd]
        else:
            rows = [self.odd / np.sqrt(self.throws), np.sqrt(2.0 / self.throws) * self.even]
        if self.throws > 1:
            each = self._mean_by_throw
            rows.append((each - each.mean(axis=1, keepdims=True)) / np.sqrt(self.throws - 1))
        return np.concatenate(rows, axis=1)

    @property
    def covariance(self) -> Floats:
        """(1 + replica, task, task): covariance of the response over the nuisance's size and, if it is one, its map.

        In one map b = r z + q z^2 with z normal has the mean q and the covariance r r^T + 2 q q^T about it. Where the
        map is unknown, the law of total variance adds the covariance over maps of that mean:

            Cov(b) = E_map[r r^T + 2 q q^T] + Cov_map(q).

        Throws of one frozen map are draws of the same unknown map, so the first term is their average and not their
        sum, and the second their covariance with 1 / (T - 1). A one-sided response b = d |z| has the mean
        sqrt(2 / pi) d and the covariance (1 - 2 / pi) d d^T = 0.363 d d^T about it, so that the two terms are
        E_map[0.363 d d^T] and (2 / pi) Cov_map(d). ``maps.map_covariance`` splits the same total into mean response and
        maps. One throw tells nothing of other maps: the second term is then missing.
        """
        return np.asarray(np.swapaxes(self.rows, -1, -2) @ self.rows, dtype=np.float64)

    @property
    def mean(self) -> Floats:
        """(1 + replica, task): the mean response, q (of z^2) or, one-sided, d sqrt(2 / pi); averaged over throws."""
        return np.asarray(self._mean_by_throw.mean(axis=1), dtype=np.float64)

    @property
    def mean_covariance(self) -> Floats:
        """(1 + replica, task, task): covariance of ``mean`` over the choice of the throws; zero for one throw."""
        if self.throws == 1:
            return np.zeros((len(self.odd), self.odd.shape[2], self.odd.shape[2]))
        deviation = self._mean_by_throw - self.mean[:, None]
        square = np.swapaxes(deviation, -1, -2) @ deviation
        return np.asarray(square / (self.throws * (self.throws - 1)), dtype=np.float64)

    @property
    def _mean_by_throw(self) -> Floats:
        return np.asarray(np.sqrt(2.0 / np.pi) * self.odd if self.one_sided else self.even, dtype=np.float64)


def odd_even(displacement: Floats, terms: Sequence[Term]) -> tuple[Part, ...]:
    """Split every universe pair's displacement into its odd and even part.

    Args:
        displacement: (1 + replica, universe, task).
        terms: The one-sigma universes of each nuisance.
    """
    parts = []
    for term in terms:
        sides = [_pair(displacement, up, down) for up, down in zip(term.plus, term.minus, strict=True)]
        odd = np.stack([(up - down) / 2.0 for up, down in sides], axis=1)
        even = np.stack([(up + down) / 2.0 for up, down in sides], axis=1)
        parts.append(Part(term.nuisance, odd, even, term.mirrored, term.one_sided))
    return tuple(parts)


def _pair(displacement: Floats, up: int, down: int) -> tuple[Floats, Floats]:
    plus = displacement[:, up] if up >= 0 else -displacement[:, down]
    minus = displacement[:, down] if down >= 0 else -displacement[:, up]
    return plus, minus


@dataclass(frozen=True)
class Systematic:
    """Systematic covariance of the tasks of one arm and seed, in units of the data's errors.

    Attributes:
        raw: (task, task), sum over nuisances, event noise included.
        debiased: (task, task), 2 raw - mean of the replicas' raw; not yet positive semi-definite.
        replicas: (replica, task, task), the replicas' covariances, twice freed of event noise
            (once for the sample's, once for the replica's), so that their mean is ``debiased``.
    """

    raw: Floats
    debiased: Floats
    replicas: Floats

    @property
    def reliability(self) -> Floats:
        """(task,): the share of the raw variance that is not event noise; 0 where nothing moves."""
        raw, debiased = np.diag(self.raw), np.diag(self.debiased)
        return np.divide(debiased, raw, out=np.zeros_like(raw), where=raw > 0.0)

    @property
    def reliable(self) -> npt.NDArray[np.bool_]:
        """Bool (task,): tasks whose correlations may be quoted."""
        return self.reliability >= RELIABLE

    @property
    def upper(self) -> Floats:
        """(task,): the systematic size of each task is below this at 95%, in units of the data's error.

        Root of the replicas' 95th percentile. Of 4,000 limits for a size between none and five errors of a response
        0.95 to 1 cover with nine nuisances, 0.93 to 1 with three and 0.88 to 1 with a single one.
        """
        variances = np.diagonal(self.replicas, axis1=1, axis2=2)
        return np.asarray(np.sqrt(np.clip(np.quantile(variances, 0.95, axis=0), 0.0, None)), dtype=np.float64)

    @property
    def covariance(self) -> Floats:
        """(task, task): ``debiased``, made positive semi-definite; its variances stay, and those below 0 are 0.

        To set negative eigenvalues to zero alone would add to the variances, 8% in one arm of a study whose other
        tasks were all noise; the correlations of the projected matrix have no such freedom.
        """
        root = np.sqrt(np.clip(np.diag(self.debiased), 0.0, None))
        rho = np.nan_to_num(correlation(nearest_psd(self.debiased, np.diag(self.raw))), nan=0.0)
        return np.asarray(rho * root[:, None] * root, dtype=np.float64)

    def rho(self) -> Floats:
        """Return the correlation of the tasks, (1 + replica, task, task), the estimate first; NaN where unreliable."""
        keep = np.flatnonzero(self.reliable)
        every = np.concatenate([self.debiased[None], self.replicas])
        rho = np.full(every.shape, np.nan)
        rows, columns = np.ix_(keep, keep)
        rho[:, rows, columns] = correlation(nearest_psd(every[:, rows, columns], np.diag(self.raw)[keep]))
        return rho


def systematic(total: Floats) -> Systematic:
    """Free covariances of the event noise that the tasks share (and that would fake correlation).

    The noise of a bias adds its covariance to every product of biases, and the bootstrap adds it
    once more, so 2 S - mean S(replica) is free of it.

    Args:
        total: (1 + replica, task, task), replica 0 the sample itself.
    """
    noise = total[1:].mean(axis=0) - total[0]
    return Systematic(raw=total[0], debiased=total[0] - noise, replicas=total[1:] - 2.0 * noise)


def nearest_psd(matrices: Floats, scale: Floats) -> Floats:
    """Set negative eigenvalues of symmetric matrices (..., task, task) to zero.

    Rows and columns are divided by sqrt(scale) (task,) first, so that the result does not depend
    on the tasks' units; where the scale is zero they become zero.
    """
    root = np.sqrt(np.clip(scale, 0.0, None))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0.0)
    values, vectors = np.linalg.eigh(matrices * inverse[:, None] * inverse)
    projected = (vectors * np.clip(values, 0.0, None)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return np.asarray(projected * root[:, None] * root, dtype=np.float64)


def correlation(covariance: Floats) -> Floats:
    """Return the correlations of positive semi-definite matrices; NaN where a variance is zero."""
    root = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    norm = root[..., :, None] * root[..., None, :]
    rho = np.divide(covariance, norm, out=np.full(covariance.shape, np.nan), where=norm > 0.0)
    clipped: Floats = np.clip(rho, -1.0, 1.0)
    return clipped


def second_moments(displacement: Floats) -> tuple[Floats, Floats]:
    """Return the second moment about nominal and the covariance about the mean, both over 1/U.

    1/U and not 1/(U - 1): the odd part of antithetic pairs has mean zero exactly, and MAT
    (MnvVertErrorBand) normalises so. Shifts to one side of nominal live in the difference.

    Args:
        displacement: (..., universe, task).
    """
    number = displacement.shape[-2]
    mean = displacement.mean(axis=-2)
    about_nominal = np.swapaxes(displacement, -1, -2) @ displacement / number
    return about_nominal, about_nominal - mean[..., :, None] * mean[..., None, :]
