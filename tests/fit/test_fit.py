"""Fits against closed forms: counting, the linear-Gaussian limit, the cost of ignoring correlation."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.errors import ConfigError, DataError
from shiftlab.fit import FitError, fit
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.covariance import observed_information
from shiftlab.fit.measurement import likelihood
from shiftlab.templates import Templates

Build = Callable[..., Templates]

TWO = {
    "flavour": [[40.0, 80.0, 160.0], [300.0, 150.0, 60.0], [50.0, 60.0, 70.0]],
    "energy": [[90.0, 110.0, 80.0], [150.0, 200.0, 160.0], [80.0, 60.0, 40.0]],
}


def small(scale: float) -> dict[str, tuple[object, object]]:
    """Three nuisances on the six bins of TWO, norm and shape, odd."""
    rng = np.random.default_rng(3)
    found: dict[str, tuple[object, object]] = {}
    for name in ("gain_scale", "lifetime_tau", "recombination_alpha"):
        shift = scale * rng.normal(size=(3, 6))
        found[name] = (shift, -shift)
    return found


def test_sigma_of_one_bin_without_systematics_is_that_of_counting(build: Build) -> None:
    """One bin, s + b events: sigma(mu) = sqrt(s + b) / s; the Monte Carlo error adds in quadrature."""
    result = fit(build({"energy": [[100.0], [300.0]]}, {}, mc=1e-6))
    assert result.fits["asimov"].error == pytest.approx(math.sqrt(400.0) / 100.0, rel=1e-3)
    assert result.summary["sigma"] == pytest.approx(result.summary["sigma_statistical"], rel=1e-3)
    assert result.impacts.empty
    assert result.summary["largest_impact"] is None


def test_one_bin_with_a_yield_uncertainty_adds_it_in_quadrature(build: Build) -> None:
    """One bin, background yield ±10%: Var(mu) = (n + (0.1 b)^2) / s^2 in the Gaussian limit."""
    effect = np.array([[0.0], [0.1]])
    result = fit(build({"energy": [[1000.0], [3000.0]]}, {"gain_scale": (effect, -effect)}, mc=1e-6))
    expected = math.sqrt(4000.0 + 300.0**2) / 1000.0
    assert math.sqrt(sum(result.components.query("group == 'nuisance'")["sigma"] ** 2) + 4000.0 / 1000.0**2) == (
        pytest.approx(expected, rel=5e-3)
    )
    assert result.summary["sigma"] == pytest.approx(expected, rel=5e-3)


def test_asimov_fit_returns_one_and_no_pulls_from_anywhere(build: Build) -> None:
    """The minimum for Asimov data is the nominal point, also from a start elsewhere."""
    templates = build(TWO, small(0.05), mc=0.02)
    model = likelihood(templates)
    start = model.parameters.initial.copy()
    start[model.outer] += engine.fit(model, templates.expected).covariance.diagonal() ** 0.5
    found = engine.fit(model, templates.expected, start=start)
    np.testing.assert_allclose(found.parameters, model.parameters.initial, atol=1e-5)
    asimov = fit(templates, refits=0).fits["asimov"]
    assert asimov.mu == pytest.approx(1.0, abs=1e-6)
    assert asimov.parameters["pull"].abs().max() < 1e-6
    assert asimov.goodness == pytest.approx(0.0, abs=1e-6)
    assert asimov.p_value == pytest.approx(1.0)


def test_covariance_of_asimov_data_is_the_inverse_information(build: Build) -> None:
    """At n = lambda observed and expected information agree."""
    model = likelihood(build(TWO, small(0.05), mc=0.02))
    nominal, held = model.parameters.initial[None], model.parameters.fixed[None]
    both = [observed_information(model, engine.asimov(model), nominal, held, curved=c) for c in (True, False)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-9, atol=1e-9)


def test_minimum_and_covariance_agree_with_pyhf_and_minuit(build: Build, pyhf_model: Callable[..., Any]) -> None:
    """Away from Asimov data, with same-side parts: MINUIT finds nothing lower, and HESSE the same errors."""
    from iminuit import Minuit

    rng = np.random.default_rng(8)
    effects = {name: (rng.normal(0.03, 0.05, (3, 6)), rng.normal(0.03, 0.05, (3, 6))) for name in ("a", "b", "c")}
    templates = build(TWO, effects, mc=0.05)
    counts = templates.expected * (1.0 + 0.05 * rng.normal(size=6))
    best = engine.fit(likelihood(templates), counts)
    oracle = pyhf_model(templates)
    minuit = Minuit(lambda p: oracle.twice_nll(p, counts), oracle.initial, name=oracle.names)
    minuit.errordef, minuit.limits = Minuit.LEAST_SQUARES, list(zip(oracle.lower, oracle.upper, strict=True))
    minuit.migrad()
    assert minuit.valid
    assert best.twice_nll <= minuit.fval + 1e-8
    order = [oracle.names.index(name) for name in best.model.parameters.names]
    errors = np.sqrt(np.diag(best.full_covariance))
    np.testing.assert_allclose(best.parameters, np.array(minuit.values)[order], atol=0.01 * errors.max())
    point = np.empty_like(best.parameters)
    point[order] = best.parameters
    hesse = Minuit(lambda p: oracle.twice_nll(p, counts), point)
    hesse.hesse()
    found = np.array(hesse.covariance)[np.ix_(order, order)]
    np.testing.assert_allclose(
        best.full_covariance / np.outer(errors, errors), found / np.outer(errors, errors), atol=0.005
    )


def test_covariance_where_the_likelihood_is_not_convex_comes_from_first_derivatives(build: Build) -> None:
    """Data far above rates that an even shift bends upward: the curvature outweighs the data, and is left out."""
    even = np.full((3, 6), 0.5)
    templates = build(TWO, {"a": (even, even)}, mc=0.05)
    model = likelihood(templates)
    fitted = engine.fit(model, 4.0 * templates.expected, fixed={"mu": 1.0})
    at_nominal = replace(fitted, parameters=model.parameters.initial)
    assert not at_nominal.convex
    assert at_nominal.error("a") == pytest.approx(1.0)  # no slope at nominal: only the prior is left
    assert fitted.convex
    assert abs(fitted.value("a")) > 1.0


def test_closed_form_impacts_equal_refits_in_the_gaussian_limit(build: Build) -> None:
    """Many events and small shifts: C_mk / sqrt(C_kk) is what a refit at one post-fit sigma gives, to 1%."""
    large = {name: (np.array(values) * 1e4).tolist() for name, values in TWO.items()}
    result = fit(build(large, small(0.003)))
    np.testing.assert_allclose(result.impacts["up"], result.impacts["closed_form"], rtol=0.01)
    np.testing.assert_allclose(result.impacts["down"], -result.impacts["closed_form"], rtol=0.01)


def test_same_side_impact_is_seen_by_the_refit_only(build: Build) -> None:
    effect = np.zeros((3, 6))
    effect[1] = 0.1
    impacts = fit(build(TWO, {"noise_enc": (effect, effect)})).impacts.iloc[0]
    assert abs(impacts["closed_form"]) < 1e-6
    assert impacts["up"] * impacts["down"] > 0.0
    assert impacts["impact"] == pytest.approx(max(abs(impacts["up"]), abs(impacts["down"])))


def test_components_add_up_to_the_total_variance(build: Build) -> None:
    result = fit(build(TWO, small(0.1), mc=0.05), refits=0)
    sigma = result.components.set_index("component")["sigma"]
    parts = sigma[["data statistics", "MC statistics", "systematics"]]
    assert (parts**2).sum() == pytest.approx(sigma["total"] ** 2, rel=1e-6)
    nuisances = result.components.query("group == 'nuisance'")["sigma"]
    assert (nuisances**2).sum() == pytest.approx(sigma["systematics"] ** 2, rel=1e-9)


def test_response_is_the_change_of_mu_per_event(build: Build) -> None:
    """d mu / d n, linearised, predicts the refit of data with a few more events in one bin."""
    large = {name: (np.array(values) * 100).tolist() for name, values in TWO.items()}
    templates = build(large, small(0.02), mc=0.01)
    result = fit(templates, refits=0)
    more = templates.expected.copy()
    more[4] += 50.0
    moved = engine.fit(likelihood(templates), more).value("mu") - 1.0
    assert moved == pytest.approx(50.0 * result.response["dmu_dn"].iloc[4], rel=0.02)


def test_decorrelated_sandwich_of_two_counting_channels(build: Build) -> None:
    """Two equal one-bin channels, yield effect r of the background in both, closed form.

    Correlated: Var = (n/2 + (r b)^2) / s^2 (averaging does not help the shared part).
    Decorrelated claims (n + (r b)^2) / (2 s^2); its true spread, weights being equal, is the correlated one.
    """
    s, b, r = 1000.0, 3000.0, 0.03
    effect = np.array([[0.0, 0.0], [r, r]])
    one = [[s], [b]]
    templates = build({"flavour": one, "energy": one}, {"gain_scale": (effect, -effect)}, mc=1e-7)
    result = fit(templates, refits=0)
    table = result.decorrelated.set_index("scheme")
    n, shared = s + b, (r * b) ** 2
    true = math.sqrt(n / 2 + shared) / s
    claimed = math.sqrt((n + shared) / 2) / s
    assert table.loc["correlated", "claimed"] == pytest.approx(true, rel=1e-3)
    assert table.loc["correlated", "true"] == pytest.approx(true, rel=1e-3)
    assert table.loc["decorrelated", "claimed"] == pytest.approx(claimed, rel=1e-3)
    assert table.loc["decorrelated", "true"] == pytest.approx(true, rel=1e-3)
    coverage = math.erf(claimed / true / math.sqrt(2.0))
    assert table.loc["decorrelated", "coverage"] == pytest.approx(coverage, rel=1e-3)


def test_decorrelated_claim_is_what_a_fit_of_the_decorrelated_workspace_gives(build: Build) -> None:
    templates = build(TWO, small(0.08), mc=0.03)
    apart = fit(templates.decorrelated(), refits=0)
    table = fit(templates, refits=0).decorrelated.set_index("scheme")
    assert apart.fits["asimov"].error == pytest.approx(table.loc["decorrelated", "claimed"], rel=2e-3)


def test_injected_signal_is_recovered_with_its_bias(build: Build) -> None:
    """Twice the signal: mu = 2; a spectrum that fits has a good saturated chi2."""
    plain = build(TWO, small(0.02))
    twice = (plain.expected + plain.nominal[0]).tolist()
    result = fit(build(TWO, small(0.02), injected=twice), refits=0)
    injected = result.fits["injected"]
    assert injected.mu == pytest.approx(2.0, abs=0.01)
    assert injected.p_value > 0.99
    assert result.summary["injected_bias"] == pytest.approx((injected.mu - 1.0) / injected.error)
    assert result.summary["injected_shift"] == pytest.approx(injected.mu - result.summary["mu_held_out"])
    response = result.response["dmu_dn"].to_numpy()
    error = math.sqrt((response**2 * np.array(twice)).sum())
    assert result.summary["injected_bias_mc_error"] == pytest.approx(error / injected.error)


def test_a_shift_that_no_event_shows_still_has_an_error(build: Build) -> None:
    """No held-out event changes bin: the error is the 68% limit for none seen, not zero."""
    plain = build(TWO, small(0.02))
    templates = build(TWO, small(0.02), injected=plain.expected.tolist())
    still = replace(templates.observations["injected"], shift_variance=np.zeros(len(plain.expected)))
    unmoved = replace(templates, observations={**templates.observations, "injected": still})
    result = fit(unmoved, refits=0)
    response = np.abs(result.response["dmu_dn"].to_numpy())
    assert math.exp(-1.14) == pytest.approx(0.32, abs=0.001)
    assert result.summary["injected_shift_error"] == pytest.approx(1.14 * response.max())


def test_what_is_minimised_is_the_likelihood_of_pyhf(build: Build, pyhf_model: Callable[..., Any]) -> None:
    """-2 ln L of the engine, and its saturated form less one constant, wherever the parameters and zeros are."""
    templates = build(TWO, small(0.1), mc=0.05)
    model, oracle = likelihood(templates), pyhf_model(templates)
    order = [oracle.names.index(name) for name in model.parameters.names]
    rng = np.random.default_rng(4)
    counts = rng.poisson(templates.expected).astype(float)
    counts[2] = 0.0
    points = model.parameters.initial + 0.2 * rng.normal(size=(20, len(model.parameters)))
    theirs = np.empty_like(points)
    theirs[:, order] = points
    data = engine.spectra(model, np.tile(counts, (20, 1)))
    found = engine.twice_nll(model, data, points)
    np.testing.assert_allclose(found, [oracle.twice_nll(point, counts) for point in theirs], rtol=1e-12)


def test_goodness_of_fit_is_a_chi2_of_the_residuals(build: Build) -> None:
    """With many events the saturated chi2 is Pearson's."""
    templates = build({"energy": [[100.0, 50.0], [300.0, 350.0]]}, {}, mc=1e-5)
    model = likelihood(templates)
    counts = np.array([430.0, 380.0])
    found = engine.fit(model, counts)
    rates = engine.expected(model, found.parameters)
    pearson = ((counts - rates) ** 2 / rates).sum()
    assert found.goodness == pytest.approx(pearson, rel=0.05)


