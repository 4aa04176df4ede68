"""Closure beyond one sigma: a linear response passes at the stated rate, a quadratic one is found."""

import numpy as np
import pytest
from scipy.stats import kstest

from shiftlab.templates.processing import extrapolate
from shiftlab.templates.processing.closure import closure, closure_covariance

EDGES = np.linspace(0.0, 1.0, 6)


def histogram(values: np.ndarray) -> np.ndarray:
    """(vertex, bin), one event each."""
    return np.eye(5)[np.clip(np.searchsorted(EDGES, values, side="right") - 1, 0, 4)]


def compare(rng: np.random.Generator, curvature: float, events: int = 4000) -> tuple[float, int, float]:
    """Events x of a flat density move by z + curvature z^2 hundredths of 1: rates at inner edges are linear in that."""
    x = rng.uniform(-0.5, 1.5, size=events)
    nominal, near, far = (histogram(x + 0.01 * (z + curvature * z * z)) for z in (0.0, 1.0, 2.0))
    counts, up = nominal.sum(axis=0), near.sum(axis=0)
    predicted = extrapolate(counts, up, 2.0 * counts - up, 2.0)
    found = closure(counts, predicted, far.sum(axis=0), closure_covariance(nominal, near, far, 2.0))
    return found.chi2, found.ndf, found.p_value


def test_a_linear_response_closes_at_the_stated_rate() -> None:
    rng = np.random.default_rng(5)
    found = [compare(rng, 0.0) for _ in range(200)]
    assert {ndf for _, ndf, _ in found} == {4}
    assert kstest([p for _, _, p in found], "uniform").pvalue > 0.01


def test_a_response_that_is_not_linear_is_found() -> None:
    """Events pile up in the outer bins: at one sigma by 2 hundredths, at two by 6, where 4 are predicted."""
    p_values = [compare(np.random.default_rng(seed), 1.0, events=20_000)[2] for seed in range(5)]
    assert max(p_values) < 1e-3


def test_without_any_event_that_moves_otherwise_nothing_is_compared() -> None:
    nominal = np.full(3, 10.0)
    found = closure(nominal, nominal, np.array([10.0, 10.5, 10.0]), np.zeros((3, 3)))
    assert (found.chi2, found.ndf, found.p_value) == (0.0, 0, 1.0)
    assert found.largest == pytest.approx(0.05)
