"""Excess correlation: controls with known answers, and the coverage of its intervals on synthetic truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias import Mean, bias
from shiftlab.bias.bootstrap import HALF_68, HALF_95
from shiftlab.bias.covariance import Part, systematic
from shiftlab.bias.excess import (
    EXCESS_COLUMNS,
    excess,
    excess_table,
    joint_rows,
    log_inflation,
    unisim_rows,
)
from shiftlab.errors import DataError

SHARED = np.array([[1.0, 0.9, 0.8, 0.9], [0.2, -0.4, 0.4, 0.1], [0.3, 0.3, 0.5, -0.2], [0.1, 0.2, -0.3, 0.4]])
OWN = np.array([[1.0, 0.3, 0.1, 0.6], [0.2, -0.9, 0.4, 0.1], [0.3, 0.5, 0.9, -0.5], [0.3, 0.2, -0.3, 0.6]])
"""(nuisance, task): responses of an arm whose tasks move much alike, and of one whose tasks do so less."""


@dataclass(frozen=True)
class Arms:
    """Two arms with linear responses; each training scatters about its arm's, events add noise to what is measured.

    Attributes:
        seeds: Trainings per arm.
        universes: Joint universes; 0 = the one-nuisance pairs.
        scatter: Spread of a training's response about its arm's.
        noise: Event noise of each response, half of its variance common to all seeds and arms.
        jitter: Event noise of every universe on its own.
        replicas: Bootstrap replicas.
    """

    seeds: int = 5
    universes: int = 0
    scatter: float = 0.2
    noise: float = 0.05
    jitter: float = 0.0
    replicas: int = 60

    def rows(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (2, seed, 1 + replica, row, task) and the block of each row."""
        arms = np.stack([SHARED, OWN])
        truth = arms[:, None] + self.scatter * rng.standard_normal((2, self.seeds, *SHARED.shape))
        response = (truth + self._events(rng, 1)[:, :, 0])[:, :, None]
        response = np.concatenate([response, response + self._events(rng, self.replicas)], axis=2)
        if not self.universes:
            return response, None
        z = rng.standard_normal((self.universes, len(SHARED)))
        own = self.jitter * rng.standard_normal((2, self.seeds, 1 + self.replicas, self.universes, SHARED.shape[1]))
        own[:, :, 1:] += own[:, :, :1]
        return joint_rows(z @ response + own, [(u,) for u in range(self.universes)])

    def _events(self, rng: np.random.Generator, replicas: int) -> np.ndarray:
        common = rng.standard_normal((1, 1, replicas, *SHARED.shape))
        alone = rng.standard_normal((2, self.seeds, replicas, *SHARED.shape))
        return self.noise * np.sqrt(0.5) * (common + alone)

    def truth(self) -> tuple[float, float]:
        """Return the expected excess and log ratio of kappa, over infinitely many seeds, universes and events."""
        rng = np.random.default_rng(1)
        values = []
        for arm in (SHARED, OWN):
            response = arm + self.scatter * rng.standard_normal((200_000, *arm.shape))
            covariance = np.swapaxes(response, 1, 2) @ response
            root = np.sqrt(np.einsum("saa->sa", covariance))
            rho = covariance / (root[:, :, None] * root[:, None])
            upper = np.triu_indices(arm.shape[1], 1)
            values.append((rho[:, *upper].mean(), log_inflation(covariance, np.ones(arm.shape[1])).mean()))
        return values[0][0] - values[1][0], values[0][1] - values[1][1]


NAMES = ("a", "b", "c", "d")


def _coverage(model: Arms, experiments: int, first: int = 0) -> dict[str, float]:
    """Return shares of 68% and 95% intervals that hold the truth, and mean pulls, of excess and log kappa."""
    truth = model.truth()
    inside: dict[str, list[float]] = {}
    for trial in range(experiments):
        rows, block = model.rows(np.random.default_rng((7, first + trial)))
        found = excess(rows, NAMES, block=block)
        for name, value, known in (("rho", found.rho, truth[0]), ("kappa", found.log_kappa, truth[1])):
            inside.setdefault(f"{name} pull", []).append((value.value - known) / value.error)
            for label, half in (("68", HALF_68), ("95", HALF_95)):
                low, high = value.interval(half)
                inside.setdefault(f"{name} {label}", []).append(low <= known <= high)
    return {name: float(np.mean(values)) for name, values in inside.items()}


CASES = {
    "catalogue, seeds matter most": Arms(),
    "catalogue, events matter most": Arms(scatter=0.0, noise=0.1),
    "32 joint universes": Arms(universes=32),
    "24 joint universes with noise of their own": Arms(universes=24, jitter=0.3),
    "64 joint universes, no scatter": Arms(universes=64, scatter=0.0),
}


@pytest.mark.parametrize("case", list(CASES)[:2])
def test_intervals_cover_the_truth(case: str) -> None:
    """60 experiments: 3 binomial errors are 0.18 and 0.08."""
    shares = _coverage(CASES[case], 60)
    for name in ("rho", "kappa"):
        assert shares[f"{name} 68"] == pytest.approx(0.683, abs=0.18)
        assert shares[f"{name} 95"] == pytest.approx(0.95, abs=0.08)
        assert abs(shares[f"{name} pull"]) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth_in_two_thousand_experiments(case: str) -> None:
    shares = _coverage(CASES[case], 2000)
    print(case, shares)
    for name in ("rho", "kappa"):
        assert 0.65 < shares[f"{name} 68"] < 0.77
        assert 0.93 < shares[f"{name} 95"] < 0.98


