"""Variance components: the shift's part told from the training's, unbiased, with intervals that cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.bootstrap import HALF_68, HALF_95, interval
from shiftlab.bias.components import component_table, components, correlation_shares
from shiftlab.errors import DataError

SHIFT = np.array([[1.0, 0.8, 0.2], [0.3, -0.5, 0.4], [0.2, 0.1, 0.6]])
"""(nuisance, task): the response that all trainings share."""

OFFSET = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.5, np.sqrt(0.75)]])
"""Factor of the correlation of the tasks' offsets within a training."""


@dataclass(frozen=True)
class Model:
    """Trainings that scatter about a common linear response.

    Attributes:
        own: Spread of a training's response to each nuisance.
        offset: Spread of a training's offset in all universes.
        alone: Spread of what is independent in every training and universe.
        noise: Event noise of each universe, alike in all trainings.
        universes: Number of universes.
        pairs: Antithetic pairs.
        seeds: Number of trainings.
    """

    own: float = 0.3
    offset: float = 0.2
    alone: float = 0.2
    noise: float = 0.05
    universes: int = 40
    pairs: bool = False
    seeds: int = 5

    def draw(self, rng: np.random.Generator, replicas: int = 30) -> np.ndarray:
        """Return biases (1 + replica, seed, universe, task)."""
        z = rng.standard_normal((self.universes, 3))
        if self.pairs:
            z[1::2] = -z[0::2]
        response = SHIFT + self.own * rng.standard_normal((self.seeds, 3, 3))
        offset = self.offset * rng.standard_normal((self.seeds, 1, 3)) @ OFFSET.T
        bias = 0.3 + z @ response + offset + self.alone * rng.standard_normal((self.seeds, self.universes, 3))
        events = self.noise * rng.standard_normal((1 + replicas, 1, self.universes, 3))
        events[1:] += events[0]
        return np.asarray(bias + events)

    @property
    def truth(self) -> np.ndarray:
        """The components, (3, task, task)."""
        residual = (3.0 * self.own**2 + self.alone**2) * np.eye(3)
        return np.stack([SHIFT.T @ SHIFT, self.offset**2 * OFFSET @ OFFSET.T, residual])


