"""Smoothing of a variation with its own covariance: penalised least squares, the penalty by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.templates.processing.significance import Significance, full_inverse, pseudo_inverse

__all__ = ["Smoothed", "penalised", "smooth", "smoothing_matrix"]

Floats = npt.NDArray[np.float64]

_PENALTIES: Final = np.logspace(-8.0, 8.0, 65)
"""Penalties that are tried, in units of the mean weight: from no smoothing to a straight line."""


@dataclass(frozen=True, eq=False)
class Smoothed:
    """One side of a variation after smoothing.

    Attributes:
        delta: (bin,) smoothed shift.
        matrix: (bin, bin) that takes the raw shift to the smoothed one, and covariances with it; None where the
            method is not linear.
        done: method, or why nothing was done.
        numbers: ``chi2`` of smooth - raw with ``ndf`` = bins - effective parameters; ``effective_parameters``, the
            trace of the matrix; ``penalty``; ``information_raw`` and ``information_smooth``, sum Delta^2 / nominal.
    """

    delta: Floats
    matrix: Floats | None
    done: str
    numbers: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Modes:
    """Directions V in which weight and penalty are both diagonal: V^T W V = share, V^T D^T D V = (1 - share) / scale.

    Attributes:
        forward: (bin, mode), V.
        back: (mode, bin), its inverse on the range.
        share: (mode,) d; 1 where only the weight acts, 0 where only the penalty does.
        scale: penalty at which weight and penalty count alike.
    """

    forward: Floats
    back: Floats
    share: Floats
    scale: float

    def kept(self, penalty: Floats) -> Floats:
        """Return (…, mode): the part of each mode that is left; ``penalty`` is (…, 1), and not 0."""
        strength = penalty / self.scale
        return np.asarray(self.share / (self.share + strength * (1.0 - self.share)))


def _modes(weight: Floats) -> _Modes:
    bins = len(weight)
    difference = np.diff(np.eye(bins), n=2, axis=0)
    scale = float(np.trace(weight)) / bins
    both = weight + scale * (difference.T @ difference)
    values, vectors = np.linalg.eigh(both)
    seen = values > 1e-12 * values.max()
    root = vectors[:, seen] / np.sqrt(values[seen])
    share, turn = np.linalg.eigh(root.T @ weight @ root)
    forward = root @ turn
    return _Modes(forward, forward.T @ both, np.clip(share, 0.0, 1.0), scale)


def smoothing_matrix(weight: Floats, penalty: float) -> Floats:
    """Return H (bin, bin) = (W + penalty D^T D)^-1 W, D the second differences of neighbouring bins; penalty > 0."""
    modes = _modes(weight)
    return np.asarray((modes.forward * modes.kept(np.array([penalty]))) @ modes.back)


def penalised(nominal: Floats, delta: Floats, covariance: Floats) -> Smoothed:
    """Smooth y = Delta / nominal by minimising (y - f)^T W (y - f) + penalty sum (second differences of f)^2.

    W is the inverse of Cov(y). Directions in which no event moved have no variance of their own; they count as known as
    well as the best known one, so that a bin that nothing entered or left is not moved by its neighbours alone. The
    penalty minimises generalised cross-validation, n (y - f)^T W (y - f) / (n - tr H)^2 (Craven and Wahba 1979).
    Bins count as equally spaced. Cross-validation of few bins follows the noise at times: of straight lines with
    correlated noise 22% with 6 bins, and 8% with 12, kept nine tenths of their parameters (300 draws each).

    Args:
        nominal: (bin,) expected events, positive; at least three bins.
        delta: (bin,) shift.
        covariance: (bin, bin) paired covariance of ``delta``.
    """
    relative, bins = delta / nominal, len(nominal)
    if not covariance.any():
        return Smoothed(delta.copy(), np.eye(bins), "no covariance: not smoothed", {})
    weight = nominal[:, None] * full_inverse(covariance) * nominal
    modes = _modes(weight)
    kept = modes.kept(_PENALTIES[:, None] * modes.scale)
    missed = ((1.0 - kept) * (modes.back @ relative)) ** 2 @ modes.share
    free = bins - kept.sum(axis=1)
    score = np.divide(missed, free**2, out=np.full_like(free, np.inf), where=free > 1e-6 * bins)
    best = int(score.argmin())
    penalty = float(_PENALTIES[best] * modes.scale)
    matrix = (modes.forward * kept[best]) @ modes.back
    fitted = matrix @ relative
    effective, rest = float(np.trace(matrix)), relative - fitted
    numbers = {
        "chi2": float(rest @ weight @ rest),
        "ndf": bins - effective,
        "effective_parameters": effective,
        "penalty": penalty,
        **_information(nominal, delta, nominal * fitted),
    }
    return Smoothed(nominal * fitted, nominal[:, None] * matrix / nominal, "penalised", numbers)


def _information(nominal: Floats, raw: Floats, smoothed: Floats) -> dict[str, float]:
    """Return the Fisher information of both shifts on their nuisance, sum Delta^2 / nominal."""
    return {
        "information_raw": float((raw**2 / nominal).sum()),
        "information_smooth": float((smoothed**2 / nominal).sum()),
    }


def smooth(
    nominal: Floats, delta: Floats, covariance: Floats, tested: Significance, p_value: float, how: str
) -> Smoothed:
    """Smooth one side of a variation, if it is significant.

    Noise that is smoothed looks like an effect, so the test comes first: what is not significant stays as it is, as do
    fewer than three bins and samples with an empty bin.

    Args:
        nominal: (bin,) expected events.
        delta: (bin,) shift.
        covariance: (bin, bin) paired covariance of ``delta``.
        tested: the test of this variation.
        p_value: largest probability that counts as significant.
        how: ``penalised`` or ``353qh``.
    """
    from shiftlab.templates.processing.tukey import smooth_ratio

    kept = None
    if len(nominal) < 3:
        kept = "fewer than three bins: not smoothed"
    elif (nominal <= 0.0).any():
        kept = "an empty bin: not smoothed"
    elif tested.p_value > p_value:
        kept = "not significant: not smoothed"
    if kept:
        return Smoothed(delta.copy(), np.eye(len(nominal)), kept, {})
    if how == "penalised":
        return penalised(nominal, delta, covariance)
    found = smooth_ratio(nominal, nominal + delta) - nominal
    inverse, rank = pseudo_inverse(covariance)
    rest = found - delta
    numbers = {"chi2": float(rest @ inverse @ rest), "ndf": float(rank), **_information(nominal, delta, found)}
    return Smoothed(found, None, "353QH twice", numbers)
