"""Covariance algebra of one-nuisance universes against closed forms, an independent code and known noise."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shiftlab.bias import Mean, bias
from shiftlab.bias.covariance import correlation, nearest_psd, odd_even, second_moments, systematic
from shiftlab.bias.design import Term

ORACLE = Path(__file__).parents[1] / "oracles" / "universe_covariance.csv"
CENTRAL = np.array([100.0, 200.0, 50.0, 10.0])
PAIRS = {
    "symmetric": ([110.0, 190.0, 50.0, 12.0], [90.0, 210.0, 50.0, 8.0]),
    "asymmetric": ([110.0, 190.0, 55.0, 12.0], [95.0, 198.0, 50.0, 9.0]),
    "one_sided_both_up": ([110.0, 210.0, 55.0, 12.0], [104.0, 202.0, 51.0, 11.0]),
}
PAIR = Term("a", (1,), (2,))


def _displacement(up: list[float], down: list[float]) -> np.ndarray:
    """Bias of nominal, up and down; (1 replica, universe, task)."""
    return np.stack([CENTRAL, np.array(up), np.array(down)])[None] - CENTRAL


def test_moments_of_a_pair_agree_with_mat() -> None:
    lines = [line for line in ORACLE.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert len(rows) == 24
    for row in rows:
        about_nominal, about_mean = second_moments(_displacement(*PAIRS[row["case"]])[0, 1:])
        i, j = int(row["i"]), int(row["j"])
        assert about_mean[i, j] == pytest.approx(float(row["cov_about_mean"]), rel=1e-12, abs=1e-12)
        assert about_nominal[i, j] == pytest.approx(float(row["cov_about_cv"]), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("case", sorted(PAIRS))
def test_the_bias_step_meets_mat(toys: Any, case: str) -> None:
    """The same numbers as the means of four heads over events: R R^T about the mean, R R^T + Q Q^T about nominal."""
    scatter = np.random.default_rng(0).standard_normal((4, 1, 64))
    means = np.stack([CENTRAL, *(np.array(side) for side in PAIRS[case])], axis=1)
    outputs = means[:, :, None] + scatter - scatter.mean(axis=2, keepdims=True)
    names = [f"t{i}" for i in range(4)]
    rows = [toys.nominal, *toys.unisims(["a"])]
    store = {name: toys.dataset(one[None, None, :, :, None], rows) for name, one in zip(names, outputs, strict=True)}
    found = bias(SimpleNamespace(datasets=store), tasks={name: Mean() for name in names}, replicas=4)
    sigma = found.table.groupby("task")["sigma_data"].first()[names].to_numpy()
    odd, even = (found.unisims[side].to_numpy() * sigma for side in ("odd", "even"))
    lines = [line for line in ORACLE.read_text().splitlines() if not line.startswith("#")]
    rows_of_case = [row for row in csv.DictReader(lines) if row["case"] == case]
    assert len(rows_of_case) == 8
    for row in rows_of_case:
        i, j = int(row["i"]), int(row["j"])
        assert odd[i] * odd[j] == pytest.approx(float(row["cov_about_mean"]), rel=1e-9, abs=1e-9)
        assert odd[i] * odd[j] + even[i] * even[j] == pytest.approx(float(row["cov_about_cv"]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", sorted(PAIRS))
def test_odd_and_even_parts_hold_the_same_second_moment_as_the_pair(case: str) -> None:
    displacement = _displacement(*PAIRS[case])
    (part,) = odd_even(displacement, [PAIR])
    about_nominal, _ = second_moments(displacement[0, 1:])
    outer = part.odd[0].T @ part.odd[0] + part.even[0].T @ part.even[0]
    np.testing.assert_allclose(outer, about_nominal, rtol=1e-12)


@given(arrays(np.float64, (2, 3), elements=st.floats(-5, 5)), arrays(np.float64, (2, 3), elements=st.floats(-5, 5)))
def test_covariance_is_that_of_a_quadratic_response_to_normal_nuisances(odd: np.ndarray, even: np.ndarray) -> None:
    """R R^T + 2 Q Q^T against Gauss-Hermite quadrature, exact for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    first, second = (axis.ravel() for axis in np.meshgrid(nodes, nodes))
    weight = np.outer(weights, weights).ravel() / weights.sum() ** 2
    bias = np.stack([first, second], 1) @ odd + np.stack([first, second], 1) ** 2 @ even
    centred = bias - weight @ bias
    universes = np.concatenate([np.zeros((1, 3)), *((s * odd[k] + even[k])[None] for k in range(2) for s in (1, -1))])
    parts = odd_even(universes[None], [Term("a", (1,), (2,)), Term("b", (3,), (4,))])
    total = np.sum([part.covariance[0] for part in parts], axis=0)
    np.testing.assert_allclose(total, (centred * weight[:, None]).T @ centred, atol=1e-9)


