"""Pseudo-experiments of two arms with five trainings each, on the events and universes of a draw, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.components import Components, component_table, components, correlation_shares
from shiftlab.bias.covariance import Part
from shiftlab.bias.excess import Excess, excess, joint_rows, unisim_rows
from shiftlab.bias.mechanism import Mechanism, mechanism
from shiftlab.bias.robustness import response_curve, scores
from shiftlab.bias.statistic import Floats

if TYPE_CHECKING:
    from shiftlab.bias.joint_moments import Sampling
    from shiftlab.bias.proof.cases import Case, Draw

__all__ = [
    *("ALONE", "HALVES", "HEADS", "OFFSET", "REPLICAS", "SCATTER", "SEEDS", "Trainings"),
    *("beside", "expected_trainings", "harm_of"),
]

SEEDS: Final = 5
"""Trainings of each arm, the fewest from which anything is claimed."""

SCATTER: Final = 0.15
OFFSET: Final = 0.2
ALONE: Final = 0.15
"""Spread of a training's response about its arm's, of its offset in all universes, and of what it does in one alone."""

_NOISE: Final = 0.03
"""Event noise of a training's response, beside what all trainings have from the same events."""

REPLICAS: Final = 40
"""Replicas used: errors over trainings need no more."""

_SPARE: Final = 5_000
"""Trainings from which what is expected over trainings is drawn."""

HEADS: Final = np.array([[1.0, 0.4, -0.2], [0.3, 0.9, 0.3], [-0.2, 0.5, 1.0]])
"""(task, feature), weights of the heads on the features of a body, where one is put to the test."""

_BESIDE: Final = 0.3
"""Share of the response that no feature carries."""

HALVES: Final = (HALF_68, HALF_95)
"""Half the probability of the intervals."""


def _arms(case: Case) -> Floats:
    """Return (arm, feature, task): the case's own response, and one whose tasks answer to nuisances turned round."""
    first = case.mean_response
    if case.copies:
        return np.stack([first, first])
    four = first.reshape(-1, 4, first.shape[1])
    turned = np.stack([np.roll(four[..., task], task, axis=1) for task in range(first.shape[1])], axis=-1)
    return np.stack([first, turned.reshape(first.shape)])


def _scattered(case: Case, rng: np.random.Generator, number: int, seeds: int = 1) -> Floats:
    """Return the responses of trainings, (number, arm, seed, feature, task)."""
    columns = 1 if case.copies else case.response.shape[1]
    shape = (number, 2, seeds, len(case.response), columns)
    scatter = SCATTER * rng.standard_normal(shape) * np.array(case.copies or (1.0,))
    return np.asarray(_arms(case)[:, None] + scatter, dtype=np.float64)


def beside(case: Case) -> Floats:
    """Return the response that no feature carries, (feature, task)."""
    return np.asarray(_BESIDE * np.roll(case.mean_response, 1, axis=0))


def harm_of(biases: Floats) -> Floats:
    """Return scores (..., 1 + replica, task, score) of biases (..., 1 + replica, universe, task)."""
    strength = np.array([1.0, -1.0])
    curves = [response_curve(strength, biases[..., k : k + 2, :]) for k in range(0, biases.shape[-2], 2)]
    return scores(curves, harm=["size"] * biases.shape[-1])


