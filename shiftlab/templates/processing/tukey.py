"""353QH twice: running medians, quadratic peaks and a running mean, blind to errors (Friedman, CERN 74-23, p. 292)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["smooth_353qh_twice", "smooth_ratio"]

Floats = npt.NDArray[np.float64]


def smooth_ratio(nominal: Floats, shifted: Floats) -> Floats:
    """Smooth shifted / nominal, both (bin,) and positive, and give the result the yield of ``shifted`` (cabinetry)."""
    found = nominal * smooth_353qh_twice(shifted / nominal)
    total = float(found.sum())
    return np.asarray(found * (shifted.sum() / total) if total > 0.0 else shifted.copy())


def smooth_353qh_twice(values: npt.ArrayLike) -> Floats:
    """Return (bin,) values smoothed, the residuals smoothed and added (ROOT's ``TH1::Smooth``).

    Fewer than three values stay as they are. Where no value is negative, none of the result is.
    """
    given = np.asarray(values, dtype=np.float64)
    if len(given) < 3:
        return given.copy()
    once = _353qh(given)
    twice = once + _353qh(given - once)
    return np.asarray(twice if given.min() < 0.0 else np.maximum(twice, 0.0))


def _353qh(values: Floats) -> Floats:
    peaked = _quadratic(_medians(values))
    found = peaked.copy()
    found[1:-1] = 0.25 * peaked[:-2] + 0.5 * peaked[1:-1] + 0.25 * peaked[2:]
    return found


def _running_median(values: Floats, width: int) -> Floats:
    found, edge = values.copy(), width // 2
    if len(values) >= width:
        windows = np.lib.stride_tricks.sliding_window_view(values, width)
        found[edge : len(values) - edge] = np.median(windows, axis=1)
    return found


def _medians(values: Floats) -> Floats:
    """Running medians of 3, 5 and 3; the ends continue the line through their neighbours, if that is the median."""
    first = _running_median(values, 3)
    first[0] = np.median([3.0 * first[1] - 2.0 * first[2], values[0], first[1]])
    first[-1] = np.median([3.0 * first[-2] - 2.0 * first[-3], values[-1], first[-2]])
    second = _running_median(first, 5)
    second[1], second[-2] = np.median(first[:3]), np.median(first[-3:])
    return _running_median(second, 3)


def _quadratic(values: Floats) -> Floats:
    """Replace flat tops and valleys of three by a parabola through their neighbours, leaning to the flatter side."""
    found = values.copy()
    for i in range(2, len(values) - 2):
        if not values[i - 1] == values[i] == values[i + 1]:
            continue
        left, right = values[i - 2] - values[i], values[i + 2] - values[i]
        if left * right <= 0.0:
            continue
        side = -1 if abs(right) > abs(left) else 1
        far, near = values[i + 2 * side], values[i - 2 * side]
        found[i] = -0.5 * near + values[i] / 0.75 + far / 6.0
        found[i + side] = 0.5 * (far - near) + values[i]
    return found
