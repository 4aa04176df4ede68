"""Responses to nuisances as weights of directly simulated universes: an emulated universe is a sum of displacements.

Every form of response used here is linear in the displacements of the universes that it is made from. With x = z / s,
odd z + even z^2 through +-s is (x^2 + x) / 2 times the displacement at +s plus (x^2 - x) / 2 times that at -s. So the
emulated universes are one matrix product: weights (universe, directly simulated universe) times displacements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError
from shiftlab.responses.emulation.points import Points
from shiftlab.responses.emulation.settings import EmulationSettings

__all__ = ["Curve", "curves", "pair_universes", "weights"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The universes that the response to one nuisance is made from.

    Attributes:
        nuisance: Number of the nuisance.
        strengths: Their displacements in sigma, ascending, the same for each throw.
        universes: By throw of the frozen maps, numbers of the universes in that order.
    """

    nuisance: int
    strengths: tuple[float, ...]
    universes: Mapping[int, tuple[int, ...]]

    def throw_of(self, name: str, throw: int) -> int:
        """Return which realisation of the maps stands for ``throw`` in a universe: itself where it is there.

        Others are drawn from those that are, the same for all universes of one throw (so both of an antithetic pair)
        and independently for each nuisance.
        """
        known = sorted(self.universes)
        if throw in self.universes:
            return throw
        return known[int.from_bytes(hashlib.sha256(f"{name}:{throw}".encode()).digest()[:8]) % len(known)]


def curves(points: Points, settings: EmulationSettings, recalibrate: str = "none") -> dict[int, Curve]:
    """Return the curve of each nuisance that has unisims at the anchors, by its number.

    With ``recalibrate`` other than "none" a nuisance without such universes falls back on its plain ones, as the paired
    bias does: recalibrating does not touch it, or it was not asked for.

    Raises:
        DataError: throws of one nuisance were run at different strengths.
    """
    found: dict[tuple[int, str], dict[int, dict[float, int]]] = {}
    for universe in range(len(points)):
        moved = np.flatnonzero(points.value[universe])
        if points.group[universe] != "unisim" or len(moved) != 1:
            continue
        strength = float(points.value[universe, moved[0]])
        if abs(strength) in settings.strengths:
            throws = found.setdefault((int(moved[0]), points.recalibrate[universe]), {})
            throws.setdefault(points.throw[universe], {})[strength] = universe
    curves_of = {}
    for nuisance, name in enumerate(points.nuisances):
        throws = found.get((nuisance, recalibrate)) or found.get((nuisance, "none"), {})
        if throws:
            curves_of[nuisance] = _curve(nuisance, name, throws)
    return curves_of


def _curve(nuisance: int, name: str, throws: Mapping[int, Mapping[float, int]]) -> Curve:
    strengths = {throw: tuple(sorted(sides)) for throw, sides in throws.items()}
    first = next(iter(strengths.values()))
    for throw, own in strengths.items():
        if own != first:
            raise DataError(
                f"nuisance '{name}': throw {throw} was run at {list(own)} sigma, another one at {list(first)}; run all "
                "throws at the same strengths."
            )
    return Curve(nuisance, first, {throw: tuple(sides[s] for s in first) for throw, sides in throws.items()})


def weights(points: Points, asked: Points, settings: EmulationSettings) -> Floats:
    """Return float64 (asked universe, universe): by how much each displacement enters each emulated universe.

    Raises:
        DataError: a universe displaces a nuisance that was not run at the anchors.
    """
    total = np.zeros((len(asked), len(points)))
    for recalibrate in sorted(set(asked.recalibrate)):
        rows = [i for i, word in enumerate(asked.recalibrate) if word == recalibrate]
        here = asked.take(rows)
        every = curves(points, settings, recalibrate)
        total[rows] = _single(points, here, every, settings)
        if settings.pairs:
            total[rows] += _pairs(points, here, every, settings, recalibrate)
    return total


def _single(points: Points, asked: Points, every: Mapping[int, Curve], settings: EmulationSettings) -> Floats:
    total = np.zeros((len(asked), len(points)))
    for nuisance, name in enumerate(points.nuisances):
        moved = np.flatnonzero(asked.value[:, nuisance])
        if len(moved) == 0:
            continue
        if nuisance not in every:
            raise DataError(
                f"universe '{asked.names[moved[0]]}' displaces '{name}', which has no one-nuisance universe at "
                f"{' or '.join(f'{one:g}' for one in settings.strengths)} sigma in these responses."
            )
        curve = every[nuisance]
        one_sided = bool(points.one_sided[nuisance])
        shares = _form(asked.value[moved, nuisance], curve.strengths, settings, one_sided)
        for row, share in zip(moved, shares, strict=True):
            total[row, list(curve.universes[curve.throw_of(name, asked.throw[row])])] += share
    return total


def _form(z: Floats, strengths: Sequence[float], settings: EmulationSettings, one_sided: bool) -> Floats:
    """Return (universe, strength): the weights of the displacements at ``strengths`` for displacements ``z``.

    Where one side was not run it is the mirror image of the other, with the opposite sign; a one-sided nuisance has
    sizes only and no mirror image.
    """
    sides = {strength > 0 for strength in strengths}
    if len(sides) == 1 and not one_sided:
        forward = 1.0 if strengths[0] > 0 else -1.0
        sign = np.sign(z) * forward
        return sign[:, None] * _through(np.abs(z) * forward, strengths)
    if len(sides) == 2 and settings.form == "quadratic":
        x = z / strengths[1]
        return np.stack([(x * x - x) / 2.0, (x * x + x) / 2.0], axis=1)
    return _through(z, strengths)


def _through(z: Floats, strengths: Sequence[float]) -> Floats:
    """Return (universe, strength): weights of linear interpolation through 0 and the strengths, drawn on beyond."""
    knots = np.sort(np.array([0.0, *strengths]))
    left = np.clip(np.searchsorted(knots, z) - 1, 0, len(knots) - 2)
    right_share = (z - knots[left]) / (knots[left + 1] - knots[left])
    found = np.zeros((len(z), len(knots)))
    rows = np.arange(len(z))
    found[rows, left] = 1.0 - right_share
    found[rows, left + 1] = right_share
    return np.delete(found, int(np.searchsorted(knots, 0.0)), axis=1)


def pair_universes(points: Points, recalibrate: str = "none") -> dict[tuple[int, int], tuple[int, ...]]:
    """Return the universes that displace two nuisances on purpose (no draws of a prior), by the numbers of these."""
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    for universe in range(len(points)):
        moved = np.flatnonzero(points.value[universe])
        drawn = points.group[universe] in ("multisim", "control")
        if len(moved) == 2 and not drawn and points.recalibrate[universe] == recalibrate:
            key = int(moved[0]), int(moved[1])
            found[key] = (*found.get(key, ()), universe)
    return found


def _pairs(
    points: Points, asked: Points, every: Mapping[int, Curve], settings: EmulationSettings, recalibrate: str
) -> Floats:
    """Return weights of the terms z_j z_k: what pairs show beyond the sum of their two nuisances, mean over corners."""
    total = np.zeros((len(asked), len(points)))
    for (j, k), universes in pair_universes(points, recalibrate).items():
        if j not in every or k not in every:
            continue
        rows = list(universes)
        beyond = -_single(points, points.take(rows), every, settings)
        beyond[np.arange(len(rows)), rows] += 1.0
        per_product = (beyond / (points.value[rows, j] * points.value[rows, k])[:, None]).mean(axis=0)
        total += (asked.value[:, j] * asked.value[:, k])[:, None] * per_product
    return total