@dataclass(frozen=True)
class Trainings:
    """Two arms of five trainings each.

    Attributes:
        draw: The events and universes.
        response: (pseudo-experiment, arm, seed, 1 + replica, feature, task), mean over events as measured.
        offset: (pseudo-experiment, seed, task), what a training of the first arm does in all universes.
        alone: (pseudo-experiment, seed, universe, task), and in one.
    """

    draw: Draw
    response: Floats
    offset: Floats
    alone: Floats

    @classmethod
    def of(cls, draw: Draw) -> Trainings:
        """Return the trainings on the events of a draw."""
        case, number = draw.case, len(draw.nominal)
        rng = np.random.default_rng((*draw.seed, 2))
        copies = np.array(case.copies or (1.0,))
        columns = 1 if case.copies else case.response.shape[1]
        true = _scattered(case, rng, number, SEEDS)
        events = (draw.means[:, : 1 + REPLICAS] - case.mean_response)[:, None, None]
        own = _NOISE * rng.standard_normal((number, 2, SEEDS, events.shape[3], len(case.response), columns))
        own[:, :, :, 1:] += own[:, :, :, :1]
        offset = OFFSET * rng.standard_normal((number, SEEDS, columns)) * copies
        alone = ALONE * rng.standard_normal((number, SEEDS, case.universes, columns)) * copies
        return cls(draw, true[:, :, :, None] + events + own * copies, offset, alone)

    @cached_property
    def excess_over_unisims(self) -> list[Excess]:
        """Excess correlation of the first arm from one-nuisance universes, per pseudo-experiment."""
        return [excess(self._rows(one), _names(one)) for one in self.response]

    @cached_property
    def excess_over_universes(self) -> list[Excess]:
        """The same from independent joint universes, about nominal."""
        found = []
        blocks = [(u,) for u in range(self.draw.case.universes)]
        for one, z in zip(self.response, self.draw.z["independent"], strict=True):
            rows, block = joint_rows(self.draw.case.features(z) @ one, blocks)
            found.append(excess(rows, _names(one), block=block))
        return found

    def _rows(self, response: Floats) -> Floats:
        biases = self.unisim(response)
        shape = biases.shape[:3]
        odd, even = (
            (biases[..., 0::2, :] - biases[..., 1::2, :]) / 2.0,
            (biases[..., 0::2, :] + biases[..., 1::2, :]) / 2.0,
        )
        parts = [
            [
                Part(str(k), odd[a, s, :, k : k + 1], even[a, s, :, k : k + 1], mirrored=False)
                for k in range(odd.shape[3])
            ]
            for a, s in np.ndindex(*shape[:2])
        ]
        return np.stack([unisim_rows(each) for each in parts]).reshape(*shape, -1, biases.shape[-1])

    def unisim(self, response: Floats) -> Floats:
        """Return (..., universe, task) of responses (..., feature, task), +1 and -1 sigma alternately."""
        return np.asarray(self.draw.case.unisim_features() @ response, dtype=np.float64)

    @cached_property
    def component_tables(self) -> dict[Sampling, list[pd.DataFrame]]:
        """Variance components of the first arm's biases by the way universes are drawn, per pseudo-experiment."""
        names = _names(self.response)
        return {key: [component_table(one, names) for one in found] for key, found in self._components.items()}

    @cached_property
    def correlation_tables(self) -> dict[Sampling, list[pd.DataFrame]]:
        """The tasks' correlations split by component, likewise."""
        names = _names(self.response)
        return {key: [correlation_shares(one, names) for one in found] for key, found in self._components.items()}

    @cached_property
    def _components(self) -> dict[Sampling, list[Components]]:
        return {sampling: [self._split(n, sampling) for n in range(len(self.response))] for sampling in self.draw.z}

    @cached_property
    def scores(self) -> Floats:
        """Scores of both arms, (pseudo-experiment, arm, seed, 1 + replica, task, score)."""
        return harm_of(self.unisim(self.response))

    @cached_property
    def mechanisms(self) -> list[Mechanism]:
        """Heads against features whose displacements are the draw's biases, per pseudo-experiment."""
        draw, found = self.draw, []
        rng = np.random.default_rng((*draw.seed, 3))
        displacement = draw.joint("independent")[:, : 1 + REPLICAS]
        for features, z in zip(displacement, draw.z["independent"], strict=True):
            noise = _NOISE * rng.standard_normal((len(features), *draw.case.mean_response.shape))
            noise[1:] += noise[0]
            bias = features @ HEADS.T + draw.case.features(z) @ (beside(draw.case) + noise)
            found.append(mechanism(bias, features, HEADS, block=np.arange(len(z))))
        return found

    def _split(self, place: int, sampling: Sampling) -> Components:
        bias = self.draw.case.features(self.draw.z[sampling][place]) @ self.response[place, 0]
        bias = bias + self.offset[place, :, None, None] + self.alone[place, :, None]
        return components(np.swapaxes(bias, 0, 1), pairs=sampling == "pairs", seed=place)


def _names(response: Floats) -> list[str]:
    return [f"t{task}" for task in range(response.shape[-1])]


def expected_trainings(case: Case) -> Floats:
    """Return the true responses of many trainings, (training, arm, feature, task)."""
    return _scattered(case, np.random.default_rng(0), _SPARE)[:, :, 0]
