"""Placement finds known universes, tells a flux from a gain, names what it cannot tell, and rejects what it must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias.placement import build_model, interaction_covariance, observe, place, power, power_left_out
from shiftlab.errors import ConfigError, DataError

TASKS = ("energy", "score")


@pytest.fixture(scope="module")
def simulated(world: Any) -> tuple[Any, Any]:
    simulation = world.events(20_000, np.random.default_rng(5))
    return simulation, world.library(simulation)


def _value(placed: Any, name: str) -> tuple[float, float]:
    k = placed.parameters.index(name)
    return float(placed.value[k]), float(np.sqrt(placed.covariance[k, k]))


def test_a_softer_flux_is_called_a_gain_only_where_the_flux_does_not_float(
    world: Any, simulated: tuple[Any, Any]
) -> None:
    """20,000 events whose flux is tilted by -1.2, at nominal detector."""
    _, library = simulated
    sample = observe(library.summaries, world.data(np.random.default_rng(6), {}, events=20_000.0, tilt=-1.2))
    fixed = place(world.model(library, sample, 20_000.0, float_modes=False), sample, toys=0)
    floats = place(world.model(library, sample, 20_000.0), sample, toys=0)
    scale = [_value(fixed, name)[0] for name in ("gain", "lifetime", "threshold")]
    assert min(scale) < -1.0
    for name in ("gain", "lifetime", "threshold"):
        value, sigma = _value(floats, name)
        assert abs(value) < 2.5 * sigma
    tilt, sigma = _value(floats, "flux tilt")
    assert abs(tilt + 1.2) < 2.5 * sigma
    assert not floats.rejected


def test_two_nuisances_that_act_alike_are_reported_as_one_combination(worlds: Any) -> None:
    """Their sum is measured, their difference is not: its sigma stays that of the prior."""
    world = worlds(degenerate=True)
    library = world.library(world.events(20_000, np.random.default_rng(7)))
    sample = observe(library.summaries, world.data(np.random.default_rng(8), {"gain": 1.0}, events=1500.0))
    placed = place(world.model(library, sample, 1500.0), sample, toys=0)
    gain, threshold = (placed.parameters.index(name) for name in ("gain", "threshold"))
    own = placed.covariance[[gain, threshold]][:, [gain, threshold]]
    assert np.sqrt(own.sum() / 2.0) < 0.7
    assert np.sqrt((own[0, 0] + own[1, 1] - 2.0 * own[0, 1]) / 2.0) == pytest.approx(1.0, abs=0.15)
    unknown = placed.directions().query("not measured")["combination"]
    assert any({"gain", "threshold"} <= set(words.split()) for words in unknown)
    pair = placed.pairs()
    assert ((pair["parameter_a"] == "gain") & (pair["parameter_b"] == "threshold") & (pair["rho"] < -0.5)).any()


def test_without_events_the_prior_comes_back(world: Any, simulated: tuple[Any, Any]) -> None:
    _, library = simulated
    sample = observe(library.summaries, world.data(np.random.default_rng(9), {}, events=1e-3))
    assert sample[0] == 0.0
    placed = place(world.model(library, sample, 1e-3), sample, toys=0)
    np.testing.assert_allclose(placed.value, 0.0, atol=0.01)
    np.testing.assert_allclose(np.sqrt(np.diag(placed.covariance)), 1.0, atol=0.05)
    np.testing.assert_allclose(placed.interval[2] - placed.interval[1], 2.0, atol=0.15)
    assert not placed.directions()["measured"].any()


def test_toys_agree_with_the_chi2_law(world: Any, simulated: tuple[Any, Any]) -> None:
    _, library = simulated
    sample = observe(library.summaries, world.data(np.random.default_rng(10), {"lifetime": -1.0}))
    placed = place(world.model(library, sample), sample, toys=400)
    assert placed.goodness.p_value == pytest.approx(placed.goodness.p_asymptotic, abs=0.09)
    assert placed.goodness.toys == 400
    assert 0.0 < placed.goodness.effective_dof < placed.goodness.summaries


def test_power_grows_with_events_and_is_that_of_data(world: Any, simulated: tuple[Any, Any]) -> None:
    """A change outside the catalogue at the number of events of 50% power is rejected about as often (25 samples)."""
    simulation, library = simulated
    strength = 1.0
    moved, nominal = (world.columns(simulation, {}, outside) for outside in (strength, 0.0))
    size = (2, len(library.summaries.names))
    shift = np.zeros(size)
    for c in range(2):
        inside = simulation.sample == c
        both = [
            library.summaries.values({k: v[inside] for k, v in one.items()}).sum(axis=0) for one in (moved, nominal)
        ]
        shift[c] = both[0] - both[1]
    sample = observe(library.summaries, world.data(np.random.default_rng(11), {}))
    model = world.model(library, sample)
    table = power(model, {"unknown": shift}, [100, 1000, 3000, 10_000], level=0.05)
    assert (np.diff(table["power"]) > 0.0).all()
    assert table["power"].iloc[0] < 0.2
    assert table["power"].iloc[-1] > 0.5
    expected = float(power(model, {"unknown": shift}, [3000], level=0.05)["power"].iloc[0])
    rng, rejected = np.random.default_rng(12), []
    for _ in range(25):
        theta = rng.standard_normal(7)
        z = dict(zip(library.nuisances, theta[:4], strict=True))
        options = {"composition": (theta[4], theta[5]), "tilt": float(theta[6]), "outside": strength}
        data = observe(library.summaries, world.data(rng, z, events=3000.0, **options))
        rejected.append(place(world.model(library, data, 3000.0), data, toys=0, level=0.05).rejected)
    assert np.mean(rejected) == pytest.approx(expected, abs=0.28)


def test_interactions_measured_in_joint_universes_widen_what_they_touch(world: Any) -> None:
    """Strong nuisances together are no sum of their responses; the covariance of other joint universes covers that."""
    rng = np.random.default_rng(13)
    strong = ("gain", "lifetime", "noise")
    values = {f"joint{i}": dict(zip(strong, rng.normal(0, 2, 3), strict=True)) for i in range(12)}
    simulation = world.events(30_000, rng)
    library = world.library(simulation)
    z = dict(zip(strong, (2.0, 2.5, -2.0), strict=True))
    sample = observe(library.summaries, world.data(rng, z, events=20_000.0))
    alone = place(world.model(library, sample, 20_000.0), sample, toys=0)
    design = world.design(values)
    extra = interaction_covariance(
        world.universes(simulation, design),
        design,
        library.summaries,
        vertex=np.arange(30_000),
        scale=np.full(30_000, 20_000 / 30_000),
        maps={},
    )
    helped = place(replace(world.model(library, sample, 20_000.0), extra=extra), sample, toys=0)
    assert alone.rejected
    assert helped.goodness.p_value > alone.goodness.p_value
    assert not helped.rejected
    k = helped.parameters.index("noise")
    assert helped.covariance[k, k] > alone.covariance[k, k]


def test_sums_without_interaction_have_no_interaction_covariance(world: Any) -> None:
    """Joint universes of one nuisance at +-1 are the one-nuisance universes: nothing is left over, noise included."""
    simulation = world.events(2000, np.random.default_rng(15))
    design = world.design({"again": {"gain": 1.0}, "down": {"noise": -1.0}})
    columns = world.universes(simulation, design)
    summaries = world.library(simulation).summaries
    extra = interaction_covariance(columns, design, summaries, vertex=np.arange(2000), scale=np.ones(2000), maps={})
    np.testing.assert_allclose(extra, 0.0, atol=1e-9)


def test_correlated_priors_hand_what_is_measured_of_one_nuisance_to_the_other(world: Any, simulated: Any) -> None:
    """Without events the prior comes back with its correlation; with them a measured noise pulls the gain along."""
    _, library = simulated
    prior = np.eye(4)
    prior[0, 2] = prior[2, 0] = 0.9
    none = observe(library.summaries, world.data(np.random.default_rng(9), {}, events=1e-3))
    placed = place(replace(world.model(library, none, 1e-3), prior=prior), none, toys=0)
    assert placed.covariance[0, 2] == pytest.approx(0.9, abs=0.05)
    sample = observe(library.summaries, world.data(np.random.default_rng(16), {"noise": 1.5}, events=4000.0))
    apart = place(world.model(library, sample, 4000.0), sample, toys=0)
    together = place(replace(world.model(library, sample, 4000.0), prior=prior), sample, toys=50)
    assert together.value[0] > apart.value[0] + 0.2
    assert together.covariance[0, 0] < apart.covariance[0, 0]


def test_a_nuisance_left_out_is_seen_where_it_leaves_a_trace_of_its_own(worlds: Any) -> None:
    """The gain does what the threshold does, so that no number of events tells that it is missing."""
    world = worlds(degenerate=True)
    library = world.library(world.events(10_000, np.random.default_rng(17)))
    sample = observe(library.summaries, world.data(np.random.default_rng(18), {}))
    table = power_left_out(world.model(library, sample), [300.0, 10_000.0], (3.0,))
    at = table.set_index(["nuisance", "events"])["power"]
    assert at["gain", 10_000.0] < 0.5
    assert at["noise", 10_000.0] > 0.9
    assert at["noise", 300.0] < at["noise", 10_000.0]


def test_too_few_events_for_the_summaries_and_missing_responses_are_refused(
    world: Any, simulated: tuple[Any, Any]
) -> None:
    simulation, library = simulated
    few = world.library(world.events(60, np.random.default_rng(14)))
    sample = observe(few.summaries, world.columns(simulation, {}))
    with pytest.raises(DataError, match="4 vertices per summary are needed"):
        place(build_model(few, observed=sample), sample)
    parts = world.parts(simulation)
    with pytest.raises(DataError, match="responses to gain are missing"):
        place(world.model(library, sample), sample, parts=parts[1:], tasks=TASKS)
    with pytest.raises(DataError, match="holds 2 tasks, but 1 are named"):
        place(world.model(library, sample), sample, parts=parts, tasks=TASKS[:1])
    with pytest.raises(ConfigError, match="level = 2"):
        power(world.model(library, sample), {}, [100], level=2)


def test_a_one_sided_nuisance_is_never_placed_below_zero(world: Any, simulated: tuple[Any, Any]) -> None:
    _, library = simulated
    one_sided = library.one_sided.copy()
    one_sided[library.nuisances.index("noise")] = True
    total = library.total.copy()
    total[:, :, 2 + 2 * library.nuisances.index("noise")] = 0.0
    sided = replace(library, one_sided=one_sided, total=total)
    sample = observe(library.summaries, world.data(np.random.default_rng(15), {"noise": -0.5}))
    placed = place(world.model(sided, sample), sample, toys=0)
    k = placed.parameters.index("noise")
    assert placed.value[k] >= 0.0
    assert (placed.interval[:, k] >= 0.0).all()
