"""Sums, responses and covariance of the simulation against direct computation and against the event bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.placement import build_library, build_model, choose_summaries, observe
from shiftlab.errors import ConfigError, DataError, UnknownNameError


@pytest.fixture(scope="module")
def small(world: Any) -> tuple[Any, Any]:
    simulation = world.events(600, np.random.default_rng(0))
    return simulation, world.library(simulation, bins=3)


def test_expansion_meets_the_universes_that_it_was_made_of(world: Any, small: tuple[Any, Any]) -> None:
    """At plus and minus one sigma of one nuisance the expectation is the simulated universe itself."""
    simulation, library = small
    sample = observe(library.summaries, world.columns(simulation, {}))
    model = build_model(library, observed=sample)
    for k, name in enumerate(library.nuisances):
        for sign in (1.0, -1.0):
            theta = np.zeros((1, len(model.parameters)))
            theta[0, k] = sign
            direct = observe(library.summaries, world.columns(simulation, {name: sign}))
            np.testing.assert_allclose(model.expected(theta)[0], direct, atol=1e-6)


def test_composition_and_flux_scale_the_sums_of_their_events(world: Any, small: tuple[Any, Any]) -> None:
    simulation, library = small
    sample = observe(library.summaries, world.columns(simulation, {}))
    model = build_model(library, observed=sample, composition=0.3)
    theta = np.zeros((1, len(model.parameters)))
    theta[0, -3:] = [1.0, -0.5, 0.8]
    weight = 1.0 + 0.8 * world.tilt(simulation.energy)
    # Samples are in the order of their names: nue, then numu.
    weight *= np.where(simulation.sample == 0, np.exp(0.3), np.exp(-0.15))
    direct = weight @ library.summaries.values(world.columns(simulation, {}))
    np.testing.assert_allclose(model.expected(theta)[0], direct, atol=1e-6)


def test_covariance_is_that_of_the_poisson_bootstrap_over_vertices(world: Any) -> None:
    """4,000 replicas against the closed form, with two events per vertex; each entry within 5 standard errors."""
    simulation = world.events(400, np.random.default_rng(1))
    design = world.design()
    columns = world.universes(simulation, design)
    summaries = choose_summaries({name: values[0] for name, values in columns.items()}, bins=2, powers=1)
    vertex = np.arange(400) // 2
    library = build_library(columns, design, summaries, vertex=vertex, sample=["one"] * 400)
    up = design.names.index("gain+1")
    both = [summaries.values({name: values[u] for name, values in columns.items()}) for u in (0, up)]
    weights = poisson_weights(vertex, range(1, 4001), 0)
    drawn = np.concatenate([weights @ side for side in both], axis=1)
    size = len(summaries.names)
    closed = np.zeros((2 * size, 2 * size))
    vectors = np.zeros((2, library.terms))
    vectors[:, 0] = 1.0
    vectors[1, 1:3] = 1.0  # nominal + odd + even of the gain is the universe at +1
    for a in range(2):
        for b in range(2):
            block = np.einsum("u,ujvk,v->jk", vectors[a], library.moment[0], vectors[b])
            closed[a * size : (a + 1) * size, b * size : (b + 1) * size] = block
    found = np.cov(drawn.T)
    error = np.sqrt((closed**2 + np.outer(np.diag(closed), np.diag(closed))) / 4000)
    assert (np.abs(found - closed) < 5.0 * error).all()


def test_blocks_of_events_do_not_change_the_sums(world: Any, small: tuple[Any, Any], monkeypatch: Any) -> None:
    simulation, library = small
    monkeypatch.setattr("shiftlab.bias.placement.library._BLOCK", 5000)
    again = world.library(simulation, bins=3)
    np.testing.assert_allclose(again.moment, library.moment, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(again.total, library.total, rtol=1e-9, atol=1e-6)


def test_a_vertex_in_two_samples_and_wrong_shapes_are_refused(world: Any, small: tuple[Any, Any]) -> None:
    simulation, library = small
    design = world.design()
    columns = world.universes(simulation, design)
    given = {"vertex": np.arange(600) // 2, "sample": ["a", "b"] * 300}
    with pytest.raises(DataError, match="300 vertices are in more than one simulated sample"):
        build_library(columns, design, library.summaries, **given)
    cut = {name: values[:, :5] for name, values in columns.items()}
    with pytest.raises(DataError, match=r"\(universe, event\)"):
        build_library(cut, design, library.summaries, vertex=np.arange(600), sample=["a"] * 600)


def test_exposures_and_widths_that_make_no_sense_are_refused(world: Any, small: tuple[Any, Any]) -> None:
    simulation, library = small
    sample = observe(library.summaries, world.columns(simulation, {}))
    with pytest.raises(UnknownNameError, match="sample in exposure 'nutau'"):
        build_model(library, observed=sample, exposure={"nutau": 1.0})
    with pytest.raises(ConfigError, match="numbers of events from 0"):
        build_model(library, observed=sample, exposure={"nue": -1.0})
    with pytest.raises(ConfigError, match="relative widths from 0"):
        build_model(library, observed=sample, composition=-0.1)
