"""Norm and shape of a template variation, and what it predicts beyond one sigma."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["MINIMUM", "NormShape", "extrapolate", "join", "norm_shape", "shape_only", "yield_ratios"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MINIMUM: Final = 0.005
"""Relative change of the yield below which it stays in the shape: one modifier less, exactly additive (a choice)."""


@dataclass(frozen=True, eq=False)
class NormShape:
    """A variation of one sample in one channel as a product of yield and shape.

    Attributes:
        norm_up: factor of the yield at +1 sigma; None where the variation is additive.
        norm_down: the same at -1 sigma.
        shape_up: (bin,) template at +1 sigma over ``norm_up``; None when no shape is left.
        shape_down: the same at -1 sigma.
    """

    norm_up: float | None
    norm_down: float | None
    shape_up: Floats | None
    shape_down: Floats | None


def norm_shape(
    nominal: Floats,
    up: Floats,
    down: Floats,
    *,
    norms: tuple[float, float] | None = None,
    minimum: float = MINIMUM,
) -> NormShape:
    """Split ``up`` and ``down`` (bin,) into factors of the yield and templates that are left.

    norm = sum(up) / sum(nominal) and shape = up / norm, so that norm times shape is ``up`` again:
    pyhf multiplies a normsys with the sum of nominal and histosys. The split is made where a side changes the yield by
    more than ``minimum`` and no bin is empty: then the norm's exponential keeps the prediction positive. Elsewhere the
    variation is additive (a histosys alone), which closes exactly. What is left without a shape, so one bin, is a
    norm alone.

    Args:
        nominal: (bin,) expected events.
        up: (bin,) at +1 sigma.
        down: (bin,) at -1 sigma.
        norms: factors of a wider scope (``yield_ratios``), in place of those of these bins.
        minimum: see above.
    """
    total, total_up, total_down = float(nominal.sum()), float(up.sum()), float(down.sum())
    additive = NormShape(None, None, up.copy(), down.copy())
    if min(total, total_up, total_down) <= 0.0:
        moved = bool((up != nominal).any() or (down != nominal).any())
        return additive if moved else NormShape(None, None, None, None)
    norm_up, norm_down = norms or (total_up / total, total_down / total)
    shape_up, shape_down = up / norm_up, down / norm_down
    if all(np.allclose(shape, nominal, rtol=1e-13, atol=1e-13 * total) for shape in (shape_up, shape_down)):
        return NormShape(norm_up, norm_down, None, None)
    small = max(abs(norm_up - 1.0), abs(norm_down - 1.0)) <= minimum
    if small or min(nominal.min(), up.min(), down.min()) <= 0.0:
        return additive
    return NormShape(norm_up, norm_down, shape_up, shape_down)


def join(nominal: Floats, split: NormShape) -> tuple[Floats, Floats]:
    """Return (up, down), each (bin,): what ``norm_shape`` was given."""
    up = (nominal if split.shape_up is None else split.shape_up) * (split.norm_up or 1.0)
    down = (nominal if split.shape_down is None else split.shape_down) * (split.norm_down or 1.0)
    return np.asarray(up), np.asarray(down)


def yield_ratios(nominal: Floats, shifted: Floats, scope: str, channel: Ints) -> Floats:
    """Return (…, sample, channel): ratio of the yields of ``shifted`` and ``nominal``, summed over the scope.

    Over a wider scope than one channel and sample, migration between the channels is shape, not yield. A yield of zero
    has the ratio 1.

    Args:
        nominal: (sample, bin).
        shifted: (…, sample, bin).
        scope: ``channel`` (and sample), ``sample`` (all its channels) or ``all`` (all samples of all channels).
        channel: (bin,) number of each bin's channel, from 0.
    """
    inside = (channel[:, None] == np.arange(channel.max() + 1)).astype(np.float64)
    before, after = np.broadcast_to(nominal @ inside, (*shifted.shape[:-1], inside.shape[1])), shifted @ inside
    axes = {"channel": (), "sample": (-1,), "all": (-2, -1)}[scope]
    before, after = before.sum(axis=axes, keepdims=True), after.sum(axis=axes, keepdims=True)
    ratio = np.divide(after, before, out=np.ones_like(after), where=(before > 0.0) & (after > 0.0))
    return np.broadcast_to(ratio, (*shifted.shape[:-1], inside.shape[1]))


def shape_only(nominal: Floats, shifted: Floats, scope: str, channel: Ints) -> tuple[Floats, Floats]:
    """Return ``shifted`` (…, sample, bin) with the nominal yield of the scope, and the ratios that were taken out.

    Arguments and ratios (…, sample, channel) are those of ``yield_ratios``.
    """
    ratios = yield_ratios(nominal, shifted, scope, channel)
    return np.asarray(shifted / ratios[..., channel]), ratios


def extrapolate(
    nominal: Floats, up: Floats, down: Floats, strength: float, *, split: NormShape | None = None
) -> Floats:
    """Return the (bin,) prediction at ``strength`` sigma, at least 1 in size, with codes 4 and 4p.

    Beyond one sigma code 4 is norm^|a| and code 4p is linear, nominal + |a| (shape - nominal), with
    the side that has the sign of a (HistFactory, CERN-OPEN-2012-016; pyhf's defaults). Without ``split`` it is
    the one of ``norm_shape``.
    """
    split = norm_shape(nominal, up, down) if split is None else split
    size = abs(strength)
    norm = (split.norm_up if strength > 0 else split.norm_down) or 1.0
    shape = split.shape_up if strength > 0 else split.shape_down
    moved = nominal if shape is None else nominal + size * (shape - nominal)
    return np.asarray(moved * norm**size, dtype=np.float64)
