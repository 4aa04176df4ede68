"""How a diffused cloud of charge is shared among neighbouring cells: a Gaussian integrated over each of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from shiftlab.errors import ConfigError

__all__ = ["NEAR", "WIDEST", "axis_shares", "diffusion_width", "reach", "wide_shares"]

NEAR: Final = 0.55
"""Width in pitches up to which a cloud is shared among three cells along an axis.

What lies beyond, 1.5% on average over the place in the cell and 3.5% at most, is shared among the three: at this width
the variance of the cloud is then 13% too small (1% at 0.36, 5% at 0.45 pitches).
"""

WIDEST: Final = 1.0
"""Width in pitches up to which five cells are enough: 1.2% lies beyond on average over the place in the cell."""


def diffusion_width(constant: Tensor | float, drift_time: Tensor) -> Tensor:
    """Return the cloud's standard deviation sqrt(2 D t) in cm, D in cm2/s and t in us, any shape."""
    return torch.sqrt(2.0e-6 * constant * drift_time)


def axis_shares(fraction: Tensor, sigma: Tensor) -> Tensor:
    """Return float64 (..., 3): a Gaussian's shares of the cell below, the cell itself and the one above.

    Args:
        fraction: position within its cell, 0 to 1, in units of the pitch.
        sigma: width in units of the pitch, not negative.

    The integral of the Gaussian over each cell; what lies beyond the three cells is shared among them.
    """
    scale = torch.clamp(sigma, min=1e-9) * 2.0**0.5
    edges = [torch.erf((k - fraction) / scale) for k in (-1, 0, 1, 2)]
    below, here, above = (high - low for low, high in pairwise(edges))
    total = below + here + above
    # Each cell's shares lie together in memory.
    return torch.stack([below / total, here / total, above / total]).movedim(0, -1)


def reach(sigma: Tensor) -> int:
    """Return how many cells on each side widths, in units of the pitch, ask for: 1 or 2.

    Raises:
        ConfigError: a cloud is wider than two cells on each side can hold.
    """
    widest = float(sigma.max()) if len(sigma) else 0.0
    if widest > WIDEST:
        raise ConfigError(
            f"a cloud of charge diffuses to a width of {widest:.3g} pitches; charge is shared with two cells on each "
            f"side, which holds clouds up to {WIDEST:g}. Take a larger geometry.pitch or less diffusion."
        )
    return 1 if widest <= NEAR else 2


def wide_shares(fraction: Tensor, sigma: Tensor) -> Tensor:
    """Return float64 (..., 5): a Gaussian's shares of two cells below, the cell itself and two above.

    Arguments as in ``axis_shares``. Up to a width of ``NEAR`` they are those of ``axis_shares``, bit for bit; from
    there they change as the integral of the Gaussian over each cell does, so that no share jumps.
    """
    near = torch.clamp(sigma, max=NEAR)
    three = torch.nn.functional.pad(axis_shares(fraction, near), (1, 1))
    growth = _five(fraction, sigma) - _five(fraction, near)
    return torch.where((sigma <= NEAR)[..., None], three, three + growth)


def _five(fraction: Tensor, sigma: Tensor) -> Tensor:
    scale = torch.clamp(sigma, min=1e-9) * 2.0**0.5
    edges = [torch.erf((k - fraction) / scale) for k in (-2, -1, 0, 1, 2, 3)]
    shares = torch.stack([high - low for low, high in pairwise(edges)], dim=-1)
    return shares / shares.sum(dim=-1, keepdim=True)
