"""Goodness of fit of a placed sample, calibrated by toys, and its power to see a change outside the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2 as chi2_law
from scipy.stats import ncx2

from shiftlab.bias.placement.fit import Fitted, Whitened, fit, jacobian
from shiftlab.bias.placement.model import Model
from shiftlab.bias.placement.search import search
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError, UnknownNameError

__all__ = ["Goodness", "goodness", "noncentrality_limit", "power", "toy_chi2"]


@dataclass(frozen=True)
class Goodness:
    """How well the catalogue explains a sample.

    The test statistic is chi2 of the summaries plus the priors' penalty: for a universe drawn from the prior of a
    linear model it follows chi2 with as many degrees of freedom as summaries (the parameters are marginalised), and it
    grows both with what no nuisance can explain and with nuisances pulled absurdly far.

    Attributes:
        statistic: chi2 + penalty.
        summaries: Number of independent summaries, the degrees of freedom of ``statistic``.
        chi2: Of the summaries alone, at the most likely values.
        effective_dof: Expected ``chi2``: the number of summaries minus the number of parameters that they measure,
            tr J (J^T J + 1)^-1 J^T.
        penalty: theta^2.
        p_asymptotic: From chi2 with ``summaries`` degrees of freedom.
        p_value: From toys of the model with parameters from their priors: (1 + number of toys at least as bad) /
            (1 + toys).
        toys: Number of toys.
        excess_68: Upper limit at 68% on the noncentrality of ``statistic``: how much change outside the catalogue, in
            units of chi2, these events leave room for.
        excess_95: The same at 95%.
    """

    statistic: float
    summaries: int
    chi2: float
    effective_dof: float
    penalty: float
    p_asymptotic: float
    p_value: float
    toys: int
    excess_68: float
    excess_95: float


def goodness(white: Whitened, fitted: Fitted, *, toys: int = 500, seed: int = 0) -> Goodness:
    """Return the goodness of fit of the first fitted sample."""
    statistic = float(fitted.objective[0])
    reference = toy_chi2(white, toys, seed) if toys else np.zeros(0)
    asymptotic = float(chi2_law.sf(statistic, white.size))
    worse = int((reference >= statistic).sum())
    _, slopes = jacobian(white, fitted.theta[:1])
    information = slopes[0] @ slopes[0].T
    measured = np.trace(np.linalg.solve(information + np.eye(len(information)), information))
    return Goodness(
        statistic=statistic,
        summaries=white.size,
        chi2=float(fitted.chi2[0]),
        effective_dof=float(white.size - measured),
        penalty=float(fitted.penalty[0]),
        p_asymptotic=asymptotic,
        p_value=(1 + worse) / (1 + toys) if toys else asymptotic,
        toys=toys,
        excess_68=noncentrality_limit(statistic, white.size, 0.6827),
        excess_95=noncentrality_limit(statistic, white.size, 0.95),
    )


def toy_chi2(white: Whitened, toys: int, seed: int) -> Floats:
    """Return the test statistic of samples drawn from the model, (toy,): parameters from their priors, then noise."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((toys, len(white.model.parameters)))
    theta[:, white.model.bounded] = np.abs(theta[:, white.model.bounded])
    drawn = jacobian(white, theta)[0] + rng.standard_normal((toys, white.size))
    fitted = fit(white, drawn, theta)
    return fitted.objective


def noncentrality_limit(statistic: float, dof: int, level: float) -> float:
    """Return the noncentrality at which a chi2 this small has probability 1 - level; 0 where none is that large."""
    if chi2_law.cdf(statistic, dof) <= 1.0 - level:
        return 0.0
    low, high = 0.0, 4.0 * (statistic + 10.0)
    while ncx2.cdf(statistic, dof, high) > 1.0 - level:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if ncx2.cdf(statistic, dof, middle) > 1.0 - level else (low, middle)
    return (low + high) / 2.0


def power(
    model: Model, changes: Mapping[str, Floats] | Sequence[str], events: Sequence[float], *, level: float = 0.01
) -> pd.DataFrame:
    """Return how likely the goodness of fit rejects a change outside the catalogue, against the number of events.

    The statistic of the changed sample without fluctuations is the noncentrality of its chi2 law: what nuisances,
    composition and flux can imitate of the change is fitted away. (The linear theory d^T (V + J J^T)^-1 d came out
    twice as large for a change that a product of two parameters imitates.) The simulation stays as it is, so power
    saturates with the data.

    Args:
        model: The model for independent data.
        changes: Change to displacement of the summaries (sample, summary) in the units of ``Library.total``; or the
            names of hidden universes of the library, compared with its nominal.
        events: Numbers of data events.
        level: Probability of rejecting a sample inside the catalogue.

    Returns:
        One row per change and number of events: change, events, noncentrality, summaries, power.

    Raises:
        ConfigError: a level or a number of events that is not allowed, or a paired model.
        DataError: a displacement of another shape.
        UnknownNameError: a hidden universe that the library does not hold.
    """
    if not 0.0 < level < 1.0 or any(not number > 0 for number in events):
        raise ConfigError(f"level = {level}, events = {list(events)}: a level in (0, 1), positive numbers of events.")
    if model.observed_hidden >= 0:
        raise ConfigError("power against the number of events needs a model of independent data.")
    shifts = _displacements(model, changes)
    whole = float((model.exposure * model.library.weight).sum())
    rows = []
    for number in events:
        scaled = _rescaled(model, number / whole)
        for name, shift in shifts.items():
            nominal = scaled.expected(model.centre[None])[0]
            white, _, fitted = search(scaled, nominal + scaled.exposure @ shift)
            critical = float(chi2_law.isf(level, white.size))
            noncentrality = float(fitted.objective[0])
            chance = float(ncx2.sf(critical, white.size, noncentrality)) if noncentrality > 0.0 else level
            rows.append((name, float(number), noncentrality, white.size, chance))
    return pd.DataFrame(rows, columns=["change", "events", "noncentrality", "summaries", "power"])


def _displacements(model: Model, changes: Mapping[str, Floats] | Sequence[str]) -> dict[str, Floats]:
    library = model.library
    if isinstance(changes, Mapping):
        shape = (len(library.samples), len(library.summaries.names))
        for name, shift in changes.items():
            if np.shape(shift) != shape:
                raise DataError(f"change '{name}' has shape {np.shape(shift)}; (sample, summary) = {shape} is needed.")
        return dict(changes)
    for name in changes:
        if name not in library.hidden:
            raise UnknownNameError("hidden universe", name, library.hidden)
    return {name: library.total[:, 0, library.position(name)] - library.total[:, 0, 0] for name in changes}


def _rescaled(model: Model, factor: float) -> Model:
    """Return the model of ``factor`` times as many data events."""
    return Model(
        library=model.library,
        exposure=model.exposure * factor,
        width=model.width,
        float_modes=model.float_modes,
        observed_hidden=model.observed_hidden,
        extra=model.extra * factor**2,
    )
