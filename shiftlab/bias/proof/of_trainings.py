"""Estimators over events, universes and trainings: excess correlation, components, mechanism, robustness, matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.components import NAMES
from shiftlab.bias.excess import Excess, log_inflation
from shiftlab.bias.joint_moments import Sampling
from shiftlab.bias.matching import match, quantile_strata
from shiftlab.bias.mechanism import Mechanism, fraction_interval
from shiftlab.bias.multiway import Estimate, estimate
from shiftlab.bias.proof.cases import Case, Draw
from shiftlab.bias.proof.estimator import Estimator, Found, Note
from shiftlab.bias.proof.trainings import (
    ALONE,
    HALVES,
    HEADS,
    OFFSET,
    REPLICAS,
    SCATTER,
    beside,
    expected_trainings,
    harm_of,
)
from shiftlab.bias.robustness import SCORES, relative_robustness
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["OF_TRAININGS"]

_UPPER: Final = np.triu_indices(3, 1)

_HARD: Final = 2000
"""Events of a matched comparison."""


def _collected(rows: Sequence[Floats | Sequence[tuple[float, float, float, float, float]]]) -> Found:
    """Return what is found from (pseudo-experiment, cell, (value, low, high, low95, high95))."""
    values = np.array(rows, dtype=np.float64)
    return Found(values[..., 0], np.moveaxis(values[..., [1, 3]], -1, 0), np.moveaxis(values[..., [2, 4]], -1, 0))


def _ends(
    one: Estimate, interval: Callable[[Estimate, float], tuple[float, float]] = Estimate.interval
) -> tuple[float, float, float, float, float]:
    return (one.value, *interval(one, HALVES[0]), *interval(one, HALVES[1]))


def _excess(which: Callable[[Draw], list[Excess]], name: str) -> Callable[[Draw], Found]:
    return lambda draw: _collected([[_ends(getattr(one, name))] for one in which(draw)])


def _excess_truth(name: str, unisims: bool) -> Callable[[Case], Floats]:
    """Return what the excess is expected to be over trainings."""

    def truth(case: Case) -> Floats:
        response = expected_trainings(case)
        if unisims:
            biases = case.unisim_features() @ response
            odd = (biases[..., 0::2, :] - biases[..., 1::2, :]) / 2.0
            even = (biases[..., 0::2, :] + biases[..., 1::2, :]) / 2.0
            covariance = np.swapaxes(odd, -1, -2) @ odd + 2.0 * np.swapaxes(even, -1, -2) @ even
        else:
            covariance = np.swapaxes(response, -1, -2) @ case.moment("nominal") @ response
        if name == "log_kappa":
            value = log_inflation(covariance, np.ones(covariance.shape[-1]))
        else:
            root = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
            rho = covariance / (root[..., :, None] * root[..., None, :])
            value = rho[..., *_UPPER].mean(axis=-1)
        return np.atleast_1d((value[:, 0] - value[:, 1]).mean())

    return truth


def _component(kind: int, sampling: Sampling) -> Callable[[Draw], Found]:
    """Return what finds the variance of one component, with the intervals of its table."""

    def find(draw: Draw) -> Found:
        rows = []
        for table in draw.trainings.component_tables[sampling]:
            chosen = table[table["component"] == NAMES[kind]]
            rows.append(chosen[["variance", "lo", "hi", "lo95", "hi95"]].to_numpy())
        return _collected(rows)

    return find


def _components_truth(case: Case) -> Floats:
    """Return (component, task, task)."""
    scale = np.outer(case.copies, case.copies) if case.copies else np.eye(case.response.shape[1])
    seed = OFFSET**2 + SCATTER**2 * (case.first**2).sum()
    residual = ALONE**2 + SCATTER**2 * (case.second - case.first**2).sum()
    return np.stack([case.joint_covariance("mean"), seed * scale, residual * scale])


def _driven(sampling: Sampling) -> Callable[[Draw], Found]:
    def find(draw: Draw) -> Found:
        rows = []
        for table in draw.trainings.correlation_tables[sampling]:
            ends = [[name, *(f"{name}_{end}" for end in ("lo", "hi", "lo95", "hi95"))] for name in _PARTS]
            rows.append(np.concatenate([table[columns].to_numpy() for columns in ends]))
        return _collected(rows)

    return find


_PARTS: Final = ("rho", "shift_driven", "seed_driven")


def _driven_truth(case: Case) -> Floats:
    parts = _components_truth(case)
    total = parts.sum(axis=0)
    shares = (parts / np.sqrt(np.outer(np.diag(total), np.diag(total))))[:, *_UPPER]
    return np.concatenate([shares.sum(axis=0), shares[0], shares[1] + shares[2]])


def _explained(read: Callable[[Mechanism], Sequence[Estimate]], plain: bool = False) -> Callable[[Draw], Found]:
    interval = Estimate.interval if plain else fraction_interval
    return lambda draw: _collected([[_ends(part, interval) for part in read(one)] for one in draw.trainings.mechanisms])


def _explained_truth(which: str) -> Callable[[Case], Floats]:
    def truth(case: Case) -> Floats:
        moment, made = case.moment("nominal"), case.mean_response @ HEADS.T
        whole, rest = made + beside(case), beside(case)
        own, predicted = whole.T @ moment @ whole, made.T @ moment @ made
        if which == "matrix":
            return np.atleast_1d(1.0 - np.linalg.norm(own - predicted) / np.linalg.norm(own))
        left = np.diag(rest.T @ moment @ rest)
        if which == "total":
            return np.atleast_1d(1.0 - left.sum() / np.trace(own))
        if which == "slope":
            return np.asarray(np.diag(whole.T @ moment @ made) / np.diag(predicted))
        return np.asarray(1.0 - left / np.diag(own))

    return truth


def _score(name: str) -> Callable[[Draw], Found]:
    which = SCORES.index(name)

    def find(draw: Draw) -> Found:
        found = draw.trainings.scores[:, 0, ..., which]
        return _collected([[_ends(estimate(task)) for task in np.moveaxis(one, -1, 0)] for one in found])

    return find


def _score_truth(name: str) -> Callable[[Case], Floats]:
    which = SCORES.index(name)
    return lambda case: _expected_harm(case)[:, 0, :, which].mean(axis=0)


def _expected_harm(case: Case) -> Floats:
    """Return the harm of many trainings without event noise, (training, arm, task, score)."""
    biases = case.unisim_features() @ expected_trainings(case)
    return harm_of(np.broadcast_to(biases[:, :, None], (*biases.shape[:2], 3, *biases.shape[2:])))[:, :, 0]


def _relative(draw: Draw) -> Found:
    area = draw.trainings.scores[..., SCORES.index("area")]
    return _collected(
        [
            [_ends(relative_robustness(arm, other)) for arm, other in zip(*np.moveaxis(one, -1, 1), strict=True)]
            for one in area
        ]
    )


def _relative_truth(case: Case) -> Floats:
    area = _expected_harm(case)[..., SCORES.index("area")]
    return np.asarray((area[:, 0] - area[:, 1]).mean(axis=0))


def _matched(draw: Draw) -> Found:
    """Compare the harm of two arms, of which one resolves hard and the other easy events better, once matched.

    Harm is half the squared resolution of an event beside noise, the same function for both arms: nothing is left of
    the difference when they are matched. A sample that has no match is not quoted.
    """
    rng = np.random.default_rng((*draw.seed, 4))
    rows = []
    for _ in range(len(draw.nominal)):
        hard = rng.random(_HARD)
        sigma = np.stack([1.4 - 0.3 * hard, 0.7 + 0.8 * hard])
        tails = rng.standard_t(5.0, sigma.shape) * np.sqrt(0.6) if draw.case.heavy else rng.standard_normal(sigma.shape)
        loss = (sigma * tails)[:, :, None] ** 2
        harm = 0.5 * sigma**2 + 0.3 * rng.standard_normal(sigma.shape)
        weights = poisson_weights(np.arange(_HARD), range(1 + REPLICAS), int(rng.integers(2**62)))
        weights[0] = 1.0
        stratum = quantile_strata(hard[:, None], 4)
        try:
            equal = match(loss, stratum, np.arange(_HARD), weights, tasks=["a"]).weights(weights)
        except DataError:
            rows.append([(np.nan,) * 5])
            continue
        rows.append([_ends(estimate(((equal @ (harm[0] - harm[1])) / equal.sum(axis=1))[None]))])
    return _collected(rows)


_SAMPLINGS: Final[tuple[tuple[Sampling, str], ...]] = (
    ("independent", "independent universes"),
    ("pairs", "antithetic pairs"),
)

_OF_COMPONENTS: Final = ("linear", "same side", "heavy-tailed", "few universes", "copied tasks")
"""The others differ from these in nothing that matters for components, which take most of the time."""

_STRETCHED: Final = Note(
    "conservative", "few universes miss what skewed responses rarely do, so the part over universes is stretched"
)
_FEW_SQUARES: Final = Note(
    "conservative", "few large squares lower the degrees of freedom, few small ones do not raise"
)
_LARGEST: Final = Note(
    "short", "the largest of several biases is not a smooth function of them", ("heavy-tailed",), (0.67, 0.93)
)

_FEW_TRAININGS: Final = Note(
    "short",
    "five trainings of what is one task tell badly how much trainings differ; several tasks tell it together",
    ("copied tasks",),
    (0.67, 0.92),
)
_OF_COMPONENT: Final[tuple[tuple[Note, ...], ...]] = ((_FEW_SQUARES,), (), (_FEW_TRAININGS,))
"""What is off about shift, seed and residual."""

_SKEWED: Final = Note(
    "short",
    "the logarithm is skewed over trainings of tasks that hardly correlate",
    ("independent tasks",),
    (0.66, 0.93),
)
_ONE_NUISANCE: Final = Note(
    "conservative", "a task that answers to one nuisance is explained alike in all universes", ("independent tasks",)
)

_OF_NORMS: Final = (
    Note("conservative", "a norm scatters more over few universes than they show, so its error is stretched"),
    Note(
        "short",
        "where tasks hardly correlate a norm is made of products that are small and skewed",
        ("independent tasks",),
        (0.66, 0.93),
    ),
)

_PIVOTED: Final = Note("conservative", "the pivots of Wishart matrices are exact for variances, and long for shares")
_MATCHED: Final = (
    Note("conservative", "a replica is matched anew, with more noise than the sample itself"),
    Note("biased", "one sample in three has no match and is refused, which selects among the rest", ("heavy-tailed",)),
)

OF_TRAININGS: Final = (
    *(
        Estimator(
            f"{label}, {universes}",
            _excess(which, name),
            _excess_truth(name, universes == "unisims"),
            (*notes, _SKEWED) if name == "log_kappa" else notes,
            cases,
        )
        for universes, which, notes, cases in (
            ("unisims", lambda draw: draw.trainings.excess_over_unisims, (), ()),
            (
                "independent universes",
                lambda draw: draw.trainings.excess_over_universes,
                (_STRETCHED,),
                ("linear", "few universes"),
            ),
        )
        for label, name in (("excess correlation", "rho"), ("excess log inflation", "log_kappa"))
    ),
    *(
        Estimator(
            f"{NAMES[kind]} component, {label}",
            _component(kind, sampling),
            lambda case, kind=kind: np.diag(_components_truth(case)[kind]),  # type: ignore[misc]
            _OF_COMPONENT[kind],
            _OF_COMPONENTS,
        )
        for sampling, label in _SAMPLINGS
        for kind in range(len(NAMES))
    ),
    *(
        Estimator(f"correlation by components, {label}", _driven(sampling), _driven_truth, (_PIVOTED,), _OF_COMPONENTS)
        for sampling, label in _SAMPLINGS
    ),
    Estimator(
        "mechanism: covariance explained",
        _explained(lambda one: (one.explained,)),
        _explained_truth("matrix"),
        _OF_NORMS,
    ),
    Estimator(
        "mechanism: bias explained, all tasks",
        _explained(lambda one: (one.explained_total,)),
        _explained_truth("total"),
    ),
    Estimator(
        "mechanism: bias explained, each task",
        _explained(lambda one: one.explained_task),
        _explained_truth("task"),
        (_ONE_NUISANCE,),
    ),
    Estimator("mechanism: slope", _explained(lambda one: one.slope, plain=True), _explained_truth("slope")),
    Estimator("robustness: area |b|", _score("area"), _score_truth("area")),
    Estimator("robustness: worst |b|", _score("worst"), _score_truth("worst"), (_LARGEST,)),
    Estimator("robustness: area, difference of arms", _relative, _relative_truth),
    Estimator(
        "harm of matched arms, difference", _matched, lambda case: np.zeros(1), _MATCHED, ("linear", "heavy-tailed")
    ),
)
"""For these, five trainings of an arm."""
