"""Toys: intervals cover as often as they say, correlated nature against decorrelated fits, and toys that fail."""

from typing import Any

import numpy as np
import pytest

from shiftlab.errors import ConfigError, DataError
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.decorrelate import decorrelate, sandwich
from shiftlab.fit.likelihood.toys import draw, template_toys, toys

NOMINAL = np.array([[40.0, 80.0, 60.0, 90.0, 60.0, 40.0], [300.0, 150.0, 60.0, 200.0, 110.0, 60.0]])


def build(size: float = 0.1, nominal: np.ndarray = NOMINAL, **more: Any) -> engine.Likelihood:
    """Two channels of three bins; two odd nuisances of relative ``size`` that act alike in both channels."""
    shift = size * np.array([np.ones((2, 6)), np.tile([[0.0] * 6, [1.0, 0.0, -1.0] * 2], (1, 1))])
    shift[0, 0] = 0.0
    settings: dict[str, Any] = {"variance": (0.03 * nominal) ** 2, "signal": "signal"} | more
    return engine.from_arrays(
        "toy", {"x": 3, "y": 3}, ("signal", "background"), nominal, nuisances=["norm", "tilt"],
        up=nominal * (1 + shift), down=nominal * (1 - shift), **settings,
    )  # fmt: skip


def test_intervals_cover() -> None:
    """68.3% and 95.4% intervals by error and by likelihood ratio, within 3.5 binomial errors; pulls unit wide."""
    found = toys(build(), 1500, 3, ratio=True)
    for level in (0.6827, 0.9545):
        for by in ("error", "rise"):
            share = found.coverage(level, by=by)
            assert share.counted > 1400
            assert abs(share.value - level) < 3.5 * share.error + 0.01
    assert abs(found.pulls().mean()) < 0.1
    assert found.pulls().std() == pytest.approx(1.0, abs=0.08)
    assert found.estimates.std() == pytest.approx(np.nanmean(found.error), rel=0.08)


def test_decorrelated_fits_spread_as_the_sandwich_says() -> None:
    """Nature moves both channels together; toys of the decorrelated fit spread by the true sigma, not the claimed."""
    nature = build(0.15, variance=None)
    apart = decorrelate(nature)
    table = sandwich(nature, apart).set_index("scheme").loc["decorrelated"]
    assert table["true"] > 1.1 * table["claimed"]
    found = toys(nature, 2000, 5, fitted=apart, vary="nuisances")
    assert found.estimates.std() == pytest.approx(table["true"], rel=0.06)
    assert np.nanmean(found.error) == pytest.approx(table["claimed"], rel=0.06)
    assert found.coverage().value == pytest.approx(table["coverage"], abs=0.04)


def test_toys_repeat_with_their_seed_and_agree_with_single_fits() -> None:
    model = build()
    one, two = toys(model, 20, 7), toys(model, 20, 7)
    np.testing.assert_array_equal(one.estimates, two.estimates)
    data = draw(model, model.parameters.initial, 20, np.random.default_rng(7))
    for row in (0, 13):
        single = engine.fit(model, data[np.array([row])])
        assert one.estimates[row] == pytest.approx(single.value("mu"), abs=1e-5)
        assert one.error[row] == pytest.approx(single.error("mu"), rel=1e-4)


def test_auxiliary_measurements_fluctuate_by_their_width() -> None:
    model = build(mc="poisson")
    p = model.parameters
    data = draw(model, p.initial, 4000, np.random.default_rng(1))
    use = p.constrained
    np.testing.assert_allclose(data.centre[:, use].std(axis=0), p.prior[use], rtol=0.06)
    np.testing.assert_allclose(data.counts.mean(axis=0), engine.expected(model, p.initial), rtol=0.02)


def test_a_failing_toy_is_recorded_and_stops_nothing() -> None:
    """A template of zero events in a bin with data cannot be fitted: that row fails, the others do not."""
    model = engine.from_arrays("gap", {"x": 2}, ("s",), [[10.0, 0.0]], signal="s")
    counts = np.array([[12.0, 0.0], [9.0, 1.0], [0.0, 0.0]])
    start = np.ones((3, 1))
    found = engine.fit_many(model, engine.spectra(model, counts), start, np.zeros((3, 1), dtype=bool))
    assert found.status == ("converged", "failed", "at bound")
    assert found.reason == ("", "the likelihood is not finite at the start", "mu")
    assert found.parameters[0, 0] == pytest.approx(1.2)


def test_toys_of_redrawn_templates_show_what_nominal_templates_hide() -> None:
    """Few Monte Carlo events: refitting with redrawn templates spreads mu by data and template statistics."""
    rng = np.random.default_rng(11)
    nature = build(0.0, variance=NOMINAL)

    def redrawn() -> engine.Likelihood:
        found = rng.poisson(NOMINAL).astype(float)
        return build(0.0, nominal=np.maximum(found, 1.0), variance=found)

    found = template_toys((redrawn() for _ in range(150)), nature, 2)
    data_only = toys(build(0.0, variance=None), 300, 2)
    assert len(found.status) == 150
    assert found.estimates[found.good].std() > 1.2 * data_only.estimates.std()


def test_monte_carlo_errors_count_once_where_templates_are_redrawn() -> None:
    """Templates that are not redrawn after all: mu spreads by the data alone, since gammas' centres stay at 1.

    With free gammas of 30% drawn around 1 it would spread 1.6 times as far.
    """
    nature = build(0.0, variance=(0.3 * NOMINAL) ** 2)
    fixed = build(0.0, variance=None)
    found = template_toys([fixed] * 150, nature, 2)
    data_only = toys(fixed, 1000, 3)
    assert found.estimates.std() == pytest.approx(data_only.estimates.std(), rel=0.15)
    assert toys(nature, 500, 2, fitted=fixed).estimates.std() == pytest.approx(data_only.estimates.std(), rel=0.15)
    same = template_toys([nature] * 150, nature, 2, ratio=True)
    assert same.estimates.std() < 0.75 * toys(nature, 1000, 3).estimates.std()
    assert np.isfinite(same.rise).all()


def test_templates_that_make_no_likelihood_are_failed_toys() -> None:
    """Parameters that the redrawn templates lack stay at their centres; an error in the place of one is its reason."""
    nature = build()
    fewer = build(variance=None)
    found = template_toys([nature, DataError("bin 2 expects no events"), fewer], nature, 4, ratio=True)
    assert found.status == ("converged", "failed", "converged")
    assert found.reason[1] == "bin 2 expects no events"
    assert list(found.good) == [True, False, True]
    np.testing.assert_array_equal(np.isfinite(found.rise), found.good)
    gammas = nature.parameters.of_kind("staterror")
    np.testing.assert_array_equal(found.parameters[2, gammas], 1.0)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="toys = 0"):
        toys(build(), 0, 1)
    with pytest.raises(ConfigError, match="vary = 'data'"):
        toys(build(), 1, 1, vary="data")
    with pytest.raises(ConfigError, match="no likelihood was given"):
        template_toys([], build(), 1)
    with pytest.raises(ConfigError, match="by = 'x'"):
        toys(build(), 1, 1).coverage(by="x")
    with pytest.raises(ConfigError, match="no parameter of interest"):
        toys(build(signal=None), 1, 1)