def test_parameters_name_kind_and_constraint(build: Build) -> None:
    result = fit(build(TWO, small(0.3), mc=0.05), refits=0)
    table = result.parameters
    assert list(table.columns) == [
        "observation", "name", "kind", "prefit", "bestfit", "error", "pull", "constraint", "injected",
    ]  # fmt: skip
    assert list(table["kind"][:4]) == ["poi", "nuisance", "nuisance", "nuisance"]
    assert (table["kind"] == "mc_stat").sum() == 6
    assert (table.query("kind == 'nuisance'")["constraint"] < 1.0).all()
    assert table["prefit"].iloc[1] == 1.0
    assert list(result.fits["asimov"].correlation.index) == list(table["name"][:4])


def test_a_fit_at_the_bound_says_so(build: Build) -> None:
    plain = build(TWO, {})
    result = fit(build(TWO, {}, injected=(0.8 * plain.nominal[1:].sum(axis=0)).tolist()), refits=0)
    assert result.fits["injected"].at_limit == ("mu",)
    assert result.summary["at_limit"] == "mu"


def test_fit_without_signal_is_refused_by_name(build: Build) -> None:
    with pytest.raises(FitError, match="scratch-0 to asimov: the likelihood does not fix 'mu': no bin depends on it"):
        fit(build({"energy": [[0.0, 0.0], [10.0, 20.0]]}, {}))


