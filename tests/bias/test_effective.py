"""Effective number of independent tasks: its finite-universe correction, its interval and the band of chance."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.covariance import systematic
from shiftlab.bias.effective import (
    _mean_square,
    chance,
    effective_interval,
    effective_number,
    entropy_rank,
    leading_fraction,
    null_band,
    sign_coherence,
)
from shiftlab.bias.joint_moments import Sampling, event_moments, joint_moments
from shiftlab.errors import ConfigError, DataError


def _blocks(number: int, size: int = 1) -> list[tuple[int, ...]]:
    return [tuple(range(size * i, size * i + size)) for i in range(number)]


def _correlations(universes: int, tasks: int, experiments: int) -> np.ndarray:
    data = np.random.default_rng(universes).standard_normal((experiments, universes, tasks))
    centred = data - data.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(centred, 1, 2) @ centred
    root = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return np.asarray(covariance / (root[:, :, None] * root[:, None, :]))


@pytest.mark.parametrize(("universes", "naive", "corrected"), [(20, 7.6, 11.5), (50, 9.8, 11.8), (200, 11.4, 12.0)])
def test_twelve_independent_tasks_look_fewer_in_few_universes_until_corrected(
    universes: int, naive: float, corrected: float
) -> None:
    rho = _correlations(universes, 12, 400)
    assert effective_number(rho).mean() == pytest.approx(naive, abs=0.06)
    assert effective_number(rho, universes - 1).mean() == pytest.approx(corrected, abs=0.1)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_corrected_mean_square_is_unbiased_for_dependent_tasks(rho: float) -> None:
    """1,000 experiments of 24 universes and 2 tasks, uncorrected some 0.04 too large at rho = 0; 4 errors allowed."""
    mixing = np.linalg.cholesky(rho + (1.0 - rho) * np.eye(2))
    data = np.random.default_rng(3).standard_normal((1000, 24, 2)) @ mixing.T
    square = _mean_square(np.stack([np.corrcoef(one.T) for one in data]), 23)
    assert square.mean() == pytest.approx(rho**2, abs=4.0 * square.std() / 1000**0.5)


def test_for_small_correlations_the_correction_takes_one_over_the_freedom_off() -> None:
    rho = np.array([[1.0, 0.05], [0.05, 1.0]])
    assert _mean_square(rho, 199) == pytest.approx((0.05**2 - 1.0 / 199.0) / (1.0 - 1.0 / 199.0), abs=1e-4)


def test_limits_of_the_numbers() -> None:
    copies, independent = np.ones((4, 4)), np.eye(4)
    for function in (effective_number, entropy_rank):
        assert function(copies) == pytest.approx(1.0)
        assert function(independent) == pytest.approx(4.0)
    assert leading_fraction(copies) == pytest.approx(1.0)
    assert leading_fraction(independent) == pytest.approx(0.25)
    assert effective_number(np.ones((1, 1))) == 1.0
    blocks = np.kron(np.eye(2), np.ones((2, 2)))
    assert effective_number(blocks) == pytest.approx(2.0)
    assert entropy_rank(blocks) == pytest.approx(2.0)


def test_sign_coherence_tells_common_from_opposite_moves() -> None:
    signs = np.array([1.0, 1.0, -1.0, -1.0])
    assert sign_coherence(np.ones((4, 4))) == pytest.approx(1.0)
    assert sign_coherence(np.outer(signs, signs)) == pytest.approx(0.0, abs=1e-12)
    signs[1] = -1.0
    assert sign_coherence(np.outer(signs, signs)) == pytest.approx(0.5)


def _covered(rho: float, sampling: Sampling, experiments: int, level: float) -> float:
    rng = np.random.default_rng(9)
    mixing = np.linalg.cholesky(rho + (1.0 - rho) * np.eye(6))
    truth, inside = 6.0 / (1.0 + 5.0 * rho**2), []
    for _ in range(experiments):
        z = rng.standard_normal((32, 6)) @ mixing.T
        size = 2 if sampling == "pairs" else 1
        data = np.stack([z, -z], axis=1).reshape(1, -1, 6) if sampling == "pairs" else z[None]
        found = effective_interval(joint_moments(data, _blocks(32, size), sampling), level)
        inside.append(found.low[0] - 1e-9 <= truth <= found.high[0] + 1e-9)
    return float(np.mean(inside))


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_the_interval_covers(rho: float) -> None:
    assert _covered(rho, "independent", 200, 0.683) > 0.683 - 3.0 * (0.683 * 0.317 / 200) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("sampling", ["independent", "pairs"])
@pytest.mark.parametrize("level", [0.683, 0.95])
def test_the_interval_covers_in_2000_experiments(rho: float, sampling: Sampling, level: float) -> None:
    """Weak correlations are covered 0.92 where 0.95 is claimed, as the docstring of the interval says."""
    share = _covered(rho, sampling, 2000, level)
    print(f"effective number, rho {rho}, 32 {sampling}, {level}: {share:.3f}")
    below = 0.025 if (rho, level) == (0.3, 0.95) else 0.0
    assert share > level - below - 3.0 * (level * (1.0 - level) / 2000) ** 0.5


def test_degrees_of_freedom_follow_the_sampling() -> None:
    data = np.random.default_rng(0).standard_normal((1, 64, 3))
    assert chance(joint_moments(data, _blocks(64), "independent", "mean")) == 63.0
    assert chance(joint_moments(data, _blocks(32, 2), "pairs")) == 32.0
    assert (chance(joint_moments(data, _blocks(8, 8), "scramblings")) or 0.0) >= 63.0
    assert chance(event_moments([systematic(np.ones((3, 2, 2)))])) is None


@pytest.mark.parametrize(("sampling", "size"), [("independent", 1), ("pairs", 2)])
def test_independent_tasks_lie_in_the_band_of_chance_as_often_as_claimed(sampling: Sampling, size: int) -> None:
    """120 experiments of 68%: the p-value is uniform."""
    rng = np.random.default_rng(6)
    p = []
    for trial in range(120):
        z = rng.standard_normal((16, 5))
        data = z if size == 1 else np.stack([z, -z + 0.1 * rng.standard_normal(z.shape)], axis=1).reshape(-1, 5)
        bands = null_band(data, _blocks(16, size), sampling, permutations=60, seed=trial)
        p.append([bands[name].p_value for name in ("effective number", "leading fraction")])
    below = (np.array(p) < 0.3).mean(axis=0)
    np.testing.assert_allclose(below, 0.3, atol=3.0 * (0.3 * 0.7 / 120) ** 0.5)


def test_dependent_tasks_lie_outside_the_band() -> None:
    rng = np.random.default_rng(2)
    data = rng.standard_normal((32, 1)) + 0.5 * rng.standard_normal((32, 5))
    bands = null_band(data, _blocks(32), "independent", permutations=200)
    assert bands["effective number"].observed < bands["effective number"].low
    assert bands["entropy rank"].observed < bands["entropy rank"].low
    assert bands["leading fraction"].observed > bands["leading fraction"].high
    assert bands["leading fraction"].p_value == pytest.approx(1.0 / 201.0)
    assert bands["effective number"].low <= bands["effective number"].median <= 5.0


def test_what_has_no_effective_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 degrees of freedom .* 4 or more"):
        effective_number(np.eye(3), 1)
    data = np.random.default_rng(0).standard_normal((16, 3))
    with pytest.raises(ConfigError, match="permutations = 3"):
        null_band(data, _blocks(16), "independent", permutations=3)
    data[:, 2] = 1.0
    with pytest.raises(DataError, match="task number 2 moves alike"):
        null_band(data, _blocks(16), "independent")
    with pytest.raises(DataError, match="task number 2: no variance"):
        effective_interval(joint_moments(data[None], _blocks(16), "independent", "mean"))
