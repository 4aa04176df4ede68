"""Estimators of single biases: of a mean, a median, a width and an AUC, and the significance of many biases at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from scipy import stats

from shiftlab.bias import significance
from shiftlab.bias.influence import influence
from shiftlab.bias.proof.cases import EVENTS, NUISANCES, Case, Draw, event_spread, sample_of_events
from shiftlab.bias.proof.estimator import LEVELS, Estimator, Found, Note, at_levels, symmetric
from shiftlab.bias.quantile import Quantile, Width68
from shiftlab.bias.statistic import Floats, Mean

__all__ = ["OF_BIASES"]

_SEPARATION: Final = 1.0
"""How far the mean output of the events of one class lies above that of the other, where classes are told apart."""

_SIGNAL: Final = np.arange(EVENTS) < EVENTS // 2
"""The events of that class, the only ones that the nuisances move."""

_TAKEN: Final = 1
"""Universes of the statistics that need sorting: the first nuisance up."""

_REPLICAS: Final = 60
"""Replicas of these."""

_MANY: Final = 200_000
"""Events from which a truth without a formula is drawn."""

_Values = Callable[[Floats, Floats], Floats]
"""From outputs (row, event) and weights (replica, event) to a statistic (row, replica)."""


def _mean_by_influence(draw: Draw, level: float) -> tuple[Floats, Floats, Floats]:
    moved = np.swapaxes(draw.moved, 2, 3)
    nominal = np.swapaxes(draw.nominal, 1, 2)[:, None]
    none, one = np.empty((moved.shape[-1], 0)), np.ones(moved.shape[-1])
    pulls = [influence(Mean(), outputs[..., None], none, one) for outputs in (nominal + moved, nominal)]
    error = np.sqrt(((pulls[0] - pulls[1]) ** 2).sum(axis=-1))
    return symmetric(draw.unisim[:, 0], error, float(stats.norm.ppf(0.5 + level / 2.0)))


def _student(draw: Draw, level: float) -> float:
    return float(stats.t.ppf(0.5 + level / 2.0, draw.unisim.shape[1] - 2))


def _mean_by_bootstrap(draw: Draw, level: float) -> tuple[Floats, Floats, Floats]:
    return symmetric(draw.unisim[:, 0], draw.unisim[:, 1:].std(axis=1, ddof=1), _student(draw, level))


def _of_statistic(value: _Values, moved: Callable[[Draw], Floats]) -> Callable[[Draw], Found]:
    """Return what finds the biases of any statistic, with errors from replicas.

    Args:
        value: The statistic.
        moved: From pseudo-experiments to outputs (pseudo, 1 + universe, event, task), the nominal first.
    """

    def find(draw: Draw) -> Found:
        outputs = np.swapaxes(moved(draw), 2, 3)
        shape = outputs.shape[:3]
        values = value(outputs.reshape(-1, EVENTS), draw.weights[: 1 + _REPLICAS]).reshape(*shape, -1)
        bias = (values[:, 1:] - values[:, :1]).reshape(shape[0], -1, values.shape[-1])
        error = bias[..., 1:].std(axis=-1, ddof=1)
        quantiles = [float(stats.t.ppf(0.5 + level / 2.0, _REPLICAS - 1)) for level in LEVELS]
        ends = [symmetric(bias[..., 0], error, quantile) for quantile in quantiles]
        return Found(bias[..., 0], np.stack([low for _, low, _ in ends]), np.stack([high for *_, high in ends]))

    return find


def _all_move(draw: Draw) -> Floats:
    nominal = draw.nominal[:, None]
    return np.concatenate([nominal, nominal + draw.moved[:, :_TAKEN]], axis=1)


def _signal_moves(draw: Draw) -> Floats:
    nominal = draw.nominal[:, None] + _SEPARATION * _SIGNAL[:, None]
    return np.concatenate([nominal, nominal + draw.moved[:, :_TAKEN] * _SIGNAL[:, None]], axis=1)


def _median(outputs: Floats, weights: Floats) -> Floats:
    return Quantile().score(outputs[..., None], np.empty((EVENTS, 0)), weights)


def _width(outputs: Floats, weights: Floats) -> Floats:
    return Width68().score(outputs[..., None], np.empty((EVENTS, 0)), weights)


def _auc(outputs: Floats, weights: Floats) -> Floats:
    from shiftlab.tasks.ranking import weighted_auc  # here, so that nothing else needs torch

    found: Floats = weighted_auc(outputs, _SIGNAL, weights)
    return found


def _biases(case: Case) -> Floats:
    return case.unisim().ravel()


def _median_truth(case: Case) -> Floats:
    """Return the biases of the mean, since events scatter evenly to both sides."""
    return case.unisim()[0, :_TAKEN].ravel()


def _width_truth(case: Case) -> Floats:
    """Return the change of the half-width of the outputs, whose spread over events grows by that of the response."""
    if not case.heavy:
        size = _nominal_size(case)
        return np.asarray(np.sqrt(size**2 + event_spread(case)[:_TAKEN] ** 2) - size).ravel()
    nominal, moved = sample_of_events(case, _MANY, _TAKEN)
    ends = [np.quantile(values, [0.5 - _HALF, 0.5 + _HALF], axis=0) for values in (nominal, nominal + moved)]
    widths = [(high - low) / 2.0 for low, high in ends]
    return np.asarray(widths[1] - widths[0]).ravel()


_HALF: Final = LEVELS[0] / 2.0


def _nominal_size(case: Case) -> Floats:
    """Return the spread over events of each task's nominal output, (task,)."""
    return np.asarray(np.abs(case.copies or (1.0,) * case.mean_response.shape[1]), dtype=np.float64)


