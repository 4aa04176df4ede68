"""What one-nuisance universes cannot tell, nuisances that act together, as a covariance measured in joint universes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shiftlab.bias.covariance import Part
from shiftlab.bias.placement.model import Model
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["interaction_covariance", "task_interaction"]


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
    return _second_moment(seen - model.expected(theta))


def task_interaction(parts: Sequence[Part], displacement: Floats, values: Mapping[str, Floats]) -> Floats:
    """Return the second moment of joint universes' biases minus the sum of the tasks' responses, (task, task).

    Give it to ``place`` as ``interaction``: the expected bias is a sum over nuisances, and this is its error.

    Args:
        parts: Responses of the tasks.
        displacement: (universe, task), biases in the joint universes, in the unit of the parts.
        values: Name of a nuisance to its values in those universes (universe,); 0 where left out.

    Raises:
        DataError: no joint universe is given.
    """
    if not len(displacement):
        raise DataError("no joint universe was given; interactions between nuisances cannot be measured.")
    expected = np.zeros_like(displacement)
    for part in parts:
        z = np.asarray(values.get(part.nuisance, np.zeros(len(displacement))))[:, None]
        odd, even = part.odd[0].mean(axis=0), part.even[0].mean(axis=0)
        expected += np.abs(z) * odd if part.one_sided else z * odd + z**2 * even
    return _second_moment(displacement - expected)


def _second_moment(residual: Floats) -> Floats:
    """Return the mean of products over universes (universe, column), partly diagonal where universes are few."""
    universes, columns = residual.shape
    share = columns / (columns + universes)
    moment = residual.T @ residual / universes
    return np.asarray((1.0 - share) * moment + share * np.diag(np.diag(moment)))
