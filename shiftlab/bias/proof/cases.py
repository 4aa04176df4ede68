"""Synthetic responses with known truth: event by event answers of three tasks to four nuisances, seven ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.covariance import odd_even
from shiftlab.bias.design import Term
from shiftlab.bias.joint_moments import About, Moments, Sampling, joint_moments
from shiftlab.bias.statistic import Floats

__all__ = ["CASES", "MAP_SPREAD", "NUISANCES", "SIGNS", "Case", "Draw", "as_cells", "draw"]

NUISANCES: Final = 4
"""Number of nuisances."""

SIGNS: Final = np.array([1.0, -1.0])
"""Strength of the two universes of a nuisance."""

_ODD: Final = np.array([[0.8, 0.6, 0.1], [0.4, -0.3, 0.7], [0.3, 0.5, 0.5], [0.2, 0.2, -0.4]])
_EVEN: Final = np.array([[0.25, 0.2, 0.0], [0.0, 0.1, 0.15], [0.0, 0.0, 0.0], [0.15, 0.15, 0.15]])
_OWN: Final = np.array([[0.8, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.9], [0.0, 0.0, 0.0]])
"""(nuisance, task): mean responses, in units of the spread of the nominal outputs over events."""

_EVENTS: Final = 250
_SPREAD: Final = 0.3
_JITTER: Final = 0.5
"""Events of a sample; spread of their response, relative to its mean and alike for all tasks; and beside it."""

MAP_SPREAD: Final = 0.3
"""Spread of each task's response over the realisations of a frozen map, normal in all cases."""

_THROWS: Final = 9
_MAP_NOISE: Final = 0.06
"""Realisations of the map, and the event noise of the response to each."""

_UNIVERSE_TAILS: Final = 6.0
_EVENT_TAILS: Final = 5.0
"""Degrees of freedom of Student's t where tails are heavy: a fourth moment, which errors of variances need, exists."""

_ABSOLUTE: Final = float(np.sqrt(2.0 / np.pi))
"""E|z| of a standard normal; E|z|^3 is twice that."""

_FEATURES: TypeAlias = Callable[[Floats], Floats]


def _linear(z: Floats) -> Floats:
    return z


def _with_squares(z: Floats) -> Floats:
    return np.concatenate([z, z**2], axis=-1)


def _stretched(z: Floats) -> Floats:
    return np.asarray(z * (1.0 + 0.5 * np.abs(z[..., :1])), dtype=np.float64)


