"""The two sides of a variation: mirrored, averaged, or taken apart into an odd and an even nuisance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["EVEN_FACTOR", "SIDES", "Sides", "even_part", "odd_even", "same_side", "symmetrise"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIDES: Final[dict[str, Floats]] = {
    "keep": np.eye(2),
    "two_sided": 0.5 * np.array([[1.0, -1.0], [-1.0, 1.0]]),
    "mirror": np.array([[1.0, 0.0], [-1.0, 0.0]]),
    "half_gaussian": np.array([[1.0, 0.0], [1.0, 0.0]]),
    "odd": 0.5 * np.array([[1.0, -1.0], [-1.0, 1.0]]),
    "even": 0.5 * np.array([[1.0, 1.0], [-1.0, -1.0]]),
}
"""New (up, down) shifts as combinations of the old ones; the covariance follows as M C M^T."""

EVEN_FACTOR: Final = {"linear": 1.0, "quadratic": float(np.sqrt(3.0))}
"""Factor of the even part Q, so that a unit normal nuisance has its second moment about the nominal.

With z ~ N(0, 1), E[z^2] = 1 for a response Q |z| and E[z^4] = 3 for Q z^2 (rabbit's ``linear`` and ``quadratic``)."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Both templates of one variation of one sample in one channel.

    Attributes:
        up: (bin,) at +1 sigma.
        down: (bin,) at -1 sigma.
        covariance: (side, bin, side, bin) paired covariance of the shifts.
        cut: expected events that were added where a side would be negative.
    """

    up: Floats
    down: Floats
    covariance: Floats
    cut: float = 0.0


def symmetrise(
    nominal: Floats, up: Floats, down: Floats, covariance: Floats, how: str, *, factor: float = 1.0
) -> Sides:
    """Combine the sides of a variation.

    ``two_sided`` and ``odd``: R = (up - down) / 2 on both sides; ``mirror``: the shift of ``up``, reversed, which
    stands for no detector that was simulated, so that whoever asks for it flags it; ``half_gaussian``: the shift of
    ``up`` for both signs; ``even``: Q = (up + down) / 2 - nominal as a shift of either sign. A template that would be
    negative is cut at zero, and how much is returned.

    Args:
        nominal: (bin,) expected events.
        up: (bin,) at +1 sigma.
        down: (bin,) at -1 sigma.
        covariance: (side, bin, side, bin) paired covariance of (up - nominal, down - nominal).
        how: a name in ``SIDES``.
        factor: multiplies the shifts.
    """
    matrix = factor * SIDES[how]
    wanted = nominal + matrix @ np.stack([up - nominal, down - nominal])
    found = np.maximum(wanted, np.minimum(nominal, 0.0)) if how != "keep" else np.stack([up, down])
    moved = np.einsum("pq,qbrc,sr->pbsc", matrix, covariance, matrix)
    cut = 0.0 if how == "keep" else float((found - wanted).sum())
    return Sides(found[0], found[1], moved, cut)


def even_part(nominal: Floats, up: Floats, down: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return Q = (up + down) / 2 - nominal, (bin,), and its paired covariance, (bin, bin)."""
    half = np.array([0.5, 0.5])
    return 0.5 * (up + down) - nominal, np.einsum("p,pbqc,q->bc", half, covariance, half)


def same_side(nominal: Floats, up: Floats, down: Floats, covariance: Floats) -> Bools:
    """Bool (bin,): both shifts have one sign and exceed their paired errors (TRExFitter's ``CheckSameShift``)."""
    above, below = up - nominal, down - nominal
    variance = np.einsum("pbpb->pb", covariance)
    return np.asarray((above**2 > variance[0]) & (below**2 > variance[1]) & (above * below > 0.0))


def odd_even(
    nominal: Floats, up: Floats, down: Floats, covariance: Floats, response: str = "linear"
) -> tuple[Sides, Sides]:
    """Take a variation apart into two nuisances, nominal +- R and nominal +- f Q (SymAvg and SymDiff).

    Up is nominal + R + Q and down is nominal - R + Q. The odd nuisance is the linear response; the even one keeps the
    size of what the sides have in common, and leaves its sign to the fit. f is ``EVEN_FACTOR[response]``.
    """
    odd = symmetrise(nominal, up, down, covariance, "odd")
    return odd, symmetrise(nominal, up, down, covariance, "even", factor=EVEN_FACTOR[response])
