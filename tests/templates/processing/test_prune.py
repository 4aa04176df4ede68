"""Pruning: costs are those of dropping, in closed form; bigger budgets drop more; order does not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.templates.processing.prune import prune, sigma_of_signal

CHANNEL = np.repeat([0, 1], 3)
NOMINAL = np.array([[5.0, 10.0, 5.0, 8.0, 4.0, 2.0], [60.0, 40.0, 20.0, 30.0, 30.0, 30.0]])


def model(seed: int, nuisances: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Up and down (nuisance, sample, bin) of very different sizes, not symmetric."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-5.0, -0.7, size=(nuisances, 2, 1)) * NOMINAL
    odd, even = rng.normal(size=(2, nuisances, 2, 6))
    return NOMINAL + size * (odd + 0.1 * even), NOMINAL + size * (-odd + 0.1 * even)


def sigma(up: np.ndarray, down: np.ndarray) -> float:
    return sigma_of_signal(NOMINAL[0], 0.5 * (up - down).sum(axis=1), NOMINAL.sum(axis=0))


@given(st.integers(0, 10_000))
def test_costs_are_those_of_dropping_one(seed: int) -> None:
    """Recomputed from scratch: sigma from the smaller model, bias as what the fit makes of nature at one sigma."""
    up, down = model(seed)
    down = 2.0 * NOMINAL - up
    found = prune(NOMINAL, up, down, 0.0 * NOMINAL, 0, CHANNEL)
    k, c, s = 1, 1, 0
    inside = c == CHANNEL
    less_up, less_down = up.copy(), down.copy()
    less_up[k, s, inside] = less_down[k, s, inside] = NOMINAL[s, inside]
    assert found.sigma_cost[k, c, s] == pytest.approx(abs(sigma(less_up, less_down) / sigma(up, down) - 1.0), abs=1e-9)
    change = mu_at_one_sigma(less_up, less_down, (up - NOMINAL)[k].sum(axis=0))
    change -= mu_at_one_sigma(up, down, (up - NOMINAL)[k].sum(axis=0))
    assert found.bias_cost[k, c, s] == pytest.approx(abs(change) / sigma(up, down), abs=1e-9)


def mu_at_one_sigma(up: np.ndarray, down: np.ndarray, shift: np.ndarray) -> float:
    """What least squares gives for mu - 1 when the data move by ``shift``."""
    jacobian = np.column_stack([NOMINAL[0], 0.5 * (up - down).sum(axis=1).T])
    weight = 1.0 / NOMINAL.sum(axis=0)
    prior = np.diag([0.0] + [1.0] * len(up))
    return float(np.linalg.solve((jacobian.T * weight) @ jacobian + prior, jacobian.T @ (weight * shift))[0])


@given(st.integers(0, 10_000))
def test_bigger_budgets_drop_no_less_and_the_sum_is_kept(seed: int) -> None:
    up, down = model(seed)
    previous = np.zeros((4, 2, 2), dtype=bool)
    for total in (0.0, 1e-4, 1e-3, 1e-2):
        found = prune(NOMINAL, up, down, 0.1 * NOMINAL, 0, CHANNEL, total=total)
        assert (found.dropped | ~previous).all()
        assert np.nanmax(found.cumulated, initial=0.0) <= total
        assert (np.maximum(found.sigma_cost, found.bias_cost)[found.dropped] < 1e-3).all()
        assert found.sigma_after == pytest.approx(found.sigma, rel=max(total, 1e-12))
        assert np.isnan(found.cumulated[~found.dropped]).all()
        previous = found.dropped


def test_the_cumulated_cost_grows_by_each_cost_and_ends_at_their_sum() -> None:
    up, down = model(5, nuisances=12)
    found = prune(NOMINAL, up, down, 0.1 * NOMINAL, 0, CHANNEL)
    cost = np.maximum(found.sigma_cost, found.bias_cost)[found.dropped]
    assert found.dropped.sum() > 5
    np.testing.assert_allclose(np.sort(found.cumulated[found.dropped]), np.cumsum(np.sort(cost)), rtol=1e-9)


@given(st.integers(0, 10_000), st.permutations(range(4)))
def test_the_order_of_nuisances_and_bins_does_not_matter(seed: int, order: list[int]) -> None:
    up, down = model(seed)
    bins = np.array([4, 3, 5, 1, 0, 2])
    plain = prune(NOMINAL, up, down, 0.1 * NOMINAL, 0, CHANNEL)
    turned = prune(
        NOMINAL[:, bins], up[order][:, :, bins], down[order][:, :, bins], 0.1 * NOMINAL[:, bins], 0, CHANNEL[bins]
    )
    np.testing.assert_array_equal(turned.dropped, plain.dropped[order])
    np.testing.assert_allclose(turned.sigma_cost, plain.sigma_cost[order], atol=1e-12)


def test_an_even_shift_is_not_free() -> None:
    """Both sides alike have no linear effect, and still move mu when the nuisance is not at zero."""
    up = NOMINAL[None].copy()
    up[0, 1] *= 1.05
    found = prune(NOMINAL, up, up.copy(), 0.0 * NOMINAL, 0, CHANNEL)
    assert (found.sigma_cost[0, :, 1] < 1e-12).all()
    assert not found.dropped.any()
    assert (found.bias_cost[0, :, 1] > 1e-2).all()
