"""Intervals over universes, events and seeds cover the truth as often as they claim, or more where they say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, qmc

from shiftlab.bias.covariance import systematic
from shiftlab.bias.joint_moments import About, Moments, Sampling, event_moments, joint_moments
from shiftlab.bias.universe_interval import LEVEL_68, correlation_interval, pivot_interval, variance_interval
from shiftlab.errors import ConfigError

Floats = npt.NDArray[np.float64]

ODD = np.array([[0.8, 0.6, 0.1], [0.4, -0.3, 0.7], [0.3, 0.5, 0.5], [0.2, 0.2, -0.4]])
EVEN = np.array([[0.5, 0.4, 0.0], [0.0, 0.2, 0.3], [0.0, 0.0, 0.0], [0.3, 0.3, 0.3]])
UPPER = np.triu_indices(3, 1)

RESPONSES: Mapping[str, Callable[[Floats], Floats]] = {
    "linear": lambda z: z @ ODD,
    "same side": lambda z: z @ ODD + z**2 @ EVEN,
    "only same side": lambda z: z**2 @ EVEN,
    "heteroscedastic": lambda z: (z @ ODD) * (1.0 + 0.5 * np.abs(z[..., :1])),
    "heavy-tailed": lambda z: z @ ODD,
    "independent tasks": lambda z: z[..., :3] * np.array([1.0, 2.0, 3.0]),
    "copied tasks": lambda z: (z @ ODD)[..., :1] * np.array([1.0, 2.0, -1.0]),
}
"""Biases of three tasks from four nuisances; heavy-tailed draws the nuisances from Student's t with 6 degrees."""

DESIGNS: tuple[tuple[Sampling, About, int], ...] = (
    *(("independent", "mean", number) for number in (16, 32, 64)),
    *(("independent", "nominal", number) for number in (16, 32)),
    *(("pairs", "nominal", number) for number in (16, 32, 64)),
    ("pairs", "mean", 32),
    ("scramblings", "nominal", 64),
    ("scramblings", "nominal", 128),
)
"""How joint universes are drawn, what biases are measured from, and the number of universes."""


