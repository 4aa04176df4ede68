"""Smoothing: cabinetry's reference arrays, straight lines kept, noise reduced, and never before the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.templates.processing.significance import Significance
from shiftlab.templates.processing.smooth import penalised, smooth, smoothing_matrix
from shiftlab.templates.processing.tukey import smooth_353qh_twice, smooth_ratio

REFERENCE = [
    ([1, 3, 2, 5], [1, 2, 3.25, 5]),
    ([1, 3, 2, 5, 11, 3, 8], [1, 2.125, 3.66666675, 5.08333349, 6.16666651, 7.375, 8]),
    (
        [0.16505027, 0.92460960, 0.04765633, 0.36997846, 0.37872216],
        [0.16505027, 0.21628231, 0.31874642, 0.36997846, 0.36997846],
    ),
    (
        [0.29093575, 0.93474650, 0.29723760, 0.61081952, -1.0],
        [0.29093575, 0.52901053, 0.47264278, -0.06587567, -1.0],
    ),
    ([1, 3], [1, 3]),
]
"""Arrays and results of cabinetry's tests of ``smooth_353QH_twice`` (BSD 3-clause), rounded to single precision."""

THERE = Significance(50.0, 3, 1e-9, 0.1)


@pytest.mark.parametrize(("given_", "wanted"), REFERENCE)
def test_353qh_twice_gives_the_reference_arrays_of_cabinetry(given_: list[float], wanted: list[float]) -> None:
    np.testing.assert_allclose(smooth_353qh_twice(given_), wanted, rtol=1e-6)


def test_353qh_on_the_ratio_keeps_the_yield() -> None:
    nominal = np.array([10.0, 30.0, 50.0, 30.0, 10.0])
    shifted = nominal * [1.1, 0.9, 1.2, 1.0, 1.1]
    assert smooth_ratio(nominal, shifted).sum() == pytest.approx(shifted.sum())


@given(st.floats(-0.1, 0.1), st.floats(-0.02, 0.02), st.integers(3, 9))
def test_a_straight_line_is_not_changed(level: float, slope: float, bins: int) -> None:
    """The penalty has no second difference to act on, whatever the weights."""
    nominal = np.linspace(20.0, 80.0, bins)
    delta = nominal * (level + slope * np.arange(bins))
    made = penalised(nominal, delta, np.diag(nominal))
    np.testing.assert_allclose(made.delta, delta, atol=1e-8)
    assert made.numbers["chi2"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("penalty", "wanted"), [(1e-12, 8.0), (1e12, 2.0)])
def test_effective_parameters_go_from_all_bins_to_a_line(penalty: float, wanted: float) -> None:
    assert np.trace(smoothing_matrix(np.diag(np.linspace(1.0, 3.0, 8)), penalty)) == pytest.approx(wanted, abs=1e-3)


def test_smoothing_brings_a_noisy_line_closer_to_the_truth_and_takes_fake_information_away() -> None:
    """200 draws with a known, correlated covariance: mean squared distance to the truth in that covariance.

    chi2 per degree of freedom is somewhat below 1, as cross-validation follows some of the noise.
    """
    rng = np.random.default_rng(1)
    bins, nominal = 12, np.full(12, 100.0)
    truth = nominal * 0.02 * np.linspace(-1.0, 1.0, bins)
    root = np.eye(bins) - 0.5 * np.eye(bins, k=1)
    covariance = root @ root.T
    raw, made, chi, information = [], [], [], []
    for _ in range(200):
        delta = truth + root @ rng.normal(size=bins)
        one = penalised(nominal, delta, covariance)
        raw.append(delta - truth)
        made.append(one.delta - truth)
        chi += [one.numbers["chi2"] / one.numbers["ndf"]] if one.numbers["ndf"] > 5.0 else []
        information.append([one.numbers["information_raw"], one.numbers["information_smooth"]])
    inverse = np.linalg.inv(covariance)
    before, after = (np.mean([x @ inverse @ x for x in rows]) for rows in (raw, made))
    assert before == pytest.approx(bins, rel=0.1)
    assert after < 0.5 * before
    assert len(chi) > 150
    assert np.mean(chi) == pytest.approx(0.9, abs=0.1)
    fake = np.mean(information, axis=0) - (truth**2 / nominal).sum()
    assert fake[0] == pytest.approx(np.trace(covariance) / 100.0, rel=0.1)
    assert fake[1] < 0.3 * fake[0]


def test_a_bin_that_nothing_entered_or_left_is_not_carried_away() -> None:
    """Twenty events go from the first bin to the second; a straight line through both would put -60 in the fourth."""
    nominal, moved = np.full(4, 100.0), np.array([20.0, -20.0, 0.0, 0.0])
    made = penalised(nominal, moved, np.outer(moved, moved) / 20.0)
    assert abs(made.delta[3]) < 10.0
    assert made.delta.sum() == pytest.approx(0.0, abs=1e-6)


def test_covariances_go_with_the_matrix() -> None:
    """What the matrix makes of raw shifts is the smoothed shift, in events."""
    rng = np.random.default_rng(2)
    nominal = np.linspace(10.0, 40.0, 6)
    rows = rng.normal(size=(60, 6))
    made = penalised(nominal, rows.sum(axis=0), rows.T @ rows)
    assert made.matrix is not None
    np.testing.assert_allclose(made.matrix @ rows.sum(axis=0), made.delta, rtol=1e-9)


@pytest.mark.parametrize(
    ("nominal", "test", "said"),
    [
        (np.full(4, 10.0), Significance(3.0, 3, 0.39, 0.1), "not significant: not smoothed"),
        (np.full(2, 10.0), THERE, "fewer than three bins: not smoothed"),
        (np.array([10.0, 0.0, 10.0]), THERE, "an empty bin: not smoothed"),
    ],
)
def test_what_is_not_significant_or_too_short_stays(nominal: np.ndarray, test: Significance, said: str) -> None:
    delta = np.arange(len(nominal)) ** 2.0
    for how in ("penalised", "353qh"):
        made = smooth(nominal, delta, np.eye(len(nominal)), test, 0.05, how)
        assert made.done == said
        np.testing.assert_array_equal(made.delta, delta)
    assert (
        smooth(np.full(4, 10.0), np.array([0.0, 3.0, 0.0, 3.0]), np.eye(4), THERE, 0.05, "353qh").done == "353QH twice"
    )
