"""How a diffused cloud of charge is shared among neighbouring cells: a Gaussian integrated over each of them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["axis_shares", "diffusion_width"]


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