def test_negative_counts_are_refused(build: Build) -> None:
    with pytest.raises(FitError, match="scratch-0 to injected: observed counts are negative"):
        fit(build(TWO, {}, injected=[-1.0] * 6))


def test_negative_templates_and_refits_are_refused(build: Build) -> None:
    effect = np.full((3, 6), -1.5)
    with pytest.raises(DataError, match="up is negative in channel 'flavour', sample 'nue_cc', bin 0, nuisance 'gain"):
        fit(build(TWO, {"gain_scale": (effect, -effect)}))
    with pytest.raises(ConfigError, match=r"fit\.refits = -1"):
        fit(build(TWO, {}), refits=-1)


def test_all_fits_of_one_arm_and_seed_take_seconds(build: Build) -> None:
    """Twelve bins, twelve nuisances, three spectra and all refits."""
    rng = np.random.default_rng(5)
    four = {name: (100.0 * rng.uniform(0.5, 2.0, size=(3, 3))).tolist() for name in ("a", "b", "c", "d")}
    effects = {}
    for k in range(12):
        shift = 0.03 * rng.normal(size=(3, 12))
        effects[f"nuisance_{k}"] = (shift, -shift)
    plain = build(four, effects, mc=0.05)
    templates = build(four, effects, mc=0.05, injected=rng.poisson(plain.expected).tolist())
    begin = time.process_time()
    result = fit({("scratch", 0): templates})["scratch", 0]
    assert time.process_time() - begin < 1.0
    assert set(result.fits) == {"asimov", "held_out", "injected"}
