"""Second moments over joint universes against numpy, their jackknife, event noise with known truth, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.covariance import nearest_psd, second_moments, systematic
from shiftlab.bias.joint_moments import event_moments, joint_moments, loose_correlation
from shiftlab.errors import ConfigError, DataError


def _singles(number: int) -> list[tuple[int, ...]]:
    return [(i,) for i in range(number)]


def _pairs(number: int) -> list[tuple[int, ...]]:
    return [(2 * i, 2 * i + 1) for i in range(number)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4]))
def test_single_draws_about_the_mean_are_numpys_covariance_and_its_jackknife(seed: int, replicas: int) -> None:
    data = np.random.default_rng(seed).normal(1.0, 2.0, (replicas, 17, 3))
    moments = joint_moments(data, _singles(17), "independent", "mean")
    each = np.stack([np.cov(one.T) for one in data])
    np.testing.assert_allclose(moments.raw[0], each[0], rtol=1e-10, atol=1e-10)
    if replicas == 1:
        np.testing.assert_allclose(moments.estimate[0], each[0], rtol=1e-10, atol=1e-10)
        left = np.stack([np.cov(np.delete(data[0], i, 0).T) for i in range(17)])
        np.testing.assert_allclose(moments.left_out[0], left, rtol=1e-10, atol=1e-10)
    else:
        expected = systematic(each)
        np.testing.assert_allclose(moments.estimate[0], expected.debiased, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(moments.replicas[0], expected.replicas, rtol=1e-10, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["nominal", "mean"]))
def test_leaving_a_pair_out_is_the_estimate_of_the_other_pairs(seed: int, about: str) -> None:
    data = np.random.default_rng(seed).normal(1.0, 2.0, (5, 20, 2))
    whole = joint_moments(data, _pairs(10), "pairs", about)  # type: ignore[arg-type]
    for pair in (0, 4, 9):
        others = np.delete(data, [2 * pair, 2 * pair + 1], axis=1)
        less = joint_moments(others, _pairs(9), "pairs", about)  # type: ignore[arg-type]
        np.testing.assert_allclose(whole.left_out[0, pair], less.estimate[0], rtol=1e-9, atol=1e-9)


def test_about_nominal_is_the_plain_second_moment_in_any_order_of_universes() -> None:
    data = np.random.default_rng(1).normal(1.0, 1.0, (6, 32, 3))
    expected = systematic(second_moments(data)[0])
    shuffled = np.random.default_rng(2).permutation(32)
    moments = joint_moments(data, [tuple(shuffled[i : i + 4]) for i in range(0, 32, 4)], "scramblings")
    np.testing.assert_allclose(moments.estimate[0], expected.debiased)
    np.testing.assert_allclose(moments.replicas[0], expected.replicas)
    np.testing.assert_allclose(moments.left_out.mean(axis=1)[0], expected.debiased)


@pytest.mark.parametrize("sampling", ["independent", "pairs", "scramblings"])
def test_the_covariance_about_the_mean_is_unbiased_for_every_sampling(sampling: str) -> None:
    """b = 2 z + z^2 - 1 has variance 4 + 2; scramblings here are plain draws, the least favourable case."""
    rng = np.random.default_rng(4)
    size = {"independent": 1, "pairs": 2, "scramblings": 4}[sampling]
    z = rng.standard_normal((4000, 16, size))
    if sampling == "pairs":
        z[..., 1] = -z[..., 0]
    data = (2.0 * z + z**2 - 1.0).reshape(4000, 1, 16 * size, 1)
    blocks = [tuple(range(size * i, size * i + size)) for i in range(16)]
    found = joint_moments(data, blocks, sampling, "mean").estimate[:, 0, 0]  # type: ignore[arg-type]
    assert found.mean() == pytest.approx(6.0, abs=4.0 * found.std() / np.sqrt(4000))


def test_debiasing_takes_off_event_noise_that_fakes_variance_and_correlation() -> None:
    """5 heads, 40 universes, 400 events; true variances 9, 9, 4.5, 9, 0.45 and heads 0 and 3 independent (x 1e-4)."""
    rng = np.random.default_rng(12)
    response = 0.03 * np.array([[1.0, 0.8, 0.5, 0.0, 0.0], [0.0, 0.6, 0.5, 1.0, 0.05**0.5]])
    truth = 1e4 * response.T @ response
    np.testing.assert_allclose(np.diag(truth), [9.0, 9.0, 4.5, 9.0, 0.45])
    mixing = 0.6 * np.linalg.cholesky(0.5 + 0.5 * np.eye(5))
    raw, debiased = [], []
    for trial in range(30):
        shift = rng.standard_normal((40, 2)) @ response
        events = shift + rng.standard_normal((400, 40, 5)) @ mixing.T
        weights = np.concatenate([np.ones((1, 400)), poisson_weights(np.arange(400), range(100), trial)])
        weights /= weights.sum(axis=1, keepdims=True)
        moments = joint_moments((weights @ events.reshape(400, -1)).reshape(101, 40, 5), _singles(40), "independent")
        raw.append(1e4 * moments.raw[0])
        debiased.append(1e4 * moments.estimate[0])
    error = np.std(debiased, axis=0) / np.sqrt(30)
    np.testing.assert_allclose(np.diag(np.mean(raw, axis=0)), np.diag(truth) + 9.0, atol=2.0)
    assert np.mean(raw, axis=0)[0, 3] == pytest.approx(4.5, abs=1.5)
    np.testing.assert_array_less(np.abs(np.mean(debiased, axis=0) - truth), 3.5 * error + 0.1)


def test_one_nuisance_universes_have_no_blocks_and_seeds_are_stacked() -> None:
    parts = [systematic(np.random.default_rng(i).random((4, 2, 2))) for i in range(3)]
    moments = event_moments(parts)
    assert (moments.blocks, moments.draws) == (0, 0)
    assert moments.estimate.shape == (3, 2, 2)
    assert moments.replicas.shape == (3, 3, 2, 2)


def test_correlations_of_a_matrix_that_is_not_psd_may_exceed_one_and_vanish_without_variance() -> None:
    rho = loose_correlation(np.array([[1.0, 1.5, 1.0], [1.5, 1.0, 1.0], [1.0, 1.0, -0.1]]))
    assert rho[0, 1] == pytest.approx(1.5)
    assert not rho[2].any()
    assert nearest_psd(rho[:2, :2], np.ones(2))[0, 1] == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("number", "size", "sampling", "message"),
    [
        (15, 1, "independent", "15 independent universe.* 16 are needed. Draw 1 more"),
        (7, 2, "pairs", "7 antithetic pair.* 8 are needed"),
        (5, 16, "scramblings", "5 independent Sobol scrambling.* 8 are needed. Draw 3 more"),
        (16, 2, "independent", "cannot be of sampling 'independent'"),
        (16, 1, "pairs", "Is a partner missing"),
    ],
)
def test_too_few_universes_are_refused_and_how_many_are_needed_is_said(
    number: int, size: int, sampling: str, message: str
) -> None:
    blocks = [tuple(range(size * i, size * i + size)) for i in range(number)]
    with pytest.raises(DataError, match=message):
        joint_moments(np.ones((1, number * size, 2)), blocks, sampling)  # type: ignore[arg-type]


def test_bad_input_is_named() -> None:
    data = np.ones((3, 20, 2))
    with pytest.raises(DataError, match="in two blocks"):
        joint_moments(data, [*_singles(19), (3,)], "independent")
    with pytest.raises(DataError, match="cannot be of sampling"):
        joint_moments(data, [*_pairs(9), (18,)], "pairs")
    with pytest.raises(ConfigError, match="allowed: independent, pairs, scramblings"):
        joint_moments(data, _singles(20), "sobol")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="allowed: nominal, mean"):
        joint_moments(data, _singles(20), "independent", "median")  # type: ignore[arg-type]
    data[0, 7, 1] = np.nan
    with pytest.raises(DataError, match=r"1 biases .* not finite .* universe number 7, task number 1"):
        joint_moments(data, _singles(20), "independent")
