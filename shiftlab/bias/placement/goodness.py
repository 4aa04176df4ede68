"""Goodness of fit of a placed sample, calibrated by toys, and the change that it leaves room for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2 as chi2_law
from scipy.stats import ncx2

from shiftlab.bias.placement.fit import Fitted, Whitened, fit, jacobian
from shiftlab.bias.statistic import Floats

__all__ = ["Goodness", "goodness", "noncentrality_limit", "toy_chi2"]


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
            tr J (J^T J + P)^-1 J^T, P the inverse of the prior's covariance.
        penalty: What the priors add.
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
    measured = np.trace(np.linalg.solve(information + white.model.precision, information))
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
    theta = rng.standard_normal((toys, len(white.model.parameters))) @ _root(white.model.covariance_of_prior).T
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


def _root(covariance: Floats) -> Floats:
    """Return a matrix whose product with its transpose is ``covariance``, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)))
