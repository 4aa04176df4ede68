"""Shrunk correlations against the paper's formula, scikit-learn where it is installed, and the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shiftlab.bias.covariance import systematic
from shiftlab.bias.joint_moments import event_moments, joint_moments
from shiftlab.bias.shrinkage import Shrunk, advised, ledoit_wolf, schaefer_strimmer, shrink, shrink_moments
from shiftlab.errors import ConfigError, DataError


def _draws(universes: int, rho: float, tasks: int, seed: int) -> np.ndarray:
    mixing = np.linalg.cholesky(rho + (1.0 - rho) * np.eye(tasks))
    scale = np.geomspace(0.1, 10.0, tasks)
    return (np.random.default_rng(seed).standard_normal((universes, tasks)) @ mixing.T) * scale


def _singles(number: int) -> list[tuple[int, ...]]:
    return [(i,) for i in range(number)]


def test_schaefer_strimmer_is_the_papers_sum_over_pairs() -> None:
    """Written out pair by pair, universe by universe."""
    data = _draws(12, 0.4, 4, seed=1)
    scaled = (data - data.mean(axis=0)) / data.std(axis=0, ddof=1)
    above = below = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                product = [scaled[k, i] * scaled[k, j] for k in range(12)]
                mean = sum(product) / 12
                above += 12 / 11**3 * sum((one - mean) ** 2 for one in product)
                below += (12 / 11 * mean) ** 2
    found = schaefer_strimmer(data)
    assert found.intensity == pytest.approx(above / below)
    rho = np.corrcoef(data.T)
    np.testing.assert_allclose(found.correlation[0, 1], (1.0 - found.intensity) * rho[0, 1])
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)


def test_ledoit_wolf_agrees_with_scikit_learn() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    data = _draws(15, 0.5, 6, seed=2)
    scaled = (data - data.mean(axis=0)) / data.std(axis=0)
    theirs = covariance.LedoitWolf().fit(scaled)
    ours = ledoit_wolf(data)
    assert ours.intensity == pytest.approx(theirs.shrinkage_)
    np.testing.assert_allclose(ours.correlation, theirs.covariance_, atol=1e-12)


def _by_jackknife(data: np.ndarray) -> Shrunk:
    return shrink_moments(joint_moments(data[None], _singles(len(data)), "independent", "mean"))


@pytest.mark.parametrize(
    ("method", "rho", "most"),
    [
        (schaefer_strimmer, 0.0, 0.35),
        (schaefer_strimmer, 0.3, 1.0),
        (ledoit_wolf, 0.0, 0.35),
        (ledoit_wolf, 0.3, 1.0),
        (_by_jackknife, 0.0, 0.35),
        (_by_jackknife, 0.3, 1.0),
        (_by_jackknife, 0.8, 1.25),
    ],
)
def test_shrinkage_is_nearer_to_the_truth_where_universes_are_few(
    method: Callable[[np.ndarray], Shrunk], rho: float, most: float
) -> None:
    """Mean squared distance over 100 experiments, 16 universes, 8 tasks; never singular."""
    truth = rho + (1.0 - rho) * np.eye(8)
    shrunk, plain = [], []
    for seed in range(100):
        data = _draws(16, rho, 8, seed)
        found = method(data)
        shrunk.append(((found.correlation - truth) ** 2).sum())
        plain.append(((np.corrcoef(data.T) - truth) ** 2).sum())
        assert np.linalg.eigvalsh(found.correlation).min() > 0.0
    assert np.mean(shrunk) < most * np.mean(plain)


def test_the_jackknife_shrinks_strongly_correlated_tasks_less_than_the_closed_form() -> None:
    """Which takes Var(r) to grow as 1 + rho^2, while it falls as (1 - rho^2)^2."""
    data = _draws(32, 0.8, 8, seed=0)
    assert _by_jackknife(data).intensity < 0.5 * schaefer_strimmer(data).intensity


def test_intensity_falls_as_universes_grow_and_reaches_one_for_independent_tasks() -> None:
    few, many = (schaefer_strimmer(_draws(universes, 0.5, 6, seed=3)).intensity for universes in (10, 1000))
    assert few > 5.0 * many
    independent = [schaefer_strimmer(_draws(20, 0.0, 6, seed)).intensity for seed in range(50)]
    assert np.mean(independent) > 0.75
    assert max(independent) <= 1.0


def test_the_jackknife_gives_the_closed_forms_intensity() -> None:
    """For independent universes and normal biases, where both estimate Var(rho): the jackknife knows 1 - rho^2 too."""
    data = _draws(200, 0.0, 6, seed=4)
    moments = joint_moments(data[None], _singles(200), "independent", "mean")
    assert shrink_moments(moments).intensity == pytest.approx(schaefer_strimmer(data).intensity, rel=0.1)


def test_covariance_keeps_the_variances() -> None:
    found = schaefer_strimmer(_draws(20, 0.5, 3, seed=5))
    np.testing.assert_allclose(np.diag(found.covariance(np.array([4.0, 9.0, 1.0]))), [4.0, 9.0, 1.0])


def test_shrink_without_correlation_or_error() -> None:
    assert shrink(np.eye(3), np.zeros((3, 3))).intensity == 1.0
    assert shrink(np.ones((2, 2)), np.zeros((2, 2))).intensity == 0.0


def test_when_it_is_advised() -> None:
    assert advised(universes=16, tasks=6)
    assert advised(universes=1000, tasks=11)
    assert not advised(universes=64, tasks=6)


def test_what_cannot_be_shrunk_is_refused() -> None:
    data = _draws(20, 0.2, 3, seed=6)
    with pytest.raises(DataError, match="2 joint universes"):
        schaefer_strimmer(data[:2])
    data[:, 1] = 3.0
    with pytest.raises(DataError, match="task number 1: the bias is the same"):
        ledoit_wolf(data)
    with pytest.raises(DataError, match="task number 1: no variance"):
        shrink_moments(joint_moments(data[None], _singles(20), "independent", "mean"))
    with pytest.raises(ConfigError, match="catalogue"):
        shrink_moments(event_moments([systematic(np.ones((3, 2, 2)))]))
