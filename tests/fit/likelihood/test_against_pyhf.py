"""The engine is pyhf's likelihood: rates, -2 ln L, minima and limits on random workspaces with every modifier."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shiftlab.fit import FitError
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.objective import evaluate, gradient, hessian

Build = Callable[..., Any]

CODES = [("code4p", "code4"), ("code0", "code1"), ("code2", "code4")]

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def somewhere(model: engine.Likelihood, seed: int, spread: float = 1.5) -> np.ndarray:
    """A random point, nuisances beyond one sigma too, factors positive."""
    rng = np.random.default_rng(seed)
    kinds = np.array(model.parameters.kinds)
    width = np.where(kinds == "nuisance", spread, np.where(kinds == "lumi", 0.03, 0.2))
    values = model.parameters.initial + width * rng.normal(size=len(kinds))
    return np.where(kinds == "nuisance", values, np.abs(values))


@pytest.mark.parametrize(("shape", "norm"), CODES)
@quick
@given(seed=st.integers(0, 10**6))
def test_rates_and_likelihood_are_those_of_pyhf(
    workspace: Build, oracle: Build, shape: str, norm: str, seed: int
) -> None:
    """1e-12 relative on the rates at random parameters, and the same order of parameters and of bins."""
    spec = workspace(seed)
    model = engine.from_workspace(spec, codes={"histosys": shape, "normsys": norm})
    other, data = oracle(spec, shape, norm)
    assert list(model.parameters.names) == other.config.par_names
    np.testing.assert_array_equal(model.parameters.initial, other.config.suggested_init())
    bounds = np.array(other.config.suggested_bounds())
    np.testing.assert_array_equal(np.stack([model.parameters.lower, model.parameters.upper], axis=1), bounds)
    np.testing.assert_array_equal(model.parameters.fixed, other.config.suggested_fixed())
    values = somewhere(model, seed)
    if shape == "code2":  # pyhf 0.7.6 jumps at ±1, see test_interpolation.py
        values[model.shape_index] = np.clip(values[model.shape_index], -1.0, 1.0)
    rates = np.asarray(other.expected_data(values, include_auxdata=False))
    np.testing.assert_allclose(engine.expected(model, values), rates, rtol=1e-12)
    if (rates > 0.0).all():
        counts = engine.observed(spec, model)
        np.testing.assert_array_equal(counts, data[: model.bins])
        found = engine.twice_nll(model, engine.spectra(model, counts), values[None])[0]
        assert found == pytest.approx(-2.0 * other.logpdf(values, data)[0], rel=1e-12)


@quick
@given(seed=st.integers(0, 10**6))
def test_derivatives_are_exact(workspace: Build, seed: int) -> None:
    """Gradient and Hessian, gammas profiled, against central differences of the likelihood itself."""
    spec = workspace(seed)
    model = engine.from_workspace(spec)
    data = engine.spectra(model, engine.observed(spec, model))
    values = somewhere(model, seed, 0.5)[None]
    held = np.zeros(values.shape, dtype=bool)
    at = evaluate(model, data, values, held)
    slope, first = gradient(model, data, at)
    second = hessian(model, data, at, slope)[0]
    step = 1e-4
    scale = np.sqrt(np.abs(np.diag(second)))
    for row, index in enumerate(model.outer):
        sides = []
        for sign in (1.0, -1.0):
            moved = values.copy()
            moved[0, index] += sign * step
            point = evaluate(model, data, moved, held)
            sides.append((point.deviance[0], gradient(model, data, point)[1][0]))
        numeric = (sides[0][0] - sides[1][0]) / (4.0 * step)
        assert first[0, row] == pytest.approx(numeric, abs=1e-5 * scale.max(), rel=1e-5)
        curve = (sides[0][1] - sides[1][1]) / (2.0 * step)
        np.testing.assert_allclose(second[row] / scale / scale[row], curve / scale / scale[row], atol=3e-5)


@quick
@given(seed=st.integers(0, 10**6))
def test_profiled_gammas_are_the_fitted_ones(workspace: Build, seed: int) -> None:
    """The same minimum, parameters and covariance whether the gammas are profiled or fitted like the others."""
    spec = workspace(seed, size=0.05)
    model = engine.from_workspace(spec)
    counts = engine.observed(spec, model)
    one, other = engine.fit(model, counts), engine.fit(model.unprofiled(), counts)
    assert one.goodness == pytest.approx(other.goodness, abs=1e-7)
    if not one.at_bound and one.convex and _determined(one):
        error = np.sqrt(np.diag(one.full_covariance))
        keep = error > 0.0
        np.testing.assert_allclose((one.parameters - other.parameters)[keep] / error[keep], 0.0, atol=1e-3)
        both = np.outer(error[keep], error[keep])
        gap = (one.full_covariance - other.full_covariance)[np.ix_(keep, keep)] / both
        np.testing.assert_allclose(gap, 0.0, atol=1e-3)


def _determined(fitted: engine.Fitted) -> bool:
    try:
        return bool(np.isfinite(fitted.covariance).all())
    except FitError:
        return False


@settings(quick, max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_minimum_is_never_above_that_of_minuit(workspace: Build, oracle: Build, seed: int) -> None:
    """pyhf with MINUIT never finds a lower -2 ln L; its own rounding allowed for."""
    from iminuit import Minuit

    spec = workspace(seed)
    model = engine.from_workspace(spec)
    other, data = oracle(spec)

    def objective(values: np.ndarray) -> float:
        return float(-2.0 * np.asarray(other.logpdf(values, data)).item())

    minuit = Minuit(objective, np.array(other.config.suggested_init()), name=other.config.par_names)
    minuit.errordef, minuit.limits = Minuit.LIKELIHOOD, other.config.suggested_bounds()
    minuit.fixed = other.config.suggested_fixed()
    minuit.migrad()
    assert engine.fit(model, engine.observed(spec, model)).twice_nll <= minuit.fval + 1e-8