def _two(one: np.ndarray, other: np.ndarray, seeds: int = 5) -> np.ndarray:
    """Return rows of two arms, alike in all seeds, with event noise far below the response."""
    rng = np.random.default_rng(0)
    whole = np.stack([one, other])[:, None, None] * np.ones((1, seeds, 1, 1, 1))
    return whole * (1.0 + 1e-4 * rng.standard_normal((2, seeds, 21, 1, 1)))


def test_copied_tasks_have_rho_1_independent_ones_0_and_the_excess_is_the_difference() -> None:
    found = excess(_two(np.ones((3, 3)), np.eye(3)), ["a", "b", "c"])
    assert found.arm_rho.value == pytest.approx(1.0, abs=1e-6)
    assert found.minus_rho.value == pytest.approx(0.0, abs=1e-6)
    assert found.rho.value == pytest.approx(1.0, abs=1e-6)
    assert found.log_kappa.value == pytest.approx(np.log(3.0), abs=1e-6)
    assert found.pairs == 3
    assert found.flag == ""


def test_an_arm_has_no_excess_over_itself_and_the_baseline_is_not_zero() -> None:
    rows = _two(SHARED, SHARED)
    rows[1] = rows[0]
    found = excess(rows, NAMES)
    assert found.rho.value == 0.0
    assert found.rho.interval(HALF_95) == (0.0, 0.0)
    assert found.minus_rho.value > 0.5


def test_independent_tasks_in_independent_universes_do_not_correlate() -> None:
    rng = np.random.default_rng(1)
    displacement = rng.standard_normal((2, 5, 1, 64, 4)) * np.ones((1, 1, 31, 1, 1))
    displacement[:, :, 1:] += 0.05 * rng.standard_normal(displacement[:, :, 1:].shape)
    rows, block = joint_rows(displacement, [(u,) for u in range(64)])
    found = excess(rows, NAMES, block=block)
    for one in (found.arm_rho, found.minus_rho, found.rho):
        assert abs(one.value) < 4.0 * one.error
        assert one.error < 0.05
    assert found.blocks == 64


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_exchanging_the_arms_changes_the_sign(seed: int) -> None:
    rows, _ = Arms(replicas=8).rows(np.random.default_rng(seed))
    one, other = excess(rows, NAMES), excess(rows[::-1], NAMES)
    assert one.rho.value == pytest.approx(-other.rho.value, abs=1e-12)
    assert one.log_kappa.value == pytest.approx(-other.log_kappa.value, abs=1e-12)
    assert one.rho.error == pytest.approx(other.rho.error, rel=1e-9)


@given(st.booleans(), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_rows_of_one_nuisance_universes_add_up_to_their_covariance(one_sided: bool, throws: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    odd, even = rng.standard_normal((2, 4, throws, 3))
    part = Part("a", odd, np.zeros_like(even) if one_sided else even, one_sided, one_sided)
    rows = unisim_rows([part, part])
    np.testing.assert_allclose(np.swapaxes(rows, 1, 2) @ rows, 2.0 * part.covariance, atol=1e-10)


def test_the_estimate_is_that_of_the_debiased_covariances() -> None:
    rows, _ = Arms().rows(np.random.default_rng(3))
    found = excess(rows, NAMES)
    upper = np.triu_indices(4, 1)
    rho = [[systematic(np.swapaxes(one, 1, 2) @ one).rho()[0][upper].mean() for one in arm] for arm in rows]
    assert found.rho.value == pytest.approx(np.mean(rho[0]) - np.mean(rho[1]), abs=1e-9)


def test_fewer_than_five_seeds_claim_nothing_and_the_table_says_so() -> None:
    rows, _ = Arms(seeds=3).rows(np.random.default_rng(4))
    found = excess(rows, NAMES)
    table = excess_table(found, "foundation", "scratch", [0, 1, 2])
    assert not found.claim
    assert table["seed"].tolist() == [0, 1, 2, "all"]
    assert table["flag"].iloc[-1] == "no claim: 3 seeds, 5 are needed"
    assert set(table.columns) == set(EXCESS_COLUMNS)
    shares = table[["share_events", "share_universes", "share_seeds"]].iloc[-1]
    assert shares.sum() == pytest.approx(1.0)


def test_the_columns_hold_those_of_the_simple_table(toys: Any) -> None:
    rows = [toys.nominal, *toys.unisims(["a", "b"])]
    model = toys.linear(rows, np.array([[0.2, 0.1], [0.1, 0.2]]), np.zeros((2, 2)), 200)
    simple = bias(model.responses(0), tasks={"t0": Mean(), "t1": Mean()}, replicas=20).excess
    assert set(simple.columns) <= set(EXCESS_COLUMNS)


def test_a_task_of_mostly_noise_is_left_out_by_name() -> None:
    rng = np.random.default_rng(5)
    rows, _ = Arms(scatter=0.0, noise=0.01).rows(rng)
    rows[1, :, 0, :, 2] *= 0.01
    rows[1, :, 1:, :, 2] = rows[1, :, :1, :, 2] + 0.5 * rng.standard_normal(rows[1, :, 1:, :, 2].shape)
    found = excess(rows, NAMES)
    assert found.unreliable == ("c",)
    assert found.pairs == 3


def test_bad_rows_are_refused() -> None:
    rows, _ = Arms(replicas=4).rows(np.random.default_rng(6))
    with pytest.raises(DataError, match="2 arms"):
        excess(rows[:1], NAMES)
    with pytest.raises(DataError, match="3 names"):
        excess(rows, NAMES[:3])
    rows[1, 2, 0, 3, 1] = np.nan
    with pytest.raises(DataError, match="task 'b', arm 1, seed number 2"):
        excess(rows, NAMES)
    with pytest.raises(DataError, match="one size"):
        joint_rows(rows[0, 0], [(0, 1), (2,)])