def _coverage(model: Model, experiments: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coverage (level, shift or seed or residual), of rho and its two parts (level, 3), and the mean's pull."""
    truth = model.truth
    total = truth.sum(axis=0)
    norm = np.sqrt(np.outer(np.diag(total), np.diag(total)))[np.triu_indices(3, 1)]
    rho, driven = (matrix[np.triu_indices(3, 1)] / norm for matrix in (total, truth[0]))
    variance, share, found_all = [], [], []
    for trial in range(experiments):
        found = components(model.draw(np.random.default_rng((3, trial))), pairs=model.pairs)
        found_all.append(found.covariance)
        table = correlation_shares(found, ["a", "b", "c"])
        ends = [interval(np.moveaxis(found.variance_draws, 1, -1), half) for half in (HALF_68, HALF_95)]
        diagonal = np.einsum("kaa->ka", truth)
        variance.append([((low <= diagonal) & (diagonal <= np.maximum(0.0, high))).mean(axis=1) for low, high in ends])
        parts = (("rho", rho), ("shift_driven", driven), ("seed_driven", rho - driven))
        share.append(
            [
                [
                    ((table[f"{name}_lo{end}"] <= known) & (known <= table[f"{name}_hi{end}"])).mean()
                    for name, known in parts
                ]
                for end in ("", "95")
            ]
        )
    spread = np.std(found_all, axis=0) / np.sqrt(experiments)
    return np.mean(variance, axis=0), np.mean(share, axis=0), (np.mean(found_all, axis=0) - truth) / spread


@pytest.mark.parametrize("pairs", [False, True])
def test_the_components_are_unbiased_and_their_intervals_cover(pairs: bool) -> None:
    """40 experiments, tasks averaged: 3 binomial errors are at most 0.22 and 0.1."""
    variance, share, pull = _coverage(Model(pairs=pairs), 40)
    assert np.abs(pull).max() < 4.0
    assert (np.abs(variance[0] - 0.683) < 0.2).all()
    assert (np.abs(variance[1] - 0.95) < 0.1).all()
    assert (share[0] > 0.54).all()
    assert (share[1] > 0.87).all()


CASES = {
    "independent universes": Model(),
    "antithetic pairs": Model(pairs=True),
    "one response for all trainings": Model(own=0.0),
    "no offset, much event noise": Model(offset=0.0, noise=0.3),
    "16 universes": Model(universes=16),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_in_two_thousand_experiments(case: str) -> None:
    variance, share, pull = _coverage(CASES[case], 2000)
    print(case, variance.round(3).tolist(), share.round(3).tolist(), np.abs(pull).max().round(1))
    assert np.abs(pull).max() < 4.5
    assert (variance[0] > 0.60).all()
    assert (variance[1] > 0.90).all()
    assert (share[0] > 0.65).all()
    assert (share[1] > 0.93).all()


def test_correlation_that_trainings_drive_is_not_laid_to_the_shift() -> None:
    """Tasks that answer to different nuisances, in trainings whose offsets are copies: rho is the seed's alone."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((200, 2))
    offset = rng.standard_normal((30, 1, 1)) * np.ones(2)
    bias = (z + offset + 0.1 * rng.standard_normal((30, 200, 2)))[None] + 0.01 * rng.standard_normal((21, 1, 1, 1))
    table = correlation_shares(components(bias), ["a", "b"])
    assert abs(table["shift_driven"].iloc[0]) < 0.12
    assert table["seed_driven"].iloc[0] > 0.3
    assert table["rho"].iloc[0] == pytest.approx(table["shift_driven"].iloc[0] + table["seed_driven"].iloc[0])


def test_copied_tasks_that_the_shift_moves_alike_correlate_by_the_shift() -> None:
    z = np.random.default_rng(2).standard_normal((1, 1, 30, 1)) * np.ones((5, 6, 1, 2))
    found = components(z)
    table = correlation_shares(found, ["a", "b"])
    assert table[["rho", "shift_driven"]].to_numpy().ravel().tolist() == pytest.approx([1.0, 1.0])
    assert table["seed_driven"].iloc[0] == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_order_of_trainings_does_not_matter_and_units_scale(seed: int, pairs: bool) -> None:
    rng = np.random.default_rng(seed)
    bias = Model(universes=12, pairs=pairs).draw(rng, 5)
    found = components(bias, pairs=pairs)
    other = components(bias[:, rng.permutation(5)] * np.array([1.0, 10.0, 0.1]), pairs=pairs)
    factor = np.outer([1.0, 10.0, 0.1], [1.0, 10.0, 0.1])
    np.testing.assert_allclose(other.covariance, found.covariance * factor, atol=1e-9)


def test_a_null_shift_has_no_components() -> None:
    found = components(np.zeros((4, 5, 8, 2)))
    assert not found.covariance.any()
    assert not found.variance_draws.any()
    table = component_table(found, ["a", "b"])
    assert not table[["variance", "lo", "hi", "lo95", "hi95"]].to_numpy().any()


def test_few_trainings_claim_nothing() -> None:
    found = components(Model(seeds=3).draw(np.random.default_rng(3)))
    assert not found.claim
    assert component_table(found, ["a", "b", "c"])["flag"].unique().tolist() == ["no claim: 3 seeds, 5 are needed"]
    two = components(Model(seeds=2).draw(np.random.default_rng(4)))
    assert np.isfinite(two.variance_draws).all()


def test_bad_input_is_refused() -> None:
    bias = Model().draw(np.random.default_rng(5), 3)
    with pytest.raises(DataError, match="2 seeds and 3 independent universes"):
        components(bias[:, :1])
    with pytest.raises(DataError, match="3 independent universes or whole pairs"):
        components(bias[:, :, :5], pairs=True)
    bias[0, 1, 2, 0] = np.nan
    with pytest.raises(DataError, match="1 biases are not finite, the first of task 'a', seed number 1"):
        components(bias, tasks=["a", "b", "c"])
