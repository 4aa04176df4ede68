"""Paired Monte Carlo covariance of each variation over all bins, samples added up, in closed form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shiftlab.templates.templates import Templates

__all__ = ["variation_covariance"]

Floats = npt.NDArray[np.float64]


def variation_covariance(templates: Templates, up: float = 0.5, down: float = -0.5) -> Floats:
    """Return (nuisance, bin, bin): covariance of up * (up - nominal) + down * (down - nominal), summed over samples.

    With d_v what vertex v moves, it is sum_v d_v d_v^T: what does not migrate cancels. (0.5, -0.5) gives the odd part,
    (0.5, 0.5) the even part, (1, 0) the upper side. Channels and samples have no event in common, so that between
    channels it is zero, and samples add. ``bootstrap`` finds the same by redrawing events.

    Args:
        templates: what ``templates`` returned.
        up: weight of the shift at +1 sigma.
        down: weight of the shift at -1 sigma.
    """
    bins, side = templates.nominal.shape[1], np.array([up, down])
    found = np.zeros((len(templates.nuisances), bins, bins))
    for channel in templates.channels:
        inside = templates.slice(channel)
        found[:, inside, inside] = np.einsum("p,kspbqc,q->kbc", side, templates.covariance[channel], side)
    return found
