"""Pruning by information: nuisances leave the channels and samples in which the fit would not notice them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Pruned", "prune", "sigma_of_signal"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pruned:
    """What to drop, and what it costs; the axes are (nuisance, channel, sample).

    Attributes:
        dropped: bool.
        sigma_cost: relative change of sigma of mu when this one alone is dropped.
        bias_cost: change of the bias of mu at one sigma of the nuisance, in units of sigma of mu.
        cumulated: sum of the larger of both costs over all that were dropped before, and this one; NaN where kept.
        sigma: of mu with everything.
        sigma_after: of mu without what is dropped.
    """

    dropped: Bools
    sigma_cost: Floats
    bias_cost: Floats
    cumulated: Floats
    sigma: float
    sigma_after: float


@dataclass(frozen=True, eq=False)
class _Linear:
    """Linear Gaussian fit of mu and the nuisances: J (bin, parameter) with mu first, and bin weights."""

    jacobian: Floats
    weight: Floats

    @property
    def prior(self) -> Floats:
        return np.diag([0.0] + [1.0] * (self.jacobian.shape[1] - 1))

    @property
    def information(self) -> Floats:
        return (self.jacobian.T * self.weight) @ self.jacobian + self.prior


def sigma_of_signal(signal: Floats, responses: Floats, variance: Floats) -> float:
    """Return sigma of mu from the Fisher matrix; infinite without a signal.

    Args:
        signal: (bin,) d lambda / d mu.
        responses: (nuisance, bin) d lambda / d nuisance, unit normal priors.
        variance: (bin,) statistical variance, lambda plus that of the Monte Carlo.
    """
    weight = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0.0)
    fit = _Linear(np.column_stack([signal, responses.T]), weight)
    if not (signal**2 @ weight) > 0.0:
        return float("inf")
    return float(np.sqrt(np.linalg.inv(fit.information)[0, 0]))


def prune(
    nominal: Floats,
    up: Floats,
    down: Floats,
    variance: Floats,
    signal: int,
    channel: Ints,
    *,
    each: float = 1e-3,
    total: float = 1e-2,
) -> Pruned:
    """Choose what to drop: the cheapest first, each costing less than ``each``, all together less than ``total``.

    With J the derivatives of the rates by mu and the nuisances, w = 1 / (lambda + Monte Carlo variance) and unit
    priors, F = J^T w J + P. Without the shift r of one (nuisance k, channel, sample), row and column k of F change;
    sigma of mu follows from the inverse. When k is displaced by one sigma, mu moves by -(F^-1)_0k with the full
    model, and by -(F'^-1)_0k + (F'^-1 J'^T w r)_0 without r; the difference, plus what the even part of the dropped
    shift moves, is the change of the bias. If all that is dropped changes sigma by more than ``total`` in one, the
    costliest come back. Costs are those of expected data; where data fluctuate, the best fit may move by more.

    Args:
        nominal: (sample, bin) expected events.
        up: (nuisance, sample, bin) at +1 sigma.
        down: (nuisance, sample, bin) at -1 sigma.
        variance: (sample, bin) Monte Carlo variance of the nominal.
        signal: number of the sample that mu scales.
        channel: (bin,) number of each bin's channel, from 0.
        each: largest cost of one.
        total: largest sum of costs, and largest change of sigma together.
    """
    inside = channel == np.arange(int(channel.max()) + 1)[:, None]
    odd, even = 0.5 * (up - down), 0.5 * (up + down) - nominal
    rate = (nominal + variance).sum(axis=0)
    weight = np.divide(1.0, rate, out=np.zeros_like(rate), where=rate > 0.0)
    fit = _Linear(np.column_stack([nominal[signal], odd.sum(axis=1).T]), weight)
    full: Floats = np.linalg.inv(fit.information).astype(np.float64)
    sigma = float(np.sqrt(full[0, 0]))
    blocks: tuple[Floats, Floats] = odd[:, None] * inside[:, None], even[:, None] * inside[:, None]
    costs = np.stack([_costs(fit, full, k, blocks[0][k], blocks[1][k]) for k in range(len(odd))], axis=1)
    alive = (blocks[0] != 0.0).any(axis=-1) | (blocks[1] != 0.0).any(axis=-1)
    cost = costs.max(axis=0)
    order = [i for i in np.argsort(cost, axis=None, kind="stable") if alive.flat[i] and cost.flat[i] < each]
    sums = np.cumsum(cost.flat[order])
    chosen = order[: int(np.searchsorted(sums, total))]
    after = _without(fit, blocks[0], chosen)
    while chosen and abs(after / sigma - 1.0) > total:
        chosen = chosen[:-1]
        after = _without(fit, blocks[0], chosen)
    dropped, cumulated = np.zeros(cost.shape, dtype=np.bool_), np.full(cost.shape, np.nan)
    dropped.flat[chosen] = True
    cumulated.flat[chosen] = sums[: len(chosen)]
    return Pruned(dropped, costs[0], costs[1], cumulated, sigma, after)


def _costs(fit: _Linear, full: Floats, k: int, odd: Floats, even: Floats) -> Floats:
    """Return (2, channel, sample): change of sigma and of the bias without each shift (channel, sample, bin) of one."""
    one, sigma = k + 1, float(np.sqrt(full[0, 0]))
    shift = odd.reshape(-1, odd.shape[-1])
    pulled = (shift * fit.weight) @ fit.jacobian
    own = (shift**2) @ fit.weight
    information = np.repeat(fit.information[None], len(shift), axis=0)
    information[:, one, :] -= pulled
    information[:, :, one] -= pulled
    information[:, one, one] += own
    pulled[:, one] -= own
    without = np.linalg.inv(information)
    bias = -without[:, 0, one] + np.einsum("ij,ij->i", without[:, 0], pulled) + full[0, one]
    response = full[0] @ (fit.jacobian.T * fit.weight)
    unseen = np.abs(even.reshape(-1, even.shape[-1]) @ response)
    found = np.stack([np.abs(np.sqrt(without[:, 0, 0]) / sigma - 1.0), (np.abs(bias) + unseen) / sigma])
    return np.asarray(found.reshape(2, *odd.shape[:-1]))


def _without(fit: _Linear, blocks: Floats, chosen: list[np.intp]) -> float:
    """Return sigma of mu without the shifts at flat positions of (nuisance, channel, sample)."""
    jacobian = fit.jacobian.copy()
    for position in chosen:
        k, c, s = np.unravel_index(position, blocks.shape[:-1])
        jacobian[:, k + 1] -= blocks[k, c, s]
    return float(np.sqrt(np.linalg.inv(_Linear(jacobian, fit.weight).information)[0, 0]))