def test_a_purely_even_response_has_no_odd_part_and_counts_twice() -> None:
    displacement = _displacement([103.0, 201.0, 50.0, 10.0], [103.0, 201.0, 50.0, 10.0])
    (part,) = odd_even(displacement, [PAIR])
    assert not part.odd.any()
    np.testing.assert_allclose(part.covariance[0], 2.0 * np.outer([3, 1, 0, 0], [3, 1, 0, 0]))


def test_throws_of_one_frozen_map_are_averaged_and_the_spread_of_their_means_added_once() -> None:
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((4, 2, 3))
    displacement = np.concatenate([np.zeros((1, 3)), responses.reshape(8, 3)])[None]
    throws = Term("map", (1, 3, 5, 7), (2, 4, 6, 8))
    (together,) = odd_even(displacement, [throws])
    single = [odd_even(displacement, [Term("map", (1 + 2 * t,), (2 + 2 * t,))])[0].covariance for t in range(4)]
    even = responses.mean(axis=1)
    np.testing.assert_allclose(together.covariance[0], np.mean(single, axis=0)[0] + np.cov(even.T))
    np.testing.assert_allclose(together.mean_covariance[0], np.cov(even.T) / 4)


@pytest.mark.parametrize(("term", "expected"), [(Term("a", (1,), (-1,)), 10.0), (Term("a", (-1,), (1,)), -10.0)])
def test_a_one_sided_nuisance_is_mirrored_and_flagged(term: Term, expected: float) -> None:
    (part,) = odd_even(_displacement(*PAIRS["symmetric"]), [term])
    assert part.mirrored
    assert part.odd[0, 0, 0] == expected
    assert not part.even.any()