def _auc_truth(case: Case) -> Floats:
    """Return the change of P(signal > other)."""
    shift, size = case.unisim()[0, :_TAKEN], _nominal_size(case)
    if not case.heavy:
        spread = np.sqrt(2.0 * size**2 + event_spread(case)[:_TAKEN] ** 2)
        after = stats.norm.cdf((_SEPARATION + shift) / spread)
        return np.asarray(after - stats.norm.cdf(_SEPARATION / (np.sqrt(2.0) * size))).ravel()
    nominal, moved = sample_of_events(case, _MANY, _TAKEN)
    other = np.sort(nominal[::-1, 0, 0])
    found = [
        (np.searchsorted(other, values.ravel()) / len(other)).reshape(values.shape).mean(axis=0)
        for values in (nominal + _SEPARATION, nominal + _SEPARATION + moved)
    ]
    return np.asarray(found[1] - found[0]).ravel()


def _p_values(draw: Draw, unmoved: Floats) -> Floats:
    """Return p-values (pseudo, universe x task) once the true biases are taken off where ``unmoved`` is 1."""
    error = draw.unisim[:, 1:].std(axis=1, ddof=1)
    size = draw.unisim[:, 0] - unmoved * draw.case.unisim().reshape(error.shape[1:])
    p = significance.p_values(significance.z_values(size, error), draw.unisim.shape[1] - 2)
    return p.reshape(len(p), -1)


def _at_least(p: Floats) -> Found:
    """Return intervals of the sign of a deviation that hold 0 where p is above 1 less the level, from p (pseudo, cell).

    The share of intervals that hold 0 is then 1 less the rate of false positives.
    """
    below = np.stack([p <= 1.0 - level for level in LEVELS]).astype(np.float64)
    return Found(np.zeros(p.shape), below, np.ones(below.shape))


def _any_holm(draw: Draw) -> Found:
    p = _p_values(draw, np.ones((2 * NUISANCES, 1)))
    return _at_least(np.array([[significance.holm(one).min()] for one in p]))


def _any_benjamini_hochberg(draw: Draw) -> Found:
    p = _p_values(draw, np.ones((2 * NUISANCES, 1)))
    return _at_least(np.array([[significance.q_values(one).min()] for one in p]))


def _false_discoveries(draw: Draw) -> Found:
    """Half of the nuisances do nothing: the share of the cells called significant that are of these.

    As a number between 0 and 1 it is compared with a uniform one, so that the share of successes is 1 less its mean.
    """
    unmoved = np.repeat(np.arange(NUISANCES) >= NUISANCES // 2, 2).astype(np.float64)[:, None]
    p = _p_values(draw, unmoved)
    nothing = np.broadcast_to(unmoved, (2 * NUISANCES, p.shape[1] // (2 * NUISANCES))).ravel() > 0.0
    q = np.stack([significance.q_values(one) for one in p])
    uniform = np.random.default_rng((*draw.seed, 1)).random((len(p), 1))
    low = []
    for level in LEVELS:
        called = q < 1.0 - level
        share = (called & nothing).sum(axis=1) / np.maximum(1, called.sum(axis=1))
        low.append((uniform < share[:, None]).astype(np.float64))
    return Found(np.zeros((len(p), 1)), np.stack(low), np.ones((len(LEVELS), len(p), 1)))


def _joint(draw: Draw) -> Found:
    shift = draw.unisim - draw.case.unisim().reshape(draw.unisim.shape[2:])
    found = np.ones((len(shift), shift.shape[2]))
    for place, universe in np.ndindex(*found.shape):
        own = shift[place, :, universe]
        covariance = np.cov(own[1:].T)
        found[place, universe] = significance.joint(own[0], covariance, len(own) - 2).p
    return _at_least(found)


def _nothing(case: Case) -> Floats:
    return np.zeros(1)


_DEPENDENT: Final = Note("conservative", "tasks of the same events are dependent, so that fewer than claimed are false")
_HALF_TRUE: Final = Note("conservative", "half of the cells are truly moved: false ones are at most half as frequent")
_SMOOTH: Final = Note("conservative", "quantiles of replicas fall between few events, and scatter more than the sample")

_SORTED: Final = ("linear", "same side", "heavy-tailed", "noisy universes")
"""Cases in which events scatter otherwise; the others differ in their joint universes only."""

OF_BIASES: Final = (
    Estimator("bias of a mean, error by influence", at_levels(_mean_by_influence), _biases),
    Estimator("bias of a mean, error by bootstrap", at_levels(_mean_by_bootstrap), _biases),
    Estimator(
        "bias of a median, error by bootstrap", _of_statistic(_median, _all_move), _median_truth, (_SMOOTH,), _SORTED
    ),
    Estimator(
        "bias of a 68% width, error by bootstrap", _of_statistic(_width, _all_move), _width_truth, (_SMOOTH,), _SORTED
    ),
    Estimator("bias of an AUC, error by bootstrap", _of_statistic(_auc, _signal_moves), _auc_truth, (), _SORTED),
    Estimator("no false positive, T^2 of all tasks", _joint, lambda case: np.zeros(2 * NUISANCES)),
    Estimator("no false positive of 24, Holm", _any_holm, _nothing, (_DEPENDENT,)),
    Estimator("no false positive of 24, Benjamini-Hochberg", _any_benjamini_hochberg, _nothing, (_DEPENDENT,)),
    Estimator("no false discovery, Benjamini-Hochberg", _false_discoveries, _nothing, (_HALF_TRUE,)),
)
"""For these, 8 one-nuisance universes and 3 tasks: 24 biases."""
