"""The demo's headline says what its tables say, and says nothing where Monte Carlo noise hides the answer."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shiftlab.run import studies


def bias(excess, limited):
    """The two tables that the headline reads."""
    return SimpleNamespace(
        excess=pd.DataFrame(
            [
                {"arm": "foundation", "minus_arm": "scratch", "seed": 0, "recalibrate": "none", "pairs": 6}
                | {"excess": excess, "lo": excess - 0.1, "hi": excess + 0.1},
            ]
        ),
        table=pd.DataFrame(
            {
                "arm": ["foundation", "foundation", "scratch"],
                "seed": 0,
                "task": ["energy", "flavour", "energy"],
                "statistic": ["mean(reco/true - 1)", "AUC", "mean(reco/true - 1)"],
                "universe": ["gain_scale+1", "noise_enc+1", "gain_scale-1"],
                "group": "unisim",
                "recalibrate": "none",
                "bias": [0.02, -0.5, -0.015],
                "bias_error": [0.001, 0.9, 0.001],
                "bias_over_sigma_data": [3.0, -9.0, -2.0],
                "mc_limited": [False, limited, False],
                "not_quoted": "",
            }
        ),
    )


@pytest.fixture
def demo():
    return studies().get("demo")()


def test_the_headline_quotes_the_excess_with_its_interval_and_the_fits(demo):
    results = {("foundation", 0): SimpleNamespace(summary={"sigma": 0.2, "sigma_systematic": 0.1})}
    lines = demo.headline(bias(0.4, limited=True), results)
    assert "by +0.40 [+0.30, +0.50] more than those of arm scratch (seed 0" in lines[0]
    assert "sigma(mu) = 0.200, of which detector systematics 0.100" in lines[-1]


def test_the_row_of_all_seeds_stands_for_the_excess(demo):
    one = bias(0.4, limited=True)
    one.excess = pd.concat([one.excess, one.excess.assign(seed="all", excess=0.3, lo=0.1, hi=0.5)])
    (line,) = [line for line in demo.headline(one, {}) if "correlate" in line]
    assert "by +0.30 [+0.10, +0.50]" in line
    assert "seed all" in line
    assert "68% interval over events and seeds" in line


def test_a_bias_that_its_monte_carlo_error_hides_is_not_the_largest(demo):
    hidden = demo.headline(bias(0.4, limited=True), {})
    seen = demo.headline(bias(0.4, limited=False), {})
    assert any("arm foundation: energy" in line and "3.00 data statistical errors" in line for line in hidden)
    assert any("arm foundation: flavour" in line for line in seen)


def test_without_a_reliable_correlation_nothing_is_concluded(demo):
    assert "No pair of tasks" in demo.headline(bias(np.nan, limited=True), {})[0]


def test_the_demo_says_what_its_samples_are_not(demo):
    assert any("quasi-elastic only" in line for line in demo.samples)
    assert any("composed" in line for line in demo.samples)
