"""The bias that each task is expected to have where a sample was placed, inside and outside the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shiftlab.bias.covariance import Part
from shiftlab.bias.placement.fit import Whitened, jacobian
from shiftlab.bias.placement.goodness import Goodness
from shiftlab.bias.placement.posterior import Posterior, quantiles
from shiftlab.bias.statistic import Floats
from shiftlab.errors import DataError

__all__ = ["Expected", "Residual", "check_parts", "expected_bias", "residual_term"]


@dataclass(frozen=True)
class Residual:
    """What a change outside the catalogue could add to the bias, learned by leaving nuisances out one at a time.

    Attributes:
        nuisances: Names of the nuisances left out.
        seen: (nuisance,), square root of the noncentrality of the goodness of fit at one sigma of that nuisance, were
            it not in the catalogue.
        error: (nuisance, task), how far the expected bias is then off, at one sigma.
        widen_68: (task,), added to both sides of the 68% interval.
        widen_95: (task,), added to both sides of the 95% interval.
    """

    nuisances: tuple[str, ...]
    seen: Floats
    error: Floats
    widen_68: Floats
    widen_95: Floats


@dataclass(frozen=True)
class Expected:
    """Expected bias of every task, in the units of the parts.

    Attributes:
        tasks: Names of the tasks.
        value: (task,), posterior mean.
        covariance: (task, task), of placement, maps, responses and interactions together.
        placement: (task,), standard deviation from not knowing the nuisances better.
        maps: (task,), from not knowing the realisation of frozen maps.
        response: (task,), statistical error of the tasks' responses.
        interaction: (task,), from nuisances acting together, as measured in joint universes.
        interval: (4, task), low95, low68, high68, high95 if the catalogue is complete.
        widened: (4, task), the same with the residual term: conservative inside the catalogue.
    """

    tasks: tuple[str, ...]
    value: Floats
    covariance: Floats
    placement: Floats
    maps: Floats
    response: Floats
    interaction: Floats
    interval: Floats
    widened: Floats

    def table(self) -> pd.DataFrame:
        """Return one row per task."""
        ends = ("lo95", "lo", "hi", "hi95")
        named = {name: self.interval[i] for i, name in enumerate(ends)}
        widened = {f"{name}_widened": self.widened[i] for i, name in enumerate(ends)}
        parts = {name: getattr(self, name) for name in ("placement", "maps", "response", "interaction")}
        return pd.DataFrame({"task": self.tasks, "bias": self.value, **named, **widened, **parts})


def expected_bias(
    parameters: Sequence[str],
    drawn: Posterior,
    parts: Sequence[Part],
    tasks: Sequence[str],
    residual: Residual,
    interaction: Floats | None = None,
) -> Expected:
    """Carry the posterior through the tasks' responses.

    A nuisance of several throws is a frozen map whose realisation in the data is unknown: its mean response counts,
    and the spread of its throws is added. A map that was thrown once has no known spread, and none is added.

    Args:
        parameters: Names of the parameters.
        drawn: Their posterior.
        parts: Responses of the tasks, all in the same unit. Nuisances must all be there; composition and flux have
            no bias of their own unless a part carries their name.
        tasks: Names of the tasks.
        residual: From ``residual_term``.
        interaction: (task, task), from ``task_interaction``; nothing is added when None.
    """
    together = np.zeros((len(tasks), len(tasks))) if interaction is None else interaction
    draws = np.zeros((len(drawn.theta), len(tasks)))
    replicas = np.zeros((len(parts[0].odd), len(tasks)))
    maps = np.zeros((len(tasks), len(tasks)))
    mean = drawn.weight @ drawn.theta
    square = drawn.weight @ drawn.theta**2
    for part in parts:
        if part.nuisance not in parameters:
            continue
        k = list(parameters).index(part.nuisance)
        odd, even = part.odd.mean(axis=1), part.even.mean(axis=1)
        draws += drawn.theta[:, k, None] * odd[0] + drawn.theta[:, k, None] ** 2 * even[0]
        replicas += mean[k] * odd + square[k] * even
        throws = part.odd.shape[1]
        if throws > 1:
            scatter = part.odd[0] - odd[0]
            maps += square[k] * scatter.T @ scatter / (throws - 1)
    value = drawn.weight @ draws
    centred = draws - value
    placement = (centred * drawn.weight[:, None]).T @ centred
    response = np.cov(replicas[1:].T).reshape(len(tasks), len(tasks)) if len(replicas) > 2 else np.zeros_like(maps)
    added = np.sqrt(np.diag(maps + response + together))
    noise = np.random.default_rng(len(draws)).standard_normal(draws.shape) * added
    ends = quantiles(draws + noise, drawn.weight)
    widen = np.stack([-residual.widen_95, -residual.widen_68, residual.widen_68, residual.widen_95])
    return Expected(
        tasks=tuple(tasks),
        value=value,
        covariance=placement + maps + response + together,
        placement=np.sqrt(np.diag(placement)),
        maps=np.sqrt(np.diag(maps)),
        response=np.sqrt(np.diag(response)),
        interaction=np.sqrt(np.diag(together)),
        interval=ends,
        widened=ends + widen,
    )


def residual_term(
    white: Whitened,
    theta: Floats,
    parts: Sequence[Part],
    found: Goodness,
    *,
    strongest: tuple[float, float] = (2.0, 3.0),
) -> Residual:
    """Return how much wider the expected bias is to be, should the sample be outside the catalogue.

    Nothing that is seen in the summaries bounds a bias that leaves no trace there, so some population of possible
    changes has to be assumed. Here it is the catalogue itself: each nuisance is taken out in turn, a sample displaced
    by one sigma of it is placed with the others, and both the trace that it leaves in the goodness of fit and the
    error of the expected bias are kept. An unknown change is then taken to be at most as harmful, for the trace that
    the observed sample leaves room for, as the worst of these: max over k of |error_k| min(trace limit / seen_k,
    strongest).

    Args:
        white: The whitened model.
        theta: (parameter,), the most likely values, where responses are taken.
        parts: Responses of the tasks to the nuisances.
        found: The goodness of fit, whose limits are the trace that is left room for.
        strongest: Largest strength in sigma of an unknown change, for the 68% and the 95% interval.
    """
    model = white.model
    start = theta[None].copy()
    start[:, model.bounded] = np.maximum(start[:, model.bounded], 0.1)
    slopes = jacobian(white, start)[1][0]
    effect = _task_slopes(model.parameters, theta, parts)
    names = model.library.nuisances
    seen = np.zeros(len(names))
    error = np.zeros((len(names), effect.shape[1]))
    for k in range(len(names)):
        others = np.delete(np.arange(len(slopes)), k)
        kept = slopes[others]
        prior = np.linalg.inv(model.covariance_of_prior[np.ix_(others, others)] + 1e-6 * np.eye(len(others)))
        pulled = np.linalg.solve(kept @ kept.T + prior, kept @ slopes[k])
        seen[k] = np.sqrt(max(0.0, float(slopes[k] @ (slopes[k] - kept.T @ pulled))))
        error[k] = effect[k] - pulled @ effect[others]
    widened = []
    for limit, most in zip((found.excess_68, found.excess_95), strongest, strict=True):
        strength = np.minimum(np.sqrt(limit) / np.maximum(seen, 1e-12), most)
        widened.append((np.abs(error) * strength[:, None]).max(axis=0))
    return Residual(names, seen, error, widened[0], widened[1])


def check_parts(nuisances: Sequence[str], parts: Sequence[Part], tasks: Sequence[str]) -> None:
    """Refuse parts that do not cover the nuisances or the tasks.

    Raises:
        DataError: a nuisance has no part, or a part another number of tasks.
    """
    missing = [name for name in nuisances if name not in {part.nuisance for part in parts}]
    if missing:
        raise DataError(f"the tasks' responses to {', '.join(missing)} are missing; their bias cannot be expected.")
    for part in parts:
        if part.odd.shape[2] != len(tasks):
            raise DataError(f"part '{part.nuisance}' holds {part.odd.shape[2]} tasks, but {len(tasks)} are named.")


def _task_slopes(parameters: Sequence[str], theta: Floats, parts: Sequence[Part]) -> Floats:
    """Return the derivative of each task's bias by each parameter, (parameter, task)."""
    slopes = np.zeros((len(parameters), parts[0].odd.shape[2]))
    for part in parts:
        if part.nuisance in parameters:
            k = list(parameters).index(part.nuisance)
            slopes[k] = part.odd[0].mean(axis=0) + 2.0 * theta[k] * part.even[0].mean(axis=0)
    return slopes
