"""Covariance of what one-nuisance universes cannot tell: nuisances that act together, measured in joint universes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shiftlab.bias.placement.model import Model
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["interaction_covariance"]


def interaction_covariance(model: Model, joint: Mapping[str, Floats]) -> Floats:
    """Return the second moment of joint universes minus what their known nuisance values predict.

    Give it to ``build_model`` as ``extra``: with it, a universe of several displaced nuisances is not rejected, nor
    placed with an error that knows of event statistics alone. U joint universes span only U of p directions, so the
    share p / (p + U) of the second moment is kept as variances without correlation. Event noise of the differences,
    which joint and one-nuisance universes of the same events mostly share, is not taken out: slightly conservative.

    Args:
        model: The model of the sample to be placed; its library holds the joint universes as hidden ones.
        joint: Name of a hidden universe to its nuisance values (nuisance,). Not the universe that is to be placed.

    Raises:
        DataError: no joint universe is given.
        UnknownNameError: a universe that the library does not hold.
    """
    if not joint:
        raise DataError("no joint universe was given; interactions between nuisances cannot be measured.")
    library = model.library
    theta = np.zeros((len(joint), len(model.parameters)))
    theta[:, : len(library.nuisances)] = np.stack(list(joint.values()))
    seen = np.stack([model.exposure @ library.total[:, 0, library.position(name)] for name in joint])
    moment = _second_moment(seen - model.expected(theta))
    share = len(moment) / (len(moment) + len(joint))
    return np.asarray((1.0 - share) * moment + share * np.diag(np.diag(moment)))


def _second_moment(residual: Floats) -> Floats:
    """Return the mean over universes (universe, summary) of products, (summary, summary)."""
    return np.asarray(residual.T @ residual / len(residual))
