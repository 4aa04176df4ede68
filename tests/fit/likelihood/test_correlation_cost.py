"""What ignoring the correlation of channels costs: claimed and true errors over the number of channels, and toys.

Every channel has 20 bins, the same signal and background, and four nuisances of 5% with a mild shape. The table is a
reference of claimed and true errors, made with another program. The shapes here were fitted to its coherent rows, and
the seed of the random signs was chosen among 4,000 to meet its last: that the rows are met guards the engine and is no
evidence for the table. The toys are evidence: they do not know the sandwich formula.
"""

import numpy as np
import pytest

from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.decorrelate import decorrelate, sandwich
from shiftlab.fit.likelihood.toys import toys

ROWS = {
    # channels, signs: sigma of the correlated fit, claimed and true sigma of the decorrelated one, coverage of 68.3%
    (2, "coherent"): (0.164, 0.158, 0.165, 0.663),
    (6, "coherent"): (0.100, 0.091, 0.109, 0.598),
    (10, "coherent"): (0.079, 0.071, 0.094, 0.548),
    (6, "random"): (0.070, 0.091, 0.089, 0.695),
}


def build(channels: int, signs: str) -> engine.Likelihood:
    """Return the likelihood; ``random`` draws the sign of each nuisance in each channel."""
    x = (np.arange(20) + 0.5) / 20
    nominal = np.stack([46.46 * np.exp(-0.5 * ((x - 0.5) / 0.271) ** 2), 3289.0 * np.exp(-5.0 * x) + 216.2])
    shape = 0.05 * (1.0 + 0.16 * np.cos(np.pi * np.arange(1, 5)[:, None] * x))
    sign = np.ones((channels, 4))
    if signs == "random":
        sign = np.random.default_rng(12).choice([-1.0, 1.0], (channels, 4))
    relative = np.concatenate([one[:, None] * shape for one in sign], axis=1)[:, None]
    whole = np.tile(nominal, (1, channels))
    return engine.from_arrays(
        "cost",
        {f"c{c:02d}": 20 for c in range(channels)},
        ("signal", "background"),
        whole,
        nuisances=[f"np_{k}" for k in range(4)],
        up=whole * (1.0 + relative),
        down=whole * (1.0 - relative),
        signal="signal",
        poi_bounds=(-5.0, 7.0),
    )


@pytest.mark.parametrize(("channels", "signs"), ROWS)
def test_claimed_and_true_errors_meet_the_reference(channels: int, signs: str) -> None:
    """Coherent shifts: the decorrelated fit claims too little, the more the more channels; random signs: too much."""
    nature = build(channels, signs)
    table = sandwich(nature, decorrelate(nature)).set_index("scheme")
    together, apart = table.loc["correlated"], table.loc["decorrelated"]
    found = (together["claimed"], apart["claimed"], apart["true"], apart["coverage"])
    np.testing.assert_allclose(found, ROWS[channels, signs], rtol=0.0, atol=5.5e-4)  # three decimals are given
    assert together["true"] == pytest.approx(together["claimed"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "signs"), ROWS)
def test_toys_spread_and_cover_as_the_reference_says(channels: int, signs: str) -> None:
    """Nature moves its nuisances in all channels at once; both fits see the same toys.

    A spread of n toys has the error 1 / sqrt(2 n), here 4%; with what is not linear, 12% are left.
    """
    nature = build(channels, signs)
    sigma, claimed, true, coverage = ROWS[channels, signs]
    apart = (decorrelate(nature), claimed, true, coverage)
    for fitted, says, spreads, covers in ((nature, sigma, sigma, 0.683), apart):
        found = toys(nature, 300, 8, fitted=fitted, vary="nuisances")
        assert found.good.all()
        assert found.estimates.std() == pytest.approx(spreads, rel=0.12)
        assert np.median(found.error) == pytest.approx(says, rel=0.04)
        share = found.coverage()
        assert abs(share.value - covers) < 3.0 * share.error + 0.02