@dataclass(frozen=True)
class Case:
    """One kind of response: the bias of event e in a universe is features(z) @ response of e.

    Attributes:
        name: Its name.
        meaning: What is special about it.
        response: (feature, task), mean over events.
        features: From nuisances (..., 4) to (..., feature).
        first: (feature,), mean of the features over the nuisances' prior.
        second: (feature,), mean of their squares; different features are uncorrelated.
        universes: Number of joint universes, of each way of drawing.
        heavy: Draw events and nuisances from Student's t, with unit variance.
        copies: (task,), factors if all tasks are multiples of one, event by event; ``response`` has one column then.
    """

    name: str
    meaning: str
    response: Floats
    features: _FEATURES = _linear
    first: Floats = field(default_factory=lambda: np.zeros(NUISANCES))
    second: Floats = field(default_factory=lambda: np.ones(NUISANCES))
    universes: int = 64
    heavy: bool = False
    copies: tuple[float, ...] = ()

    @property
    def mean_response(self) -> Floats:
        """(feature, task), copies made."""
        return self.response * np.array(self.copies) if self.copies else self.response

    def unisim(self) -> Floats:
        """Return the true biases of the one-nuisance universes, (nuisance, sign, task), + first."""
        z = np.eye(NUISANCES)[:, None] * SIGNS[:, None]
        return np.asarray(self.features(z) @ self.mean_response, dtype=np.float64)

    def unisim_covariance(self) -> Floats:
        """Return the sum over nuisances of r r^T + 2 q q^T, (task, task)."""
        up, down = np.moveaxis(self.unisim(), 1, 0)
        odd, even = (up - down) / 2.0, (up + down) / 2.0
        return np.asarray(odd.T @ odd + 2.0 * even.T @ even, dtype=np.float64)

    def joint_covariance(self, about: About) -> Floats:
        """Return the second moment of the biases over the prior, (task, task)."""
        moment = np.diag(self.second - self.first**2)
        if about == "nominal":
            moment = moment + np.outer(self.first, self.first)
        return np.asarray(self.mean_response.T @ moment @ self.mean_response, dtype=np.float64)

    def nuisances(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Return draws of the prior."""
        return _noise(rng, shape, _UNIVERSE_TAILS if self.heavy else None)


_STRETCH: Final = np.full(NUISANCES, 1.25 + _ABSOLUTE)
_STRETCH[0] = 1.75 + 2.0 * _ABSOLUTE  # E z^2 (1 + |z| / 2)^2 = 1 + E|z|^3 + E z^4 / 4
_ZERO_ONE: Final = np.repeat([0.0, 1.0], NUISANCES)
_ONE_THREE: Final = np.repeat([1.0, 3.0], NUISANCES)

CASES: Final = (
    Case("linear", "the bias is proportional to each nuisance", _ODD),
    Case(
        "same side",
        "both signs of a nuisance push the same way: an even part beside the odd one",
        np.concatenate([_ODD, _EVEN]),
        _with_squares,
        _ZERO_ONE,
        _ONE_THREE,
    ),
    Case(
        "heteroscedastic",
        "the first nuisance stretches the response to all, so that the bias scatters more in some universes",
        _ODD,
        _stretched,
        second=_STRETCH,
    ),
    Case("heavy-tailed", "events from Student's t of 5 degrees of freedom, nuisances from that of 6", _ODD, heavy=True),
    Case("few universes", "linear, 16 joint universes of each way of drawing", _ODD, universes=16),
    Case("independent tasks", "each task answers to a nuisance of its own; event noise is shared", _OWN),
    Case("copied tasks", "the second task is twice the first, the third its negative", _ODD[:, :1], copies=(1, 2, -1)),
)
"""The seven cases."""


@dataclass(frozen=True)
class Draw:
    """Pseudo-experiments of one case.

    Attributes:
        case: What they are drawn from.
        nominal: (pseudo-experiment, event, task), outputs in the nominal universe.
        response: (pseudo-experiment, event, feature, task).
        weights: (1 + replica, event), bootstrap weights over their sum; replica 0 the sample itself.
        means: (pseudo-experiment, 1 + replica, feature, task), mean responses.
        z: Nuisances of the joint universes by the way they were drawn, (pseudo-experiment, universe, nuisance).
        maps: (pseudo-experiment, 1 + replica, throw, task), odd response in each realisation of a frozen map.
    """

    case: Case
    nominal: Floats
    response: Floats
    weights: Floats
    means: Floats
    z: Mapping[Sampling, Floats]
    maps: Floats

    @cached_property
    def unisim(self) -> Floats:
        """(pseudo-experiment, 1 + replica, universe, task): +1 and -1 sigma of each nuisance, alternately."""
        z = (np.eye(NUISANCES)[:, None] * SIGNS[:, None]).reshape(-1, NUISANCES)
        return np.asarray(self.case.features(z) @ self.means, dtype=np.float64)

    def joint(self, sampling: Sampling) -> Floats:
        """Return (pseudo-experiment, 1 + replica, universe, task)."""
        return np.asarray(self.case.features(self.z[sampling])[:, None] @ self.means, dtype=np.float64)

    @cached_property
    def unisim_moments(self) -> Moments:
        """Moments of the one-nuisance universes, pseudo-experiments as cells."""
        number, replicas, universes, tasks = self.unisim.shape
        terms = [Term(f"n{k}", (2 * k,), (2 * k + 1,)) for k in range(NUISANCES)]
        parts = odd_even(self.unisim.reshape(-1, universes, tasks), terms)
        total = np.sum([part.covariance for part in parts], axis=0).reshape(number, replicas, tasks, tasks)
        noise = total[:, 1:].mean(axis=1) - total[:, 0]
        none = np.empty((1, 0, number, tasks, tasks))
        freed = np.swapaxes(total[:, 1:] - 2.0 * noise[:, None], 0, 1)
        return Moments((total[:, 0] - noise)[None], total[None, :, 0], none, freed[None])

    @cached_property
    def independent_moments(self) -> Moments:
        """Moments about the mean of single draws, pseudo-experiments as cells."""
        blocks = [(u,) for u in range(self.case.universes)]
        return as_cells(joint_moments(self.joint("independent"), blocks, "independent", "mean"))

    @cached_property
    def pair_moments(self) -> Moments:
        """Moments about nominal of antithetic pairs, pseudo-experiments as cells."""
        blocks = [(u, u + 1) for u in range(0, self.case.universes, 2)]
        return as_cells(joint_moments(self.joint("pairs"), blocks, "pairs", "nominal"))


def as_cells(moments: Moments) -> Moments:
    """Return moments whose seeds were pseudo-experiments, as one seed with an axis of them before the tasks."""
    return Moments(
        moments.estimate[None],
        moments.raw[None],
        np.swapaxes(moments.left_out, 0, 1)[None],
        np.swapaxes(moments.replicas, 0, 1)[None],
        moments.draws,
        moments.about,
    )


def draw(case: Case, number: int, replicas: int, seed: tuple[int, ...]) -> Draw:
    """Return pseudo-experiments: new events and new joint universes in each.

    The bootstrap weights are common to these pseudo-experiments. They act on other events in each, so that what the
    bootstrap scatters from one to the next is what other weights would make.

    Args:
        case: Kind of response.
        number: Pseudo-experiments.
        replicas: Bootstrap replicas.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    tails = _EVENT_TAILS if case.heavy else None
    features, columns = case.response.shape
    shape = (_EVENTS, number, features, columns)
    alike = 1.0 + _SPREAD * _noise(rng, (*shape[:3], 1), tails)
    shared, own = _noise(rng, (*shape[:3], 1), tails), _noise(rng, shape, tails)
    response = case.response * alike + _JITTER * np.sqrt(0.5) * (shared + own)
    nominal = _noise(rng, (_EVENTS, number, columns), tails)
    if case.copies:
        response, nominal = response * np.array(case.copies), nominal * np.array(case.copies)
    weights = poisson_weights(np.arange(_EVENTS), range(1 + replicas), int(rng.integers(2**62)))
    weights[0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    means = np.tensordot(weights, response, axes=1)
    universes = (number, case.universes, NUISANCES)
    half = case.nuisances(rng, (number, case.universes // 2, NUISANCES))
    pairs = np.stack([half, -half], axis=2).reshape(universes)
    return Draw(
        case,
        np.swapaxes(nominal, 0, 1),
        np.swapaxes(response, 0, 1),
        weights,
        np.ascontiguousarray(np.swapaxes(means, 0, 1)),
        {"independent": case.nuisances(rng, universes), "pairs": pairs},
        _maps(case, rng, number, replicas),
    )


def _maps(case: Case, rng: np.random.Generator, number: int, replicas: int) -> Floats:
    """Return the responses in ``_THROWS`` maps, (pseudo-experiment, 1 + replica, throw, task)."""
    columns = case.response.shape[1]
    found = case.response[0] + MAP_SPREAD * rng.standard_normal((number, 1, _THROWS, columns))
    noise = _MAP_NOISE * rng.standard_normal((number, 1 + replicas, _THROWS, columns))
    noise[:, 1:] += noise[:, :1]
    return np.asarray((found + noise) * (np.array(case.copies) if case.copies else 1.0), dtype=np.float64)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], tails: float | None) -> Floats:
    """Return numbers of zero mean and unit variance, normal or Student's t of ``tails`` degrees of freedom."""
    if tails is None:
        return rng.standard_normal(shape)
    return np.asarray(rng.standard_t(tails, shape) * np.sqrt(1.0 - 2.0 / tails), dtype=np.float64)
