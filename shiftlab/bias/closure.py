"""Closure: do joint universes move the tasks as the one-nuisance universes say that they should?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.bias.bootstrap import interval
from shiftlab.bias.covariance import Part, second_moments, systematic
from shiftlab.bias.design import Design
from shiftlab.bias.statistic import Floats

__all__ = ["Closure", "closure"]


@dataclass(frozen=True)
class Closure:
    """One measure of the distance between joint and one-nuisance universes, 0 = they agree.

    Attributes:
        measure: What is compared.
        value: Frobenius norm of the difference over the norm of the joint universes' matrix.
        low: Lower end of the 68% interval over events and blocks of joint universes.
        high: Upper end.
        expected_low: Lower end of the 68% band of ``value`` if nuisances added up exactly, for these
            joint universes, with event noise and unknown maps.
        expected_high: Upper end of that band.
    """

    measure: str
    value: float
    low: float
    high: float
    expected_low: float
    expected_high: float


def closure(
    displacement: Floats, parts: Sequence[Part], design: Design, blocks: Sequence[Sequence[int]], seed: int
) -> tuple[Closure, ...]:
    """Compare joint universes with the sum over nuisances of r z + q z^2.

    Three measures: the second moment about nominal against the sum of ``Part.covariance`` + m m^T with m the sum
    of the mean responses; the covariance about the mean against the sum of ``Part.covariance`` (both freed of event
    noise), which is R R^T + 2 Q Q^T, unknown maps added; and
    universe by universe, which few joint universes suffice for, since their z are known. A nuisance
    with several throws is a frozen map, whose realisation in a joint universe is another one: it
    is left out of the prediction and counts in the expected band (so a map that was thrown once only,
    say of dead chips, shows as a failure to close).

    Args:
        displacement: (1 + replica, universe, task), replica 0 the sample itself.
        parts: Response to each nuisance.
        design: The universes.
        blocks: Joint universes in antithetic pairs.
        seed: Seed of the resampling of blocks and maps.
    """
    order = [universe for block in blocks for universe in block]
    replicas = len(displacement) - 1
    rng = np.random.default_rng(seed)
    joint = displacement[:, order]
    known = _predicted(parts, design, order)
    noise = (joint - known) - (joint[0] - known[0])
    pick = _resampled(blocks, replicas, rng)
    additive = known[0] + noise[1:] + _maps(parts, design, order, replicas, rng)
    redrawn = np.take_along_axis(joint[1:], pick[:, :, None], axis=1)
    found = []
    for name, about_mean in (("second moment about nominal", False), ("covariance about the mean", True)):
        unisim = systematic(_expected_moment(parts, about_mean))
        moments = systematic(second_moments(joint)[about_mean])
        offset = moments.raw - moments.debiased
        value = _distance(unisim.debiased, moments.debiased)
        spread = _distance(unisim.replicas, second_moments(redrawn)[about_mean] - 2.0 * offset)
        expected = _distance(unisim.debiased, second_moments(additive)[about_mean] - offset)
        found.append(_closure(name, value, spread, expected))
    value = _distance(known[0], joint[0])
    spread = _distance(np.take_along_axis(known[1:], pick[:, :, None], axis=1), redrawn)
    found.append(_closure("universe by universe", value, spread, _distance(known[0], additive)))
    return tuple(found)


def _closure(name: str, value: Floats, spread: Floats, expected: Floats) -> Closure:
    low, high = interval(spread)
    expected_low, expected_high = interval(expected)
    return Closure(name, float(value), float(low), float(high), float(expected_low), float(expected_high))


def _distance(first: Floats, second: Floats) -> Floats:
    """Return ||first - second|| / ||second||, Frobenius over the last two axes; 0 where both vanish."""
    difference = np.linalg.norm(first - second, axis=(-2, -1))
    size = np.linalg.norm(second, axis=(-2, -1))
    infinite = np.where(difference > 0.0, np.inf, 0.0)
    relative: Floats = np.divide(difference, size, out=infinite, where=size > 0.0)
    return relative


def _predicted(parts: Sequence[Part], design: Design, order: Sequence[int]) -> Floats:
    """Return the sum over nuisances of one throw of r z + q z^2, (1 + replica, joint, task)."""
    shape = parts[0].odd.shape
    total = np.zeros((shape[0], len(order), shape[2]))
    for part in parts:
        if part.odd.shape[1] == 1:
            z = design.value[order, design.nuisances.index(part.nuisance)]
            total += z[:, None] * part.odd + (z**2)[:, None] * part.even
    return total


def _maps(
    parts: Sequence[Part], design: Design, order: Sequence[int], replicas: int, rng: np.random.Generator
) -> Floats:
    """Return draws of what frozen maps add to each joint universe, (replica, joint, task).

    Universes of one throw, so both of an antithetic pair, have the same map.
    """
    total = np.zeros((replicas, len(order), parts[0].odd.shape[2]))
    maps, which = np.unique(design.throw[order], return_inverse=True)
    for part in parts:
        throws = part.odd.shape[1]
        if throws > 1:
            z = design.value[order, design.nuisances.index(part.nuisance)]
            drawn = rng.integers(throws, size=(replicas, len(maps)))[:, which]
            sign = rng.choice([-1.0, 1.0], size=(replicas, len(maps), 1))[:, which]
            sign = np.ones_like(sign) if part.one_sided else sign
            total += sign * z[:, None] * part.odd[0][drawn] + (z**2)[:, None] * part.even[0][drawn]
    return total


def _expected_moment(parts: Sequence[Part], about_mean: bool) -> Floats:
    """Return the sum of the parts' covariances, plus the mean's square when about nominal, (1 + replica, task, task).

    The square of a mean over a few throws of a map is too large by the covariance of that mean, which is taken off.
    """
    total = np.sum([part.covariance for part in parts], axis=0)
    if not about_mean:
        mean = np.sum([part.mean for part in parts], axis=0)
        total = total + mean[:, :, None] * mean[:, None, :] - np.sum([part.mean_covariance for part in parts], axis=0)
    return np.asarray(total, dtype=np.float64)


def _resampled(blocks: Sequence[Sequence[int]], replicas: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return positions of joint universes with blocks drawn with replacement, (replica, joint).

    Every replica keeps the number of universes, so blocks are drawn within their own size.
    """
    starts = np.cumsum([0] + [len(block) for block in blocks])
    columns = []
    for size in sorted({len(block) for block in blocks}):
        first = np.array([start for start, block in zip(starts, blocks, strict=False) if len(block) == size])
        drawn = first[rng.integers(len(first), size=(replicas, len(first)))]
        columns.append((drawn[:, :, None] + np.arange(size)).reshape(replicas, -1))
    return np.concatenate(columns, axis=1)