def test_a_parameter_that_exists_on_one_side_only_has_the_moments_of_a_folded_normal() -> None:
    """With b = d |z|: covariance about the mean 0.363 d d^T, second moment about nominal d d^T (drawn, 400,000 z)."""
    (part,) = odd_even(_displacement(*PAIRS["symmetric"]), [Term("a", (1,), (-1,), one_sided=True)])
    d = part.odd[0, 0]
    drawn = np.abs(np.random.default_rng(3).standard_normal(400_000))[:, None] * d
    np.testing.assert_allclose(part.covariance[0], 0.363380 * np.outer(d, d), rtol=1e-5)
    np.testing.assert_allclose(part.covariance[0], np.cov(drawn.T, bias=True), rtol=0.01)
    mean = part.mean[0]
    np.testing.assert_allclose(mean, drawn.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(part.covariance[0] + np.outer(mean, mean), np.outer(d, d), rtol=1e-12)


SYMMETRIC = arrays(np.float64, (4, 4), elements=st.floats(-3, 3)).map(lambda m: m + m.T)


@given(SYMMETRIC, st.lists(st.floats(0.01, 100.0), min_size=4, max_size=4))
def test_projection_is_positive_and_does_not_depend_on_units(matrix: np.ndarray, units: list[float]) -> None:
    scale = np.abs(np.diag(matrix)) + 1.0
    projected = nearest_psd(matrix, scale)
    assert np.linalg.eigvalsh(projected).min() > -1e-9
    np.testing.assert_allclose(nearest_psd(projected, scale), projected, atol=1e-9)
    factor = np.outer(units, units)
    changed = nearest_psd(matrix * factor, scale * np.square(units))
    np.testing.assert_allclose(changed / factor, projected, atol=1e-8)


def test_correlation_of_a_task_that_does_not_move_is_undefined() -> None:
    rho = correlation(np.diag([4.0, 0.0]))
    assert rho[0, 0] == 1.0
    assert np.isnan(rho[0, 1])
    assert np.isnan(rho[1, 1])


def _noisy(rng: np.random.Generator, truth: np.ndarray, noise: np.ndarray, replicas: int) -> np.ndarray:
    """One experiment and its bootstrap replicas, (1 + replica, universe, task): nominal, then pairs."""
    sides = np.stack([truth, -truth], axis=1).reshape(-1, truth.shape[1])
    root = np.linalg.cholesky(noise)
    measured = sides + rng.standard_normal(sides.shape) @ root.T
    redrawn = measured + rng.standard_normal((replicas, *sides.shape)) @ root.T
    every = np.concatenate([measured[None], redrawn])
    return np.concatenate([np.zeros((replicas + 1, 1, truth.shape[1])), every], axis=1)


def test_debiasing_removes_the_correlation_that_shared_event_noise_fakes() -> None:
    """Two tasks that answer to different nuisances; their events are the same, with noise correlation 0.9."""
    rng = np.random.default_rng(11)
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.0], [0.0, 0.8]])
    noise = 0.3 * np.array([[1.0, 0.9], [0.9, 1.0]])
    terms = [Term(str(k), (1 + 2 * k,), (2 + 2 * k,)) for k in range(4)]
    raw, debiased = [], []
    for _ in range(400):
        parts = odd_even(_noisy(rng, truth, noise, 40), terms)
        found = systematic(np.sum([part.covariance for part in parts], axis=0))
        raw.append(found.raw[0, 1])
        debiased.append([found.debiased[0, 1], found.debiased[0, 0]])
    error = np.std(debiased, axis=0) / np.sqrt(len(debiased))
    assert np.mean(raw) > 10.0 * error[0]
    assert abs(np.mean(debiased, axis=0) - [0.0, 1.64]) == pytest.approx([0.0, 0.0], abs=4.0 * error.max())


def test_copies_correlate_fully_and_negatives_fully_negatively_with_an_interval_of_no_width() -> None:
    rng = np.random.default_rng(3)
    one = rng.standard_normal((51, 1, 1)) * 0.1 + rng.standard_normal((1, 8, 1))
    displacement = np.concatenate([np.zeros((51, 1, 1)), one], axis=1) * np.array([1.0, 1.0, -2.5])
    parts = odd_even(displacement, [Term(str(k), (1 + 2 * k,), (2 + 2 * k,)) for k in range(4)])
    rho = systematic(np.sum([part.covariance for part in parts], axis=0)).rho()
    np.testing.assert_allclose(rho[:, 0, 1], 1.0, atol=1e-9)
    np.testing.assert_allclose(rho[:, 0, 2], -1.0, atol=1e-9)


def test_no_correlation_is_quoted_for_a_task_that_is_mostly_noise() -> None:
    rng = np.random.default_rng(4)
    truth = np.array([[2.0, 2.0, 0.0], [1.0, -1.0, 0.0]])
    parts = odd_even(_noisy(rng, truth, np.eye(3) * 0.01, 50), [Term("a", (1,), (2,)), Term("b", (3,), (4,))])
    found = systematic(np.sum([part.covariance for part in parts], axis=0))
    np.testing.assert_array_equal(found.reliable, [True, True, False])
    assert np.isnan(found.rho()[:, 2]).all()
    assert found.rho()[0, 0, 1] == pytest.approx(0.6, abs=0.1)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-12


@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
def test_the_upper_limit_of_a_size_covers(size: float) -> None:
    """Nine responses with errors of 1: 95 of 100 limits or more lie above the true size."""
    rng, above, trials = np.random.default_rng(2), 0, 400
    for _ in range(trials):
        seen = size + rng.standard_normal((9, 1))
        every = np.concatenate([seen[None], seen + rng.standard_normal((200, 9, 1))])
        above += systematic(np.einsum("rka,rkb->rab", every, every)).upper[0] >= size * 3.0 - 1e-9
    assert above / trials > 0.95 - 3.0 * np.sqrt(0.95 * 0.05 / trials)