def _draw(name: str, sampling: Sampling, shape: tuple[int, int], seed: int) -> Floats:
    """Return nuisances (experiment, universe, 4)."""
    rng = np.random.default_rng(seed)
    experiments, universes = shape
    if sampling == "scramblings":
        uniform = [qmc.Sobol(4, rng=rng).random(universes // 8) for _ in range(8 * experiments)]
        z = norm.ppf(np.clip(np.array(uniform), 1e-9, 1.0 - 1e-9)).reshape(experiments, universes, 4)
        return np.asarray(z, dtype=np.float64)
    number = universes // (2 if sampling == "pairs" else 1)
    if name == "heavy-tailed":
        z = rng.standard_t(6.0, (experiments, number, 4)) * np.sqrt(4.0 / 6.0)
    else:
        z = rng.standard_normal((experiments, number, 4))
    return np.stack([z, -z], axis=2).reshape(experiments, universes, 4) if sampling == "pairs" else z


def _blocks(sampling: Sampling, universes: int) -> list[tuple[int, ...]]:
    size = {"independent": 1, "pairs": 2, "scramblings": universes // 8}[sampling]
    return [tuple(range(first, first + size)) for first in range(0, universes, size)]


def _experiments_as_cells(moments: Moments) -> Moments:
    """Return moments whose seeds were experiments, as one seed with an axis of experiments before the tasks."""
    return Moments(
        moments.estimate[None],
        moments.raw[None],
        np.swapaxes(moments.left_out, 0, 1)[None],
        np.swapaxes(moments.replicas, 0, 1)[None],
        np.moveaxis(moments.crossed, 0, 2)[None],
        moments.draws,
        moments.about,
    )


@cache
def _truth(name: str, about: About) -> tuple[Floats, Floats]:
    """Return variances (task,) and correlations (pair,) of the population, from 2^15 Sobol points (draws if heavy)."""
    if name == "heavy-tailed":
        covariance = ODD.T @ ODD
    else:
        z = norm.ppf(np.clip(qmc.Sobol(4, rng=1).random(2**15), 1e-9, 1.0 - 1e-9))
        bias = RESPONSES[name](z)
        bias = bias - bias.mean(axis=0) if about == "mean" else bias
        covariance = bias.T @ bias / len(bias)
    root = np.sqrt(np.diag(covariance))
    exact = {"copied tasks": np.array([1.0, -1.0, -1.0]), "independent tasks": np.zeros(3)}
    return np.diag(covariance), exact.get(name, (covariance / np.outer(root, root))[UPPER])


def _covered(name: str, design: tuple[Sampling, About, int], experiments: int, seed: int = 0) -> dict[str, float]:
    """Return the shares of variances and correlations inside their intervals, the mean over the three of each."""
    sampling, about, universes = design
    displacement = RESPONSES[name](_draw(name, sampling, (experiments, universes), seed))
    moments = joint_moments(displacement[:, None], _blocks(sampling, universes), sampling, about)
    cells = _experiments_as_cells(moments)
    variance, rho = _truth(name, about)
    found = {}
    for label, level in (("68", LEVEL_68), ("95", 0.95)):
        one = variance_interval(cells, level)
        found[f"variance {label}"] = float(((one.low <= variance) & (variance <= one.high)).mean())
        two = correlation_interval(cells, level)
        low, high = two.low[..., *UPPER] - 1e-12, two.high[..., *UPPER] + 1e-12
        found[f"rho {label}"] = float(((low <= rho) & (rho <= high)).mean())
    return found


def _least(level: float, experiments: int) -> float:
    """Return the claimed level less 3 binomial standard errors, the three tasks counted as one."""
    return float(level - 3.0 * np.sqrt(level * (1.0 - level) / experiments))


@pytest.mark.parametrize("name", ["linear", "same side", "heteroscedastic", "copied tasks"])
@pytest.mark.parametrize("design", [("independent", "mean", 16), ("pairs", "nominal", 32)])
def test_intervals_over_universes_cover_what_they_claim(name: str, design: tuple[Sampling, About, int]) -> None:
    found = _covered(name, design, 400)
    for quantity in ("variance", "rho"):
        assert found[f"{quantity} 68"] > _least(0.683, 400)
        assert found[f"{quantity} 95"] > _least(0.95, 400)
    assert found["variance 68"] < 0.88
    assert name == "copied tasks" or found["rho 68"] < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: " ".join(map(str, design)))
@pytest.mark.parametrize("name", list(RESPONSES))
def test_coverage_of_every_cell(name: str, design: tuple[Sampling, About, int]) -> None:
    """2,000 experiments (400 of scramblings)."""
    if name == "heavy-tailed" and design[0] == "scramblings":
        pytest.skip("Sobol points are turned into normal nuisances only")
    experiments = 400 if design[0] == "scramblings" else 2000
    found = _covered(name, design, experiments, seed=7)
    print(f"{name:18s} {' '.join(map(str, design)):24s}", *(f"{key} {value:.3f}" for key, value in found.items()))
    for quantity in ("variance", "rho"):
        assert found[f"{quantity} 68"] > _least(0.683, experiments)
        assert found[f"{quantity} 95"] > _least(0.95, experiments)


def _with_events(experiments: int, event: float, own: float, seed: int) -> Moments:
    """Return moments of 32 universes and 50 event replicas, linear in 4 nuisances, experiments as cells.

    Args:
        experiments: How many.
        event: Error of each response from the finite events, common to all universes.
        own: Error of each bias from the events that a single universe moves, its own in every universe.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((experiments, 1, 32, 4))

    def noise(replicas: int) -> Floats:
        common = event * rng.standard_normal((experiments, replicas, 4, 3))
        return np.asarray(z @ common + own * rng.standard_normal((experiments, replicas, 32, 3)), dtype=np.float64)

    sample = z @ ODD + noise(1)
    data = np.concatenate([sample, sample + noise(50)], axis=1)
    return _experiments_as_cells(joint_moments(data, _blocks("independent", 32), "independent", "mean"))


@pytest.mark.parametrize(("event", "own"), [(0.1, 0.0), (0.1, 0.2), (0.0, 0.3)])
def test_intervals_over_events_and_universes_cover_the_truth(event: float, own: float) -> None:
    """400 experiments; event noise adds up to 9% of the variance and the truth has none."""
    cells = _with_events(400, event, own, seed=3)
    covariance = ODD.T @ ODD
    root = np.sqrt(np.diag(covariance))
    rho = (covariance / np.outer(root, root))[UPPER]
    for level in (LEVEL_68, 0.95):
        found = correlation_interval(cells, level)
        inside = (found.low[..., *UPPER] <= rho) & (rho <= found.high[..., *UPPER])
        assert inside.mean() > _least(level, 400)
        one = variance_interval(cells, level)
        assert ((one.low <= root**2) & (root**2 <= one.high)).mean() > _least(level, 400)
    assert found.event_error[..., *UPPER].min() > 0.0


def test_the_two_way_error_is_that_of_the_pigeonhole_bootstrap() -> None:
    """Events and universes resampled independently of each other (Owen 2007) scatter as the two parts together."""
    rng = np.random.default_rng(8)
    z = rng.standard_normal((1, 256, 4))
    event = 0.08 * rng.standard_normal((401, 4, 3))
    event[0] = 0.0
    data = z @ (ODD + event)
    moments = joint_moments(data, _blocks("independent", 256), "independent", "mean")
    drawn = rng.integers(256, size=(400, 256))
    both = np.stack([np.cov(data[1 + r, drawn[r]].T) for r in range(400)])
    noise = data[1:] - data[0]
    both -= np.mean([np.cov(one.T) for one in noise], axis=0)
    root = np.sqrt(np.diagonal(both, axis1=1, axis2=2))
    pigeonhole = np.arctanh((both / (root[:, :, None] * root[:, None, :]))[:, *UPPER]).std(axis=0, ddof=1)
    found = correlation_interval(moments)
    together = np.hypot(found.universe_error, found.event_error)[UPPER]
    assert found.event_error[UPPER].min() > found.universe_error[UPPER].min()
    np.testing.assert_allclose(together, pigeonhole, rtol=0.2)


def test_seeds_are_a_third_factor_and_few_of_them_widen_the_interval() -> None:
    """Four seeds, each with responses of its own: the mean of Fisher's z over seeds, Student's t with 3 degrees."""
    rng = np.random.default_rng(0)
    experiments, seeds = 300, 4
    inside = []
    for _ in range(experiments):
        z = rng.standard_normal((1, 1, 64, 4))
        scatter = 0.25 * rng.standard_normal((seeds, 1, 4, 3))
        scatter[..., 0] = 0.0
        moments = joint_moments(z @ (ODD + scatter), _blocks("independent", 64), "independent", "nominal")
        found = correlation_interval(moments)
        inside.append((found.low[0, 1], found.high[0, 1], found.seed_error[0, 1], found.universe_error[0, 1]))
    low, high, seed_error, universe_error = np.array(inside).T
    many = ODD + np.concatenate([np.zeros((20000, 4, 1)), 0.25 * rng.standard_normal((20000, 4, 2))], axis=2)
    covariance = np.swapaxes(many, 1, 2) @ many
    truth = np.tanh(np.arctanh(covariance[:, 0, 1] / np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])).mean())
    assert ((low <= truth) & (truth <= high)).mean() > _least(LEVEL_68, experiments)
    assert seed_error.mean() > 0.3 * universe_error.mean()


def test_one_seed_or_no_universes_leave_their_part_out() -> None:
    parts = systematic(np.random.default_rng(0).normal(0.0, 0.02, (201, 3, 3)) * 0.0 + ODD.T @ ODD)
    still = correlation_interval(event_moments([parts]))
    np.testing.assert_allclose(still.low, still.high)
    assert not still.universe_error.any()
    assert not still.seed_error.any()


def test_an_interval_of_a_linear_task_is_close_to_the_exact_one() -> None:
    """At 512 universes Fisher's interval of a normal pair, 1 / sqrt(n - 3), and that of a normal variance."""
    displacement = RESPONSES["linear"](_draw("linear", "independent", (1, 512), 5))
    moments = joint_moments(displacement, _blocks("independent", 512), "independent", "mean")
    found = correlation_interval(moments)
    assert found.universe_error[0, 1] == pytest.approx(509**-0.5, rel=0.15)
    assert np.arctanh(found.high[0, 1]) - np.arctanh(found.estimate[0, 1]) == pytest.approx(509**-0.5, rel=0.2)
    assert variance_interval(moments).universe_error == pytest.approx((2.0 / 511.0) ** 0.5, rel=0.15)


def test_a_task_of_event_noise_has_no_correlation_and_a_variance_that_may_be_zero() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1, 32, 1))
    noise = rng.standard_normal((1, 32, 2)) * np.array([0.05, 1.0])
    data = z * np.array([1.0, 0.0]) + noise + np.concatenate([np.zeros((1, 32, 2)), rng.standard_normal((50, 32, 2))])
    moments = joint_moments(data, _blocks("independent", 32), "independent", "mean")
    found = correlation_interval(moments)
    assert moments.reliability[1] < 0.5
    assert np.isnan(found.estimate[1]).all()
    assert variance_interval(moments).low[1] == 0.0
    assert variance_interval(moments).pivot[1] == "linear"


def test_the_level_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"level = 68 .* between 0 and 1"):
        pivot_interval(np.ones((1, 1, 1)), np.ones((1, 16, 1)), np.ones((1, 0, 1)), np.ones((1, 0, 16, 1)), level=68)
