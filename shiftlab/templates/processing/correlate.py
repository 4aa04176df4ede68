"""Correlation of one nuisance between channels or samples: shared, independent, or partly, by rotation theta = L z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, UnknownNameError
from shiftlab.templates.processing.settings import Correlation

__all__ = ["Rotation", "equal_correlation", "rotate", "rotation"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rotation:
    """Independent nuisances z that stand for the correlated ones, theta = L z.

    Attributes:
        over: ``channel`` or ``sample``: what theta has one of each of.
        suffixes: what is appended to the nuisance's name for each z.
        loadings: (theta, z), L; L L^T is the correlation of theta.
    """

    over: str
    suffixes: tuple[str, ...]
    loadings: Floats


def equal_correlation(number: int, rho: float) -> Floats:
    """Return L (n, n) with L L^T = rho in every pair and 1 on the diagonal, by its eigenvectors.

    The first is common to all, with eigenvalue 1 + (n - 1) rho; the others, eigenvalue 1 - rho, are Helmert contrasts
    (each compares one with the mean of those before).

    Raises:
        ConfigError: no such correlation exists.
    """
    common = 1.0 + (number - 1) * rho
    if common < -1e-12 or rho > 1.0:
        raise ConfigError(f"templates.processing.correlate: {number} cannot have correlation {rho} in every pair.")
    vectors = np.zeros((number, number))
    vectors[:, 0] = number**-0.5
    for j in range(1, number):
        vectors[:j, j], vectors[j, j] = -1.0, j
        vectors[:, j] /= np.sqrt(j * (j + 1.0))
    values = np.array([max(common, 0.0)] + [1.0 - rho] * (number - 1))
    return np.asarray(vectors * np.sqrt(values))


def rotation(how: Correlation, channels: Sequence[str], samples: Sequence[str]) -> Rotation:
    """Return the rotation of a scheme; nuisances of no variance are left out.

    Raises:
        ConfigError: a correlation that does not exist, or a channel (sample) that is in no group or in two.
        UnknownNameError: a group holds a channel (sample) that does not exist.
    """
    over = {"per_channel": "channel", "per_sample": "sample"}.get(how.scheme, how.over)
    names = list(channels if over == "channel" else samples)
    if how.scheme == "shared":
        return Rotation(over, ("",), np.ones((len(names), 1)))
    if how.scheme in ("per_channel", "per_sample"):
        return Rotation(over, tuple(f"__{name}" for name in names), np.eye(len(names)))
    if how.scheme == "group":
        return Rotation(over, tuple(f"__{name}" for name in how.groups), _groups(how, names))
    loadings = equal_correlation(len(names), how.rho)
    kept = (loadings != 0.0).any(axis=0)
    return Rotation(over, tuple(f"__z{j}" for j in np.flatnonzero(kept)), loadings[:, kept])


def _groups(how: Correlation, names: Sequence[str]) -> Floats:
    key = "templates.processing.correlate.*.groups"
    for members in how.groups.values():
        for name in members:
            if name not in names:
                raise UnknownNameError(f"{how.over} ({key})", name, names)
    inside = np.array([[name in members for members in how.groups.values()] for name in names], dtype=np.float64)
    for name, row in zip(names, inside.reshape(len(names), -1), strict=True):
        if row.sum() != 1.0:
            raise ConfigError(f"{key}: {how.over} '{name}' is in {row.sum():.0f} groups; it must be in one.")
    return inside


def rotate(nominal: Floats, up: Floats, down: Floats, loadings: Floats) -> tuple[Floats, Floats]:
    """Return (z, …) up and down of one block whose nuisance is theta = sum_z loading_z z.

    The shift of z at +1 is |L| times that of the side that L z has, so that sides that differ stay apart.

    Args:
        nominal: (…) expected events of the block.
        up: the same at +1 sigma of theta.
        down: the same at -1 sigma.
        loadings: (z,), row of L of this block.
    """
    size = np.abs(loadings).reshape(-1, *[1] * nominal.ndim)
    forward = (loadings >= 0.0).reshape(size.shape)
    above = nominal + size * np.where(forward, up - nominal, down - nominal)
    below = nominal + size * np.where(forward, down - nominal, up - nominal)
    return above, below
