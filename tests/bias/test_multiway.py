"""Errors over events, universes and seeds: the parts add up, and what two factors share counts once."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.bias.multiway import estimate, spread
from shiftlab.errors import DataError

SEEDS, UNIVERSES, REPLICAS, CELLS = 4, 20, 60, 400
SIZE = {"event": 0.3, "universe": 1.0, "seed": 0.5, "both": 1.5, "event and seed": 0.4}


def _draw() -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over universes of additive effects and its jackknife, for many experiments as cells."""
    rng = np.random.default_rng(0)

    def part(name: str, *shape: int) -> np.ndarray:
        return SIZE[name] * rng.standard_normal((*shape, CELLS))

    sample = part("universe", 1, 1, UNIVERSES) + part("seed", SEEDS, 1, 1)
    events = [
        part("event", 1, 1 + REPLICAS, 1),
        part("both", 1, 1 + REPLICAS, UNIVERSES),
        part("event and seed", SEEDS, 1 + REPLICAS, 1),
    ]
    noise = np.asarray(sum(events))
    noise[:, 1:] += noise[:, :1]
    each = sample + noise
    total = each.sum(axis=2, keepdims=True)
    return each.mean(axis=2), ((total - each) / (UNIVERSES - 1))[:, :17]


def test_the_variance_is_that_of_the_estimate_and_what_is_shared_counts_once() -> None:
    """400 experiments: the variance of the estimates to 7%, the mean of 400 estimates of it to less."""
    whole, left_out = _draw()
    found = spread(whole, left_out)
    total = (found.events + found.universes + found.seeds).mean()
    shared = SIZE["both"] ** 2 / UNIVERSES
    true = SIZE["event"] ** 2 + SIZE["universe"] ** 2 / UNIVERSES + SIZE["seed"] ** 2 / SEEDS + shared
    true += SIZE["event and seed"] ** 2 / SEEDS
    assert total == pytest.approx(true, rel=0.07)
    assert whole[:, 0].mean(axis=0).var() == pytest.approx(true, rel=0.25)
    twice = (found.events + found.among_blocks + found.among_seeds).mean()
    assert twice > total + 0.8 * shared
    assert found.universes.mean() == pytest.approx(SIZE["universe"] ** 2 / UNIVERSES, rel=0.35)


def test_one_cell_of_many_is_the_scalar_estimate() -> None:
    whole, left_out = _draw()
    found, one = spread(whole, left_out), estimate(whole[..., 3], left_out[..., 3])
    assert (one.events, one.universes, one.seeds) == pytest.approx(
        (found.events[3], found.universes[3], found.seeds[3])
    )
    wider = estimate(whole[..., 3], left_out[..., 3], stretch=2.0)
    assert wider.universes == pytest.approx(4.0 * one.universes)
    assert wider.error >= one.error


def test_replicas_without_a_value_are_left_out_unless_they_are_many() -> None:
    whole, left_out = (values[..., 0].copy() for values in _draw())
    whole[0, 5] = np.nan
    known = estimate(whole, left_out)
    assert np.isfinite(known.error)
    assert known.events == pytest.approx(float(np.delete(whole, 5, axis=1)[:, 1:].mean(axis=0).var(ddof=1)))
    whole[0, 1:20] = np.nan
    assert np.isnan(estimate(whole, left_out).value)


def test_too_few_replicas_or_blocks_are_refused() -> None:
    with pytest.raises(DataError, match="1 bootstrap replicas"):
        estimate(np.zeros((2, 2)))
    with pytest.raises(DataError, match="1 block of universes"):
        estimate(np.zeros((2, 5)), np.zeros((2, 5, 1)))
