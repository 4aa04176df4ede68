"""The search for the most likely parameters of one sample: covariance and fit in turns, from several starts."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.placement.fit import Fitted, Whitened, fit, hessian, whiten
from shiftlab.bias.placement.model import Model
from shiftlab.bias.placement.shrink import shrunk
from shiftlab.bias.statistic import Floats
from shiftlab.errors import RunError

__all__ = ["search"]

_ROUNDS: Final = 3
"""Times that the covariance is taken at the last most likely values; further rounds change nothing that is quoted."""

_OTHER: Final = 4.0
"""Objective above the best at which another minimum still counts: two standard deviations."""


def search(model: Model, observed: Floats) -> tuple[Whitened, Floats, Fitted]:
    """Return the whitened model, the whitened sample (summary,) and its minima, the best first.

    Further minima are kept where their objective is within 4 of the best and they are apart from it.

    Args:
        model: From ``build_model``; its responses are shrunk by their noise here.
        observed: (summary,).

    Raises:
        RunError: the fit does not converge.
    """
    model = shrunk(model)
    theta = model.centre
    starts = _starts(model)
    for _ in range(_ROUNDS):
        white = whiten(model, theta)
        target = white.transform @ observed
        fitted = fit(white, np.repeat(target[None], len(starts), axis=0), starts)
        order = np.argsort(fitted.objective, kind="stable")
        theta = fitted.theta[order[0]]
        starts = np.concatenate([theta[None], _starts(model), _along(theta, hessian(white, target, theta), model)])
    if not fitted.converged[order[0]]:
        raise RunError(
            "the placement fit did not converge; are the one-sigma responses larger than the sums themselves?"
        )
    kept = _apart(fitted, order, hessian(white, target, theta))
    return white, target, Fitted(*(getattr(fitted, name)[kept] for name in Fitted.__dataclass_fields__))


def _starts(model: Model) -> Floats:
    """Return where to begin, (start, parameter): near nominal, and far out where an even response may turn back."""
    size = len(model.parameters)
    near = np.where(model.bounded, np.maximum(model.centre, 0.3), model.centre)
    starts = [near]
    library = model.library
    error = np.sqrt(np.einsum("cjj->j", library.event_moment)) + 1e-300
    for k in range(len(library.nuisances)):
        odd, even = (np.linalg.norm(library.total[:, 0, 1 + 2 * k + i].sum(axis=0) / error) for i in range(2))
        # z and -odd / even - z have the same response where both point the same way.
        if 6.0 * even > odd and not library.one_sided[k]:
            starts += [near + strength * np.eye(size)[k] for strength in (-2.5, -1.0, 1.0, 2.5)]
    return np.stack(starts)


def _along(theta: Floats, curvature: Floats, model: Model) -> Floats:
    """Return starts on both sides of the best along the two least known directions, where others may hide."""
    _, vectors = np.linalg.eigh(curvature)
    side = 1.5 * vectors[:, :2].T
    starts = np.concatenate([theta + side, theta - side])
    return np.where(model.bounded, np.maximum(starts, 0.0), starts)


def _apart(fitted: Fitted, order: npt.NDArray[np.intp], curvature: Floats) -> list[int]:
    """Return which minima to keep: the best, and others as likely that are more than a standard deviation apart."""
    kept = [int(order[0])]
    for place in order[1:]:
        steps = fitted.theta[place] - fitted.theta[kept]
        apart = float(np.einsum("kp,pq,kq->k", steps, curvature, steps).min())
        if fitted.objective[place] - fitted.objective[kept[0]] < _OTHER and apart > 1.0:
            kept.append(int(place))
    return kept
