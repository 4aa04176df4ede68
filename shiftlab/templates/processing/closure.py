"""Closure: do templates of one sigma predict what a universe at two sigma shows?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.templates.processing.significance import probability, pseudo_inverse

__all__ = ["Closure", "closure", "closure_covariance"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Closure:
    """Comparison of a prediction with an evaluated universe.

    Attributes:
        chi2: with the paired covariance of the difference, on its range.
        ndf: rank of that covariance.
        p_value: probability of a larger chi2 if the response is what the prediction assumes.
        largest: largest difference in a bin, relative to the nominal.
    """

    chi2: float
    ndf: int
    p_value: float
    largest: float


def closure_covariance(nominal: Floats, near: Floats, far: Floats, strength: float) -> Floats:
    """Return (bin, bin): paired covariance of far - nominal - |strength| (near - nominal).

    That is the difference of a universe at ``strength`` to the linear prediction from one sigma of its sign; all are
    (vertex, bin) histograms of the same events, so that most of them cancel.
    """
    rest = (far - nominal) - abs(strength) * (near - nominal)
    return np.asarray(rest.T @ rest)


def closure(nominal: Floats, predicted: Floats, evaluated: Floats, covariance: Floats) -> Closure:
    """Compare (bin,) ``predicted`` (say of ``extrapolate``) with ``evaluated``, given the covariance of the difference.

    Only what the covariance knows of is compared: where no event moved otherwise than twice as far, there is no error
    to compare a difference with (the norm's exponential differs from the straight line there, for one).
    """
    rest = evaluated - predicted
    inverse, ndf = pseudo_inverse(covariance)
    value = float(rest @ inverse @ rest)
    relative = np.divide(rest, nominal, out=np.zeros_like(rest), where=nominal > 0.0)
    return Closure(value, ndf, probability(value, ndf), float(np.abs(relative).max(initial=0.0)))
