"""Spectra and angles of composed particles as inverse cumulative distributions of uniform numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

__all__ = ["MASS", "Lepton", "Spectrum", "choose", "cosine", "directions", "leptonic", "truncated_gamma"]

Array = NDArray[np.float64]

MASS = {
    11: 0.51099895,
    13: 105.6583755,
    22: 0.0,
    111: 134.9768,
    211: 139.57039,
    321: 493.677,
    2112: 939.5654205,
    2212: 938.2720882,
}
"""Masses by absolute PDG code, MeV (Particle Data Group 2022)."""

_NUCLEON = 0.5 * (MASS[2112] + MASS[2212])


@dataclass(frozen=True)
class Spectrum:
    """Kinetic energy of one sort of particle and its angle to the beam.

    Attributes:
        mean: mean of the gamma distribution before truncation, MeV.
        shape: shape parameter of the gamma distribution, 1 for an exponential.
        low: lowest kinetic energy, MeV; the gamma distribution starts here.
        high: highest kinetic energy, MeV.
        slope: k in exp(k cos(angle to the beam)), 0 where isotropic.
    """

    mean: float
    shape: float
    low: float
    high: float
    slope: float

    def kinetic(self, uniform: Array) -> Array:
        """Return kinetic energies, MeV, of the shape of ``uniform``."""
        return self.low + truncated_gamma(uniform, self.mean - self.low, self.shape, 0.0, self.high - self.low)


@dataclass(frozen=True)
class Lepton:
    """The leptonic side of every event, the same for every class.

    Attributes:
        mean: mean of the gamma distribution of the beam energy that enters the leptonic side, MeV.
        shape: its shape parameter.
        low: its lowest value, MeV.
        high: its highest value, MeV.
        dipole: mass M_A in the density (1 + Q2/M_A^2)^-4 of the squared momentum transfer, MeV.
    """

    mean: float
    shape: float
    low: float
    high: float
    dipole: float


def truncated_gamma(uniform: Array, mean: float, shape: float, low: float, high: float) -> Array:
    """Return the quantiles at ``uniform`` of a gamma distribution of this mean and shape, cut to [low, high]."""
    rate = shape / mean
    bottom, top = gammainc(shape, low * rate), gammainc(shape, high * rate)
    # The last step of the inverse can leave the interval by a rounding error.
    quantile = gammaincinv(shape, bottom + uniform * (top - bottom)) / rate
    return np.asarray(np.clip(quantile, low, high), dtype=np.float64)


def cosine(uniform: Array, slope: float) -> Array:
    """Return cosines in [-1, 1] with density proportional to exp(slope * cosine)."""
    if slope == 0.0:
        return 2.0 * uniform - 1.0
    cosines = 1.0 + np.log(uniform + (1.0 - uniform) * np.exp(-2.0 * slope)) / slope
    return np.asarray(np.clip(cosines, -1.0, 1.0), dtype=np.float64)


def directions(cosines: Array, uniform: Array) -> Array:
    """Return float64 (..., 3): unit vectors at these cosines to z, azimuth 2 pi times ``uniform``."""
    sine = np.sqrt(np.maximum(0.0, 1.0 - cosines**2))
    azimuth = 2.0 * np.pi * uniform
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosines], axis=-1)


def choose(uniform: Array, probabilities: tuple[float, ...]) -> NDArray[np.int64]:
    """Return int64: the index that each uniform number falls on."""
    edges = np.cumsum(probabilities)[:-1] / np.sum(probabilities)
    return np.searchsorted(edges, uniform, side="right").astype(np.int64)


def leptonic(uniform: Array, lepton: Lepton) -> tuple[Array, Array, Array]:
    """Return what the beam gives to the outgoing lepton and to the nucleus.

    Elastic two-body kinematics on a free nucleon at rest, the outgoing lepton with the muon's mass whatever
    it becomes later, so that energy, angle and momentum transfer are distributed alike for every flavour and
    current. Q2 follows (1 + Q2/M_A^2)^-4 between its kinematic limits.

    Args:
        uniform: float64 (event, 3).
        lepton: The spectrum.

    Returns:
        Total energy of the outgoing lepton, MeV (event,); its direction (event, 3); momentum transfer (event, 3), MeV.
    """
    energy = truncated_gamma(uniform[:, 0], lepton.mean, lepton.shape, lepton.low, lepton.high)
    low, high = _limits(energy)
    total, mass = lepton.dipole**2, MASS[13]
    bottom, top = (1.0 + low / total) ** -3, (1.0 + high / total) ** -3
    q2 = total * ((bottom + uniform[:, 1] * (top - bottom)) ** (-1.0 / 3.0) - 1.0)
    out = energy - q2 / (2.0 * _NUCLEON)
    momentum = np.sqrt(out**2 - mass**2)
    cosines = np.clip((2.0 * energy * out - mass**2 - q2) / (2.0 * energy * momentum), -1.0, 1.0)
    direction = directions(cosines, uniform[:, 2])
    transfer = -momentum[:, None] * direction
    transfer[:, 2] += energy
    return out, direction, transfer


def _limits(energy: Array) -> tuple[Any, Any]:
    """Return the smallest and the largest Q2, MeV^2, that a muon can have."""
    mass, nucleon = MASS[13], _NUCLEON
    s = nucleon**2 + 2.0 * nucleon * energy
    beam = (s - nucleon**2) / (2.0 * np.sqrt(s))
    out = (s + mass**2 - nucleon**2) / (2.0 * np.sqrt(s))
    momentum = np.sqrt(out**2 - mass**2)
    return 2.0 * beam * (out - momentum) - mass**2, 2.0 * beam * (out + momentum) - mass**2
