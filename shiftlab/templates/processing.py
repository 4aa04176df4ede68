"""Norm and shape of a template variation, and what it predicts beyond one sigma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NormShape", "extrapolate", "norm_shape"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NormShape:
    """A variation of one sample in one channel as a product of yield and shape.

    Attributes:
        norm_up: ratio of the yields at +1 sigma and nominal; None where there is no such ratio.
        norm_down: the same at -1 sigma.
        shape_up: (bin,) template at +1 sigma with the nominal yield; None when no shape is left.
        shape_down: the same at -1 sigma.
    """

    norm_up: float | None
    norm_down: float | None
    shape_up: Floats | None
    shape_down: Floats | None


def norm_shape(nominal: Floats, up: Floats, down: Floats) -> NormShape:
    """Split ``up`` and ``down`` (bin,) into yield ratios and templates of the nominal yield.

    norm = sum(up) / sum(nominal) and shape = up / norm, so that norm times shape is ``up`` again:
    pyhf multiplies a normsys with the sum of nominal and histosys. A yield of zero has no ratio;
    then the whole variation is kept additive (a histosys alone). One bin needs no shape.
    Scope: one channel and sample at a time (cabinetry does the same).
    """
    total, total_up, total_down = float(nominal.sum()), float(up.sum()), float(down.sum())
    if min(total, total_up, total_down) <= 0.0:
        moved = bool((up != nominal).any() or (down != nominal).any())
        return NormShape(None, None, up.copy() if moved else None, down.copy() if moved else None)
    norm_up, norm_down = total_up / total, total_down / total
    shape_up, shape_down = up / norm_up, down / norm_down
    same = all(np.allclose(shape, nominal, rtol=1e-13, atol=1e-13 * total) for shape in (shape_up, shape_down))
    if len(nominal) == 1 or same:
        return NormShape(norm_up, norm_down, None, None)
    return NormShape(norm_up, norm_down, shape_up, shape_down)


def extrapolate(nominal: Floats, up: Floats, down: Floats, strength: float) -> Floats:
    """Return the (bin,) prediction at ``strength`` sigma, at least 1 in size, with codes 4 and 4p.

    Beyond one sigma code 4 is norm^|a| and code 4p is linear, nominal + |a| (shape - nominal), with
    the side that has the sign of a (HistFactory, CERN-OPEN-2012-016; pyhf's defaults).
    """
    split = norm_shape(nominal, up, down)
    size = abs(strength)
    norm = (split.norm_up if strength > 0 else split.norm_down) or 1.0
    shape = split.shape_up if strength > 0 else split.shape_down
    moved = nominal if shape is None else nominal + size * (shape - nominal)
    return np.asarray(moved * norm**size, dtype=np.float64)
