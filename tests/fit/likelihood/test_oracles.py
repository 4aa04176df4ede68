"""Fits against closed forms and identities that no implementation can share by accident."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.components import components, groups
from shiftlab.fit.likelihood.decorrelate import decorrelate, sandwich
from shiftlab.fit.likelihood.impacts import impacts, one_sided, refit_impacts
from shiftlab.fit.likelihood.scan import interval, scan

CHANNELS = {"flavour": 3, "energy": 4}
SAMPLES = ("signal", "background")
NOMINAL = np.array([[40.0, 80.0, 160.0, 90.0, 60.0, 40.0, 30.0], [300.0, 150.0, 60.0, 200.0, 210.0, 160.0, 90.0]])


def small(size: float, count: int = 3, seed: int = 3, scale: float = 1.0, **more: Any) -> engine.Likelihood:
    """Odd nuisances of relative ``size`` on two channels, yields times ``scale``."""
    shift = size * np.random.default_rng(seed).normal(size=(count, *NOMINAL.shape))
    nominal = scale * NOMINAL
    settings: dict[str, Any] = {"variance": (0.02 * nominal) ** 2, "signal": "signal"} | more
    return engine.from_arrays(
        "toy",
        CHANNELS,
        SAMPLES,
        nominal,
        nuisances=[f"np{k}" for k in range(count)],
        up=nominal * (1.0 + shift),
        down=nominal * (1.0 - shift),
        **settings,
    )


def test_counting_with_a_yield_factor_has_a_closed_form() -> None:
    """One bin, n = b kappa^theta exactly at the minimum's equation theta = ln kappa (n - lambda), code 1.

    With mu free the minimum is saturated: theta = 0, mu = (n - b) / s, variance n / s^2 + (b ln kappa / s)^2.
    """
    s, b, kappa, n = 100.0, 300.0, 1.1, 450.0
    model = engine.from_arrays(
        "counting", {"one": 1}, ("s", "b"), [[s], [b]], nuisances=["norm"], signal="s",
        norm_up=[[[1.0], [kappa]]], norm_down=[[[1.0], [1.0 / kappa]]], norm_code="code1",
    )  # fmt: skip
    found = engine.fit(model, [n])
    assert found.value("mu") == pytest.approx((n - b) / s, rel=1e-9)
    assert found.value("norm") == pytest.approx(0.0, abs=1e-9)
    assert found.error("mu") == pytest.approx(math.sqrt(n / s**2 + (b * math.log(kappa) / s) ** 2), rel=1e-9)
    held = engine.fit(model, [n], fixed={"mu": 1.0})
    theta = held.value("norm")
    assert theta == pytest.approx(math.log(kappa) * b * kappa**theta * (n / (s + b * kappa**theta) - 1.0), rel=1e-6)


def test_poisson_gamma_is_the_pooled_count() -> None:
    """One bin, gamma from n data and m Monte Carlo events: gamma = (n + m) / (lambda + m)."""
    model = engine.from_arrays("pooled", {"one": 1}, ("b",), [[20.0]], variance=[[20.0]], mc="poisson")
    found = engine.fit(model, [30.0])
    assert found.parameters[0] == pytest.approx((30.0 + 20.0) / (20.0 + 20.0), rel=1e-12)
    assert found.error("mcstat_one[0]") ** 2 == pytest.approx(1.25**2 / 50.0, rel=1e-9)


def test_linear_gaussian_limit_is_generalised_least_squares() -> None:
    """Many events: estimate and variance are those of GLS with covariance data + MC + nuisances."""
    model = small(0.002, scale=1e7, variance=(2e-4 * 1e7 * NOMINAL) ** 2)
    rng = np.random.default_rng(1)
    total = 1e7 * NOMINAL.sum(axis=0)
    counts = total + np.sqrt(total) * rng.normal(size=7)
    shift = 0.002 * np.random.default_rng(3).normal(size=(3, *NOMINAL.shape))
    columns = (1e7 * NOMINAL * shift).sum(axis=1)
    monte_carlo = ((2e-4 * 1e7 * NOMINAL) ** 2).sum(axis=0)
    weight = np.linalg.inv(np.diag(total + monte_carlo) + columns.T @ columns)
    signal = 1e7 * NOMINAL[0]
    variance = 1.0 / (signal @ weight @ signal)
    found = engine.fit(model, counts)
    assert found.error("mu") == pytest.approx(math.sqrt(variance), rel=2e-3)
    expected = 1.0 + variance * (signal @ weight @ (counts - total))
    assert found.value("mu") - 1.0 == pytest.approx(expected - 1.0, abs=5e-3 * math.sqrt(variance))


def test_nuisances_rotated_to_eigenmodes_are_the_same_likelihood() -> None:
    """J J^T = C: any orthogonal mixture of unit-Gaussian nuisances has the same mu, sigma and goodness."""
    shift = 0.03 * np.random.default_rng(3).normal(size=(4, *NOMINAL.shape)) * NOMINAL
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    counts = np.random.default_rng(2).poisson(NOMINAL.sum(axis=0)).astype(float)
    found = []
    for modes in (shift, np.tensordot(rotation, shift, axes=1)):
        model = engine.from_arrays(
            "modes", CHANNELS, SAMPLES, NOMINAL, nuisances=list("abcd"), up=NOMINAL + modes, down=NOMINAL - modes,
            signal="signal", variance=NOMINAL,
        )  # fmt: skip
        fitted = engine.fit(model, counts)
        found.append((fitted.value("mu"), fitted.error("mu"), fitted.goodness))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_order_of_channels_samples_and_nuisances_does_not_matter() -> None:
    shift = 0.05 * np.random.default_rng(3).normal(size=(3, *NOMINAL.shape))
    counts = np.random.default_rng(2).poisson(NOMINAL.sum(axis=0)).astype(float)
    bins = [3, 4, 5, 6, 0, 1, 2]
    one = engine.from_arrays(
        "one", CHANNELS, SAMPLES, NOMINAL, nuisances=list("abc"), up=NOMINAL * (1 + shift), down=NOMINAL * (1 - shift),
        signal="signal", variance=NOMINAL,
    )  # fmt: skip
    mixed = shift[::-1, ::-1][..., bins]
    turned = NOMINAL[::-1][:, bins]
    other = engine.from_arrays(
        "two", dict(reversed(CHANNELS.items())), SAMPLES[::-1], turned, nuisances=list("cba"),
        up=turned * (1 + mixed), down=turned * (1 - mixed), signal="signal", variance=turned,
    )  # fmt: skip
    first, second = engine.fit(one, counts), engine.fit(other, counts[bins])
    assert first.goodness == pytest.approx(second.goodness, rel=1e-9)
    for name in one.parameters.names:
        assert first.value(name) == pytest.approx(second.value(name), abs=1e-6)
        assert first.error(name) == pytest.approx(second.error(name), rel=1e-6)


def test_a_nuisance_split_by_root_two_is_the_same_uncertainty() -> None:
    """Two nuisances of 1/sqrt2 each with the same templates: the same sigma of mu."""
    whole = small(0.05, count=1)
    half = engine.from_arrays(
        "half", CHANNELS, SAMPLES, NOMINAL, nuisances=("a", "b"), signal="signal", variance=(0.02 * NOMINAL) ** 2,
        up=NOMINAL + np.stack([whole.odd.reshape(NOMINAL.shape)] * 2) / math.sqrt(2.0),
        down=NOMINAL - np.stack([whole.odd.reshape(NOMINAL.shape)] * 2) / math.sqrt(2.0),
    )  # fmt: skip
    errors = [engine.fit(model, NOMINAL.sum(axis=0)).error("mu") for model in (whole, half)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)


def test_statistical_sigma_scales_with_the_root_of_the_exposure() -> None:
    errors = []
    for scale in (1.0, 9.0):
        model = engine.from_arrays("x", CHANNELS, SAMPLES, scale * NOMINAL, signal="signal")
        errors.append(engine.fit(model, scale * NOMINAL.sum(axis=0)).error("mu"))
    assert errors[1] == pytest.approx(errors[0] / 3.0, rel=1e-12)


def test_decorrelated_and_unshared_channels_are_independent_fits() -> None:
    """With a signal strength per channel too, the joint fit is the two fits side by side."""
    model = decorrelate(small(0.05))
    assert [n for n in model.parameters.names if n.startswith("np0")] == ["np0__flavour", "np0__energy"]
    counts = np.random.default_rng(2).poisson(NOMINAL.sum(axis=0)).astype(float)
    p = model.parameters
    index = p.index("mu")
    names = (*p.names, "mu_energy")
    columns = {
        key: np.append(getattr(p, key), getattr(p, key)[index])
        for key in ("initial", "lower", "upper", "fixed", "centre", "width", "tau")
    }
    mask = np.repeat(model.scale_mask, 2, axis=0)
    mask[0, 2:], mask[1, :2] = False, False
    apart = replace(
        model,
        parameters=engine.Parameters(names, (*p.kinds, "normfactor"), **columns),
        scale_index=np.array([index, len(p)]),
        scale_mask=mask,
    )
    joint = engine.fit(apart, counts)
    shift = 0.05 * np.random.default_rng(3).normal(size=(3, *NOMINAL.shape))
    goodness = 0.0
    for channel, name, part in (("flavour", "mu", slice(0, 3)), ("energy", "mu_energy", slice(3, 7))):
        nominal = NOMINAL[:, part]
        single = engine.from_arrays(
            channel, {channel: CHANNELS[channel]}, SAMPLES, nominal, nuisances=["np0", "np1", "np2"], signal="signal",
            up=nominal * (1 + shift[..., part]), down=nominal * (1 - shift[..., part]), variance=(0.02 * nominal) ** 2,
        )  # fmt: skip
        fitted = engine.fit(single, counts[part])
        goodness += fitted.goodness
        assert joint.value(name) == pytest.approx(fitted.value("mu"), rel=1e-6)
        assert joint.error(name) == pytest.approx(fitted.error("mu"), rel=1e-6)
        assert joint.value(f"np1__{channel}") == pytest.approx(fitted.value("np1"), abs=1e-6)
    assert joint.goodness == pytest.approx(goodness, rel=1e-9)


def test_components_add_up_and_match_shifted_measurements() -> None:
    """Squares sum to the variance; each part is what a refit with that number shifted gives (linear model)."""
    model = small(0.01, scale=1e4)
    parts = components(model)
    assert abs(parts.sum_check) < 1e-9
    table = parts.table().set_index("component")
    whole = table.loc[["data statistics", "MC statistics", "systematics"], "sigma"]
    assert (whole**2).sum() == pytest.approx(table.loc["total", "sigma"] ** 2, rel=1e-9)
    data = engine.asimov(model)
    for index in (model.parameters.index("np1"), model.parameters.index("mcstat_energy[2]")):
        centre = data.centre.copy()
        centre[0, index] += model.parameters.width[index]
        moved = engine.fit(model, engine.Spectra(data.counts, centre))
        assert moved.value("mu") - 1.0 == pytest.approx(parts.auxiliary[index], rel=0.02)
    counts = data.counts.copy()
    counts[0, 1] += math.sqrt(counts[0, 1])
    assert engine.fit(model, counts[0]).value("mu") - 1.0 == pytest.approx(parts.data[1], rel=0.02)


def test_groups_in_quadrature_and_conditional() -> None:
    """One uncorrelated parameter: both agree; all auxiliary parameters: conditional leaves the data alone."""
    model = small(0.05)
    parts = components(model)
    everything = [n for n in model.parameters.names if n != "mu"]
    table = groups(parts, {"all": everything}).iloc[0]
    fixed = engine.fit(model, engine.asimov(model), fixed=dict.fromkeys(everything, 0.0) | {
        n: 1.0 for n in everything if n.startswith("mcstat")
    })  # fmt: skip
    assert parts.variance - table["conditional"] ** 2 == pytest.approx(fixed.error("mu") ** 2, rel=1e-9)
    assert table["quadrature"] ** 2 == pytest.approx((parts.auxiliary**2).sum(), rel=1e-9)


def test_closed_form_impacts_equal_refits_in_the_gaussian_limit() -> None:
    model = small(0.001, scale=1e6, variance=(3e-4 * 1e6 * NOMINAL) ** 2)
    fitted = engine.fit(model, engine.asimov(model))
    closed = impacts(fitted).table().set_index("name")
    refits = refit_impacts(fitted).set_index("name")
    names = [n for n in closed.index if n.startswith("np")]
    np.testing.assert_allclose(refits.loc[names, "up"], closed.loc[names, "postfit"], rtol=0.01)
    prefit = refit_impacts(fitted, names, size="prefit").set_index("name")
    np.testing.assert_allclose(prefit.loc[names, "up"], closed.loc[names, "prefit"], rtol=0.01)


def test_a_one_sided_nuisance_is_seen_by_the_refit_only() -> None:
    """Both variations on one side: no slope at nominal, the effect shows at +1 sigma."""
    effect = np.zeros((1, *NOMINAL.shape))
    effect[:, 1] = 0.1
    model = engine.from_arrays(
        "noise", CHANNELS, SAMPLES, NOMINAL, nuisances=["noise"], up=NOMINAL * (1 + effect),
        down=NOMINAL * (1 + effect), signal="signal",
    )  # fmt: skip
    assert one_sided(model) == ["noise"]
    assert one_sided(small(0.05)) == []
    fitted = engine.fit(model, engine.asimov(model))
    closed = impacts(fitted)
    assert closed.one_sided.all()
    assert abs(closed.postfit[0]) < 1e-6
    row = refit_impacts(fitted, size="prefit").iloc[0]
    assert row["up"] < -0.1
    assert row["up"] == pytest.approx(row["down"], rel=1e-6)


def test_interval_of_a_counting_experiment() -> None:
    """n ± 1: 2 (s - n + n ln(n / s)) = 1 on both sides; the scan goes through 1 there."""
    model = engine.from_arrays("n", {"one": 1}, ("s",), [[10.0]], signal="s")
    fitted = engine.fit(model, [10.0])
    found = interval(fitted, "mu")
    for end in (found.lower, found.upper):
        assert 2.0 * (10.0 * end - 10.0 - 10.0 * math.log(end)) == pytest.approx(1.0, abs=1e-3)
    table = scan(fitted, "mu", [found.lower, 1.0, found.upper])
    np.testing.assert_allclose(table["delta"], [1.0, 0.0, 1.0], atol=1e-3)
    empty = interval(engine.fit(model, [0.0]), "mu")
    assert empty.at_bound == ("lower",)
    assert empty.upper == pytest.approx(0.05, abs=1e-4)


def test_sandwich_of_two_counting_channels() -> None:
    """Equal one-bin channels, background yield ± r in both.

    Correlated: Var = (n / 2 + (r b)^2) / s^2; decorrelated claims (n + (r b)^2) / (2 s^2) and truly spreads
    like the correlated fit.
    """
    s, b, r = 1000.0, 3000.0, 0.03
    nominal = np.array([[s, s], [b, b]])
    effect = np.array([[[0.0, 0.0], [r, r]]])
    model = engine.from_arrays(
        "two", {"x": 1, "y": 1}, ("s", "b"), nominal, nuisances=["k"], up=nominal * (1 + effect),
        down=nominal * (1 - effect), signal="s",
    )  # fmt: skip
    table = sandwich(model, decorrelate(model)).set_index("scheme")
    n, shared = s + b, (r * b) ** 2
    true, claimed = math.sqrt(n / 2 + shared) / s, math.sqrt((n + shared) / 2) / s
    assert table.loc["correlated", "claimed"] == pytest.approx(true, rel=1e-9)
    assert table.loc["correlated", "true"] == pytest.approx(true, rel=1e-9)
    assert table.loc["decorrelated", "claimed"] == pytest.approx(claimed, rel=1e-9)
    assert table.loc["decorrelated", "true"] == pytest.approx(true, rel=1e-9)
    assert table.loc["decorrelated", "coverage"] == pytest.approx(math.erf(claimed / true / math.sqrt(2.0)), rel=1e-9)
