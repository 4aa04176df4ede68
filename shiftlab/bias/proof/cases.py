"""Synthetic responses with known truth: event by event answers of three tasks to four nuisances, eight ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.covariance import odd_even
from shiftlab.bias.design import Term
from shiftlab.bias.joint_moments import About, Moments, Sampling, joint_moments
from shiftlab.bias.statistic import Floats

if TYPE_CHECKING:
    from shiftlab.bias.proof.trainings import Trainings

__all__ = [
    "CASES",
    "EVENTS",
    "MAP_SPREAD",
    "NUISANCES",
    "Case",
    "Draw",
    "as_cells",
    "draw",
    "event_spread",
    "sample_of_events",
]

NUISANCES: Final = 4
"""Number of nuisances."""

SIGNS: Final = np.array([1.0, -1.0])
"""Strength of the two universes of a nuisance."""

_ODD: Final = np.array([[0.8, 0.6, 0.1], [0.4, -0.3, 0.7], [0.3, 0.5, 0.5], [0.2, 0.2, -0.4]])
_EVEN: Final = np.array([[0.25, 0.2, 0.0], [0.0, 0.1, 0.15], [0.0, 0.0, 0.0], [0.15, 0.15, 0.15]])
_OWN: Final = np.array([[0.8, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.9], [0.0, 0.0, 0.0]])
"""(nuisance, task): mean responses, in units of the spread of the nominal outputs over events."""

EVENTS: Final = 250
"""Events of a sample."""

_SPREAD: Final = 0.3
_JITTER: Final = 0.5
"""Spread of the events' response, relative to its mean and alike for all tasks; and beside it."""

MAP_SPREAD: Final = 0.3
"""Spread of each task's response over the realisations of a frozen map, normal in all cases."""

_THROWS: Final = 9
_MAP_NOISE: Final = 0.06
"""Realisations of the map, and the event noise of the response to each."""

_UNIVERSE_TAILS: Final = 6.0
_EVENT_TAILS: Final = 5.0
"""Degrees of freedom of Student's t where tails are heavy: a fourth moment, which errors of variances need, exists."""

