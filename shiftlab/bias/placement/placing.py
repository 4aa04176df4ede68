"""Where is the data? The most likely universe of an unlabelled sample, and the biases to be expected there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shiftlab.bias.covariance import Part
from shiftlab.bias.placement.degenerate import directions, pairs
from shiftlab.bias.placement.expected import Expected, Residual, check_parts, expected_bias, residual_term
from shiftlab.bias.placement.goodness import Goodness, goodness
from shiftlab.bias.placement.library import Library
from shiftlab.bias.placement.model import Model
from shiftlab.bias.placement.posterior import posterior, quantiles
from shiftlab.bias.placement.search import search
from shiftlab.bias.statistic import Floats

__all__ = ["Placement", "locate", "place"]


@dataclass(frozen=True)
class Placement:
    """Where a sample was placed.

    Attributes:
        parameters: Names: nuisances in sigma, composition in prior widths, flux modes in amplitudes.
        value: (parameter,), all most likely together.
        median: (parameter,), of each parameter's own posterior; the two differ where the posterior is bent.
        covariance: (parameter, parameter), posterior.
        interval: (4, parameter), low95, low68, high68, high95.
        goodness: Of the fit.
        rejected: The catalogue does not explain the sample (p below the level): intervals of the parameters have no
            meaning, and of the expected biases only the widened ones may be looked at.
        other: (minimum, parameter), other most likely values that cannot be told apart from the quoted ones.
        effective: How close the posterior is to a normal, 1 for equal (``posterior.Posterior``).
        expected: Expected bias per task; None without responses of tasks.
        residual: The residual term; None without responses of tasks.
    """

    parameters: tuple[str, ...]
    value: Floats
    median: Floats
    covariance: Floats
    interval: Floats
    goodness: Goodness
    rejected: bool
    other: Floats
    effective: float
    expected: Expected | None
    residual: Residual | None

    def table(self) -> pd.DataFrame:
        """Return one row per parameter: most likely value, median, 68% and 95% interval, and sigma (prior 1)."""
        low95, low, high, high95 = self.interval
        columns = {"parameter": self.parameters, "value": self.value, "median": self.median, "lo": low, "hi": high}
        return pd.DataFrame({**columns, "lo95": low95, "hi95": high95, "sigma": np.sqrt(np.diag(self.covariance))})

    def directions(self) -> pd.DataFrame:
        """Return the combinations of parameters, the least known first; see ``degenerate.directions``."""
        return directions(self.parameters, self.covariance)

    def pairs(self) -> pd.DataFrame:
        """Return strongly correlated pairs of parameters; see ``degenerate.pairs``."""
        return pairs(self.parameters, self.covariance)


def place(
    model: Model,
    observed: Floats,
    *,
    parts: Sequence[Part] = (),
    tasks: Sequence[str] = (),
    interaction: Floats | None = None,
    level: float = 0.01,
    toys: int = 500,
    seed: int = 0,
) -> Placement:
    """Find the most likely universe of a sample, say whether there is one, and what biases it has.

    Args:
        model: From ``build_model``.
        observed: (summary,), the sample's summaries.
        parts: Responses of the tasks to the nuisances (``covariance.odd_even``), and to composition or flux where a
            part has the parameter's name.
        tasks: Names of the tasks.
        interaction: (task, task), error of the expected biases from nuisances acting together (``task_interaction``).
        level: p-value below which the catalogue is rejected.
        toys: Number of toys behind the p-value; 0 for the asymptotic one.
        seed: Of toys and draws.

    Raises:
        DataError: a nuisance has no part.
        RunError: the fit does not converge.
    """
    if parts:
        check_parts(model.library.nuisances, parts, tasks)
    white, target, minima = search(model, observed)
    drawn = posterior(white, target, minima.theta, seed)
    found = goodness(white, minima, toys=toys, seed=seed)
    residual = residual_term(white, minima.theta[0], parts, found) if parts else None
    expected = None if residual is None else expected_bias(model.parameters, drawn, parts, tasks, residual, interaction)
    return Placement(
        parameters=model.parameters,
        value=minima.theta[0],
        median=quantiles(drawn.theta, drawn.weight, np.array([0.5]))[0],
        covariance=drawn.covariance,
        interval=quantiles(drawn.theta, drawn.weight),
        goodness=found,
        rejected=found.p_value < level,
        other=minima.theta[1:],
        effective=drawn.effective,
        expected=expected,
        residual=residual,
    )


def locate(
    build: Callable[[Floats | None], Library],
    model_of: Callable[[Library], Model],
    observed: Floats,
    *,
    parts: Sequence[Part] = (),
    tasks: Sequence[str] = (),
    interaction: Floats | None = None,
    level: float = 0.01,
    toys: int = 500,
    seed: int = 0,
    rounds: int = 2,
) -> Placement:
    """Place a sample, expanding the simulation anew around the fitted values.

    A far universe is no parabola around nominal, and nuisances that move the same column act together: around the
    fitted values both are taken from every event's own response. Where strong nuisances are measured well, ``place``
    around nominal alone has intervals that cover too little.

    Args:
        build: Centre (nuisance,), None for nominal, to library: ``build_library`` with all else given.
        model_of: Library to model: ``build_model`` with all else given.
        observed: (summary,), the sample's summaries.
        parts: As for ``place``, as are all that follow.
        tasks: Names of the tasks.
        interaction: (task, task).
        level: p-value below which the catalogue is rejected.
        toys: Number of toys.
        seed: Of toys and draws.
        rounds: How often the simulation is expanded anew; 0 for ``place`` itself.

    Raises:
        DataError: a nuisance has no part.
        RunError: the fit does not converge.
    """
    model = model_of(build(None))
    for _ in range(rounds):
        _, _, minima = search(model, observed)
        model = model_of(build(minima.theta[0, : len(model.library.nuisances)]))
    return place(model, observed, parts=parts, tasks=tasks, interaction=interaction, level=level, toys=toys, seed=seed)
