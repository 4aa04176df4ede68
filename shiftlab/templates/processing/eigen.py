"""A covariance, or many universes, as a few nuisances that all channels share, and what they leave per bin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.bias.covariance import second_moments
from shiftlab.errors import DataError
from shiftlab.templates.processing.prune import sigma_of_signal

__all__ = ["EigenNuisances", "eigen_nuisances", "universe_covariance"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EigenNuisances:
    """C = J J^T + residual, over all samples and bins of all channels.

    Attributes:
        shifts: (nuisance, sample, bin), the columns of J: one sigma of each nuisance, largest variance first.
        residual: (sample, bin) diagonal of C - J J^T, an uncertainty per bin that is kept.
        matrix: (sample * bin, sample * bin), C - J J^T whole.
        variance_kept: tr(J J^T) / tr(C).
        sigma: of mu with C.
        sigma_shared: of mu with J alone.
        sigma_kept: of mu with J and the residual per bin.
    """

    shifts: Floats
    residual: Floats
    matrix: Floats
    variance_kept: float
    sigma: float
    sigma_shared: float
    sigma_kept: float

    def templates(self, nominal: Floats) -> tuple[Floats, Floats]:
        """Return up and down, (nuisance, sample, bin) = nominal +- shift in every channel."""
        return nominal + self.shifts, nominal - self.shifts


def universe_covariance(nominal: Floats, universes: Floats, centre: str = "nominal") -> Floats:
    """Return the (sample * bin, sample * bin) second moment of templates (universe, sample, bin).

    About the ``nominal`` (which holds one-directional shifts), or the covariance about the universes' ``mean``, which
    hides them.
    """
    about_nominal, about_mean = second_moments((universes - nominal).reshape(len(universes), -1))
    return np.asarray(about_nominal if centre == "nominal" else about_mean)


def eigen_nuisances(
    covariance: Floats, nominal: Floats, signal: int, variance: Floats, *, tolerance: float = 1e-3
) -> EigenNuisances:
    """Return the fewest leading eigenvectors of C without whose rest sigma of mu changes by less than ``tolerance``.

    C = sum_m l_m v_m v_m^T; nuisance m moves every channel by sqrt(l_m) v_m, which keeps the correlation between
    channels. Sigmas are those of the linear fit with variance lambda + Monte Carlo.

    Args:
        covariance: (sample * bin, sample * bin), symmetric and positive semi-definite.
        nominal: (sample, bin) expected events.
        signal: number of the sample that mu scales.
        variance: (sample, bin) Monte Carlo variance of the nominal.
        tolerance: relative change of sigma of mu.

    Raises:
        DataError: the matrix has another shape, or is not symmetric and positive semi-definite.
    """
    size = nominal.size
    if covariance.shape != (size, size):
        raise DataError(f"a covariance of shape {covariance.shape} is given; {size} samples times bins are wanted.")
    values, vectors = np.linalg.eigh(covariance)
    scale = max(float(values[-1]), np.finfo(np.float64).tiny)
    if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=1e-12 * scale) or values[0] < -1e-9 * scale:
        raise DataError(f"a covariance with smallest eigenvalue {values[0]:.3g} is given; none may be negative.")
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    vectors = vectors * np.where(vectors.sum(axis=0) < 0.0, -1.0, 1.0)
    columns = (np.sqrt(values) * vectors).T.reshape(size, *nominal.shape)
    rate = (nominal + variance).sum(axis=0)

    def sigma(count: int, extra: Floats | float = 0.0) -> float:
        return sigma_of_signal(nominal[signal], columns[:count].sum(axis=1), rate + extra)

    whole = sigma(size)
    count = next(m for m in range(size + 1) if m == size or abs(sigma(m) / whole - 1.0) < tolerance)
    matrix = covariance - np.tensordot(columns[:count], columns[:count], axes=(0, 0)).reshape(size, size)
    residual = np.maximum(np.diag(matrix), 0.0).reshape(nominal.shape)
    kept = float(values[:count].sum() / values.sum()) if values.sum() > 0.0 else 1.0
    return EigenNuisances(
        columns[:count], residual, matrix, kept, whole, sigma(count), sigma(count, residual.sum(axis=0))
    )