_JOINT: Final[tuple[Sampling, ...]] = ("independent", "pairs")
"""Ways in which joint universes are drawn."""

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
        own: Error of a bias from event noise that each universe has of its own, as if random numbers were not shared:
            in one-nuisance and in joint universes.
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
    own: tuple[float, float] = (0.0, 0.0)
    copies: tuple[float, ...] = ()

    @property
    def mean_response(self) -> Floats:
        """(feature, task), copies made."""
        return self.response * np.array(self.copies) if self.copies else self.response

    def unisim(self) -> Floats:
        """Return the true biases of the one-nuisance universes, (nuisance, sign, task), + first."""
        found = self.unisim_features() @ self.mean_response
        return np.asarray(found.reshape(NUISANCES, 2, -1), dtype=np.float64)

    def unisim_features(self) -> Floats:
        """Return the features of the one-nuisance universes, +1 and -1 sigma alternately, (universe, feature)."""
        return self.features((np.eye(NUISANCES)[:, None] * SIGNS[:, None]).reshape(-1, NUISANCES))

    def unisim_covariance(self) -> Floats:
        """Return the sum over nuisances of r r^T + 2 q q^T, (task, task)."""
        up, down = np.moveaxis(self.unisim(), 1, 0)
        odd, even = (up - down) / 2.0, (up + down) / 2.0
        return np.asarray(odd.T @ odd + 2.0 * even.T @ even, dtype=np.float64)

    def moment(self, about: About) -> Floats:
        """Return the second moment of the features over the prior, (feature, feature)."""
        moment = np.diag(self.second - self.first**2)
        if about == "nominal":
            moment = moment + np.outer(self.first, self.first)
        return np.asarray(moment, dtype=np.float64)

    def joint_covariance(self, about: About) -> Floats:
        """Return the second moment of the biases over the prior, (task, task)."""
        return np.asarray(self.mean_response.T @ self.moment(about) @ self.mean_response, dtype=np.float64)

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
    Case(
        "noisy universes",
        "linear, 32 joint universes; each universe has event noise of its own: a fifth of the raw variance",
        _ODD,
        universes=32,
        own=(0.2, 0.4),
    ),
    Case("copied tasks", "the second task is twice the first, the third its negative", _ODD[:, :1], copies=(1, 2, -1)),
)
"""The eight cases."""


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
        own: Further displacement of each event in the one-nuisance universes, (pseudo-experiment, universe, event,
            task); no universe where there is none.
        joint_own: The same averaged over events, in the joint universes by the way they were drawn,
            (pseudo-experiment, 1 + replica, universe, task).
        seed: Of everything; more can be drawn from it.
    """

    case: Case
    nominal: Floats
    response: Floats
    weights: Floats
    means: Floats
    z: Mapping[Sampling, Floats]
    maps: Floats
    own: Floats
    joint_own: Mapping[Sampling, Floats]
    seed: tuple[int, ...]

    @cached_property
    def moved(self) -> Floats:
        """(pseudo-experiment, universe, event, task): displacement of each event, +1 and -1 sigma alternately."""
        moved = np.einsum("uf,peft->puet", self.case.unisim_features(), self.response, optimize=True)
        return np.asarray(moved + self.own if self.own.size else moved, dtype=np.float64)

    @cached_property
    def unisim(self) -> Floats:
        """(pseudo-experiment, 1 + replica, universe, task): +1 and -1 sigma of each nuisance, alternately."""
        found = self.case.unisim_features() @ self.means
        if self.own.size:
            found += np.swapaxes(self.weights @ self.own, 1, 2)
        return np.asarray(found, dtype=np.float64)

    def joint(self, sampling: Sampling) -> Floats:
        """Return (pseudo-experiment, 1 + replica, universe, task)."""
        found = self.case.features(self.z[sampling])[:, None] @ self.means
        return np.asarray(found + self.joint_own[sampling] if self.own.size else found, dtype=np.float64)

    @cached_property
    def unisim_moments(self) -> Moments:
        """Moments of the one-nuisance universes, pseudo-experiments as cells."""
        number, replicas, universes, tasks = self.unisim.shape
        terms = [Term(f"n{k}", (2 * k,), (2 * k + 1,)) for k in range(NUISANCES)]
        parts = odd_even(self.unisim.reshape(-1, universes, tasks), terms)
        total = np.sum([part.covariance for part in parts], axis=0).reshape(number, replicas, tasks, tasks)
        noise = total[:, 1:].mean(axis=1) - total[:, 0]
        none, crossed = np.empty((1, 0, number, tasks, tasks)), np.empty((1, 0, 0, number, tasks, tasks))
        freed = np.swapaxes(total[:, 1:] - 2.0 * noise[:, None], 0, 1)
        return Moments((total[:, 0] - noise)[None], total[None, :, 0], none, freed[None], crossed)

    @cached_property
    def trainings(self) -> Trainings:
        """Two arms of five trainings each on these events."""
        from shiftlab.bias.proof.trainings import Trainings

        return Trainings.of(self)

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
        np.moveaxis(moments.crossed, 0, 2)[None],
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
    nominal, response = _events(case, rng, (EVENTS, number))
    weights = poisson_weights(np.arange(EVENTS), range(1 + replicas), int(rng.integers(2**62)))
    weights[0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    means = np.tensordot(weights, response, axes=1)
    universes = (number, case.universes, NUISANCES)
    own, joint_own = _own(case, rng, number, weights)
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
        own,
        joint_own,
        seed,
    )


def _events(case: Case, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return nominal outputs (..., task) and responses (..., feature, task) of events."""
    tails = _EVENT_TAILS if case.heavy else None
    features, columns = case.response.shape
    alike = 1.0 + _SPREAD * _noise(rng, (*shape, features, 1), tails)
    shared, own = _noise(rng, (*shape, features, 1), tails), _noise(rng, (*shape, features, columns), tails)
    response = case.response * alike + _JITTER * np.sqrt(0.5) * (shared + own)
    nominal = _noise(rng, (*shape, columns), tails)
    copies = np.array(case.copies or (1.0,))
    return np.asarray(nominal * copies), np.asarray(response * copies)


def event_spread(case: Case) -> Floats:
    """Return the spread over events of the displacement in each one-nuisance universe, (universe, task)."""
    per_feature = ((_SPREAD * case.response) ** 2 + _JITTER**2) * np.array(case.copies or (1.0,)) ** 2
    variance = case.unisim_features() ** 2 @ per_feature
    return np.asarray(np.sqrt(variance + EVENTS * case.own[0] ** 2))


def sample_of_events(case: Case, number: int, universes: int) -> tuple[Floats, Floats]:
    """Return nominal outputs (event, 1, task) of many events and displacements (event, universe, task) in the first."""
    nominal, response = _events(case, np.random.default_rng(0), (number, 1))
    moved = np.einsum("uf,eft->eut", case.unisim_features()[:universes], response[:, 0], optimize=True)
    return nominal, np.asarray(moved)


def _own(case: Case, rng: np.random.Generator, number: int, weights: Floats) -> tuple[Floats, dict[Sampling, Floats]]:
    """Return event noise of each universe's own, per event for one nuisance and averaged for joint universes."""
    columns = case.response.shape[1]
    if not any(case.own):
        return np.empty((number, 0, EVENTS, columns)), {}
    few, many = (error * np.sqrt(EVENTS) for error in case.own)
    events = few * rng.standard_normal((number, 2 * NUISANCES, EVENTS, columns))
    joint: dict[Sampling, Floats] = {}
    for sampling in _JOINT:
        noise = many * rng.standard_normal((number, case.universes, EVENTS, columns))
        joint[sampling] = np.swapaxes(weights @ noise, 1, 2)
    return events, joint


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
