"""Quantiles and the most probable value of weighted events, for many sets of weights."""

from __future__ import annotations

from typing import Final

import numpy as np

from shiftlab.tasks.task import Floats

__all__ = ["binomial_spread", "most_probable", "quantile_range", "spread", "weighted_quantile"]

_WIDTH: Final = 0.05
_GRID: Final = np.linspace(0.0, 3.0, 301)


def weighted_quantile(values: Floats, weights: Floats, level: float) -> Floats:
    """Return the weighted quantile ``level`` of ``values``.

    It is interpolated between values whose weight, counted up to their middle, brackets the level.

    Args:
        values: (..., event).
        weights: (replica, event), not negative.
        level: From 0 to 1.

    Returns:
        float64 (..., replica); NaN where there is no weight.
    """
    flat = values.reshape(-1, values.shape[-1])
    found = np.full((len(flat), len(weights)), np.nan)
    some = weights.sum(axis=1) > 0
    for row, one in enumerate(flat):
        order = np.argsort(one, kind="stable")
        ordered, weight = one[order], weights[some][:, order]
        middle = (np.cumsum(weight, axis=1) - weight / 2) / weight.sum(axis=1, keepdims=True)
        # Events without weight are at no level: they must not be interpolated to.
        found[row, some] = [np.interp(level, m[w > 0], ordered[w > 0]) for m, w in zip(middle, weight, strict=True)]
    return found.reshape(*values.shape[:-1], len(weights))


def quantile_range(values: Floats, weights: Floats) -> Floats:
    """Return float64 (..., replica): weighted 75% less 25% quantile of ``values`` (..., event)."""
    spread: Floats = weighted_quantile(values, weights, 0.75) - weighted_quantile(values, weights, 0.25)
    return spread


def most_probable(values: Floats, weights: Floats) -> Floats:
    """Return float64 (replica,): where the weighted density of ``values`` (event,) is largest between 0 and 3.

    The density is smoothed by a Gaussian of width 0.05 and looked at in steps of 0.01.
    """
    kernel = np.exp(-0.5 * ((_GRID[:, None] - values) / _WIDTH) ** 2)
    peak: Floats = _GRID[np.argmax(kernel @ weights.T, axis=0)]
    return peak


def spread(values: Floats, weights: Floats) -> Floats:
    """Return float64 (replica,): weighted root mean square of ``values`` (event,) about their mean."""
    total = weights.sum(axis=-1)
    mean = values @ weights.T / total
    width: Floats = np.sqrt(np.maximum((values**2) @ weights.T / total - mean**2, 0.0))
    return width


def binomial_spread(share: float) -> float:
    """Return sqrt(p (1 - p)), what one event of a share p is uncertain by; 0 for a share beyond 0 or 1."""
    return float(np.sqrt(max(0.0, share * (1.0 - share))))
