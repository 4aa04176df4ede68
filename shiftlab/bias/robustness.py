"""Robustness of each arm and task: response curves over strength, their scores, and the ranks of the arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.multiway import LEAST_SEEDS, Estimate, estimate
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Curve", "Harm", "few_seeds", "leaderboard", "ranks", "relative_robustness", "response_curve", "scores"]

Harm = Literal["size", "loss"]
"""What counts as harm: the size of a bias to either side, or the loss of a performance (positive = worse)."""

SCORES: Final = ("area", "mean", "worst")
"""Scores of a set of curves, in the order of the last axis of ``scores``."""


@dataclass(frozen=True)
class Curve:
    """Response of the tasks to one nuisance over its strengths, with its odd and even part.

    Attributes:
        strength: (point,), in sigma, ascending, with 0.
        bias: (..., 1 + replica, point, task); exactly 0 at strength 0.
        power: (coefficient,), powers of the strength in the fit: odd ones, then even ones.
        coefficient: (..., 1 + replica, coefficient, task), b(s) = sum c_p s^p.
        residual: (..., task), largest distance of a point from the fit, in bootstrap errors of that distance; 0 where
            the fit goes through all points, infinite where points without an error are missed.
    """

    strength: Floats
    bias: Floats
    power: npt.NDArray[np.int64]
    coefficient: Floats
    residual: Floats

    def fitted(self, strength: Floats) -> Floats:
        """Return the fitted response at other strengths, (..., 1 + replica, point, task)."""
        return np.asarray((strength[:, None] ** self.power) @ self.coefficient, dtype=np.float64)


def response_curve(strength: Floats, bias: Floats, *, nuisance: str = "") -> Curve:
    """Fit b(s) = r s + q s^2, and a cubic (a quartic) term where two sizes or more are there on both sides.

    Least squares of b / s on powers of s: the event noise of a paired bias grows with the strength, so this gives every
    point the same weight. From -1 and +1 alone r and q are the odd and the even response, (b+ - b-)/2 and (b+ + b-)/2.
    From one side only the fit is r s, with q where there are two sizes.

    Args:
        strength: (point,), in sigma; 0 may be left out.
        bias: (..., 1 + replica, point, task), replica 0 the sample itself.
        nuisance: Its name, for messages.

    Raises:
        DataError: a strength is there twice or only 0 is, shapes differ, a bias is not finite or not 0 at strength 0.
    """
    where = f"nuisance '{nuisance}': " if nuisance else ""
    if strength.ndim != 1 or bias.ndim < 3 or bias.shape[-2] != len(strength):
        raise DataError(f"{where}strengths {strength.shape} do not fit biases {bias.shape} (replica, point, task).")
    if len(np.unique(strength)) != len(strength) or not strength.any():
        raise DataError(f"{where}strengths {strength.tolist()}: each may be there once, and one must not be 0.")
    if not np.isfinite(bias).all():
        raise DataError(f"{where}{int((~np.isfinite(bias)).sum())} biases are not finite.")
    if bias[..., strength == 0.0, :].any():
        raise DataError(f"{where}the bias at strength 0 is not 0; strength 0 is the nominal itself.")
    if 0.0 not in strength:
        strength = np.append(strength, 0.0)
        bias = np.concatenate([bias, np.zeros_like(bias[..., :1, :])], axis=-2)
    order = np.argsort(strength)
    strength, bias = strength[order], bias[..., order, :]
    power = _powers(strength)
    moved = strength != 0.0
    inverse = np.linalg.pinv(strength[moved, None] ** (power - 1))
    coefficient = inverse @ (bias[..., moved, :] / strength[moved, None])
    return Curve(strength, bias, power, coefficient, _residual(strength, bias, power, coefficient))


def _powers(strength: Floats) -> npt.NDArray[np.int64]:
    up, down = (np.unique(strength[sign * strength > 0.0]) for sign in (1.0, -1.0))
    if not len(up) or not len(down):
        return np.array([1, 2] if max(len(up), len(down)) > 1 else [1], dtype=np.int64)
    sizes = min(len(up), len(down))
    return np.array({1: [1, 2], 2: [1, 3, 2]}.get(sizes, [1, 3, 2, 4]), dtype=np.int64)


def _residual(strength: Floats, bias: Floats, power: npt.NDArray[np.int64], coefficient: Floats) -> Floats:
    distance = bias - (strength[:, None] ** power) @ coefficient
    error = distance[..., 1:, :, :].std(axis=-3, ddof=1)
    size = np.abs(distance[..., 0, :, :])
    size = np.where(size > 1e-9 * np.abs(bias[..., 0, :, :]).max(initial=0.0), size, 0.0)
    pull = np.divide(size, error, out=np.where(size > 0.0, np.inf, 0.0), where=error > 1e-12 * np.maximum(size, 1e-300))
    return np.asarray(pull.max(axis=-2), dtype=np.float64)


def scores(
    curves: Sequence[Curve], *, harm: Sequence[Harm], sign: Sequence[int] | None = None, limit: float = 1.0
) -> Floats:
    """Return area, mean and worst case of the harm of every task, (..., 1 + replica, task, 3).

    ``area`` is the integral of the harm over strengths from -limit to limit (trapezoids), over the length of that
    range, averaged over nuisances: so the mean harm of a strength drawn evenly, in the currency of the biases. ``mean``
    and ``worst`` are over all universes within the limit other than nominal.

    Harm "loss" is linear in the bias, apart from ``worst``. Harm "size" is |b|, which event noise makes larger: 2 |b| -
    mean |b(replica)| takes most of that off (first order of the bootstrap's bias). Where all biases are below their
    errors the score is an upper limit rather than a measurement; it is 0 exactly where nothing moves. Coverage of
    ``multiway.estimate`` with 5 seeds (``shiftlab validate statistics``, 2,000 pseudo-experiments of each kind):
    0.66-0.69 and 0.94-0.945 for the area of |b|, 0.67-0.69 and 0.93-0.95 for the worst case.

    Args:
        curves: One per nuisance, in one currency (per-event resolution, to compare tasks).
        harm: What counts as harm, per task.
        sign: Per task, +1 where a larger statistic is better and -1 where a smaller is; needed for "loss".
        limit: Largest strength that counts, in sigma.

    Raises:
        DataError: a nuisance has no universe within the limit, or a task of harm "loss" has no sign.
    """
    tasks = curves[0].bias.shape[-1]
    directions = list(sign) if sign is not None else [0] * tasks
    if len(harm) != tasks or len(directions) != tasks:
        raise DataError(f"{tasks} tasks, {len(harm)} kinds of harm and {len(directions)} signs; one each is needed.")
    for t, kind in enumerate(harm):
        if kind == "loss" and directions[t] not in (1, -1):
            raise DataError(f"task number {t}: harm 'loss' needs sign +1 (larger is better) or -1 (smaller is better).")
    loss = np.array([kind == "loss" for kind in harm])
    areas, harms = [], []
    for number, curve in enumerate(curves):
        inside = np.abs(curve.strength) <= limit * (1.0 + 1e-9)
        if inside.sum() < 2:
            raise DataError(
                f"nuisance number {number} has no universe within {limit} sigma: {curve.strength.tolist()}."
            )
        strength, bias = curve.strength[inside], curve.bias[..., inside, :]
        done = np.where(loss, -np.array(directions) * bias, np.abs(bias))
        areas.append(np.trapezoid(done, strength, axis=-2) / (strength[-1] - strength[0]))
        harms.append(done[..., strength != 0.0, :])
    every = np.concatenate(harms, axis=-2)
    found = np.stack([np.mean(areas, axis=0), every.mean(axis=-2), every.max(axis=-2)], axis=-1)
    linear = loss[:, None] & (np.array(SCORES) != "worst")
    excess = found[..., 1:, :, :].mean(axis=-3, keepdims=True) - found[..., :1, :, :]
    # A replica's noise comes on top of the sample's own, so it is freed twice.
    times = np.full((found.shape[-3], 1, 1), 2.0)
    times[0] = 1.0
    return np.asarray(found - np.where(linear, 0.0, times * excess), dtype=np.float64)


def few_seeds(seeds: int) -> str:
    """Return why nothing is claimed about an arm of so few trainings; nothing where something is."""
    if seeds >= LEAST_SEEDS:
        return ""
    return f"no claim: {seeds} seed{'s' if seeds != 1 else ''}, {LEAST_SEEDS} are needed"


def relative_robustness(arm: Floats, other: Floats) -> Estimate:
    """Return the difference of a score of two arms, with the interval over events and seeds: below 0 = more robust.

    Taori et al. 2020 (NeurIPS 33, 18583) call the difference of performance under shift relative robustness, and warn
    that better models are more robust for that reason alone. So hand in scores of matched events
    (``matching.Matched.weights``), on which both arms perform equally at nominal.

    Args:
        arm: (seed, 1 + replica), the score on the matched events.
        other: (seed, 1 + replica), that of the other arm; replicas share their event weights.
    """
    return estimate(arm - other)


def ranks(value: Floats, covariance: Floats, freedom: float, *, half: float = HALF_95, seed: int = 0) -> Floats:
    """Return the rank of each arm, smallest value first, and the ends of its confidence set, int (arm, 3).

    All arms at once: an arm's best rank is 1 plus the number of arms that are smaller beyond the largest studentised
    difference of all pairs, its worst rank the number of arms less those that are larger (Mogstad, Romano, Shaikh and
    Wilhelm 2024, Rev. Econ. Stud. 91, 476). All ranks hold together with 2 ``half`` probability or more; arms that
    cannot be told apart share ranks, where percentiles of bootstrap ranks would feign an order.

    Args:
        value: (arm,), scores.
        covariance: (arm, arm), of the scores.
        freedom: Degrees of freedom of the covariance.
        half: Half the probability.
        seed: Seed of the draws of the largest difference.
    """
    number = len(value)
    first, second = np.triu_indices(number, 1)
    difference = value[first] - value[second]
    variance = np.diag(covariance)[first] + np.diag(covariance)[second] - 2.0 * covariance[first, second]
    error = np.sqrt(np.clip(variance, 0.0, None))
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance)
    drawn = rng.standard_normal((20_000, number)) * np.sqrt(np.clip(values, 0.0, None)) @ vectors.T
    if np.isfinite(freedom):
        drawn /= np.sqrt(rng.chisquare(freedom, (len(drawn), 1)) / freedom)
    moved = np.abs(drawn[:, first] - drawn[:, second])
    known = error > 1e-12 * np.abs(value).max(initial=1e-300)
    pull = np.divide(moved, error, out=np.zeros_like(moved), where=known)
    critical = float(np.quantile(pull.max(axis=1, initial=0.0), 2.0 * half))
    apart = np.abs(difference) > np.where(known, critical * error, 0.0)
    smaller = np.zeros((number, number), dtype=np.bool_)
    smaller[first, second] = apart & (difference < 0.0)
    smaller[second, first] = apart & (difference > 0.0)
    rank = 1 + (value[None, :] < value[:, None]).sum(axis=1)
    best, worst = 1 + smaller.sum(axis=0), number - smaller.sum(axis=1)
    return np.stack([rank, best, worst], axis=1)


def leaderboard(
    score: Floats | Sequence[Floats],
    arms: Sequence[str],
    *,
    correlation: Mapping[str, Estimate] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per arm, the most robust first: its score, its ranks at 68% and 95%, and how its tasks correlate.

    Robustness and correlation stand side by side and are never made into one number: an arm may move less and yet move
    more in common.

    Args:
        score: (arm, seed, 1 + replica), a harm, so smaller is better; replicas share their event weights over arms.
            Arms of different numbers of seeds are given one by one, each (seed, 1 + replica).
        arms: Names of the arms.
        correlation: Mean rho of each arm, say ``excess.Excess.arm_rho``.
        seed: Seed of the draws behind the ranks.

    Raises:
        DataError: shapes differ or a score is not finite.
    """
    shapes = [values.shape for values in score]
    if len(shapes) != len(arms) or any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        raise DataError(f"{len(arms)} arms, scores of shapes {shapes}; (seed, replica) of each arm is needed.")
    bad = [arm for arm, values in zip(arms, score, strict=True) if not np.isfinite(values).all()]
    if bad:
        raise DataError(f"scores of arm {', '.join(bad)} are not finite.")
    found = [estimate(values) for values in score]
    shared = np.atleast_2d(np.cov(np.stack([values[:, 1:].mean(axis=0) for values in score])))
    covariance = shared + np.diag([one.seeds for one in found])
    freedom = min(one.freedom for one in found)
    value = np.array([one.value for one in found])
    rank, rank68 = (ranks(value, covariance, freedom, half=half, seed=seed) for half in (HALF_95, HALF_68))
    rows = []
    for a, arm in enumerate(arms):
        row: dict[str, object] = {"arm": arm, **found[a].columns("score"), "rank": int(rank[a, 0])}
        row |= {"rank_lo": int(rank68[a, 1]), "rank_hi": int(rank68[a, 2])}
        row |= {"rank_lo95": int(rank[a, 1]), "rank_hi95": int(rank[a, 2])}
        if correlation is not None:
            row |= correlation[arm].columns("rho")
        rows.append({**row, "seeds": len(score[a]), "flag": few_seeds(len(score[a]))})
    return pd.DataFrame(rows).sort_values("score", kind="stable", ignore_index=True)
