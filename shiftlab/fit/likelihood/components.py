"""What the uncertainty of one parameter is made of: parts of data, Monte Carlo and nuisances that add up to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.errors import ConfigError
from shiftlab.fit.likelihood.covariance import invert
from shiftlab.fit.likelihood.fitting import asimov
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import evaluate, gradient, information

__all__ = ["Components", "components", "groups"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Components:
    """The variance of one parameter, by what fluctuates.

    Each independent number of the experiment (events of a bin, auxiliary measurement) is shifted by its
    own sigma and the best fit followed (Pinto et al., arXiv:2307.04007); squares add up to the variance.

    Attributes:
        model: the likelihood.
        poi: the parameter, by position.
        values: (parameter,) where the likelihood was expanded.
        held: (parameter,) what was fixed.
        data: (bin,) shift of the parameter for +1 sigma of the bin's events.
        auxiliary: (parameter,) shift for +1 sigma of the parameter's auxiliary measurement, 0 without one.
        response: (bin,) shift per extra event, d mu / d n.
        expected: (bin,) rates at ``values``.
        variance: of the parameter, from the inverse information.
    """

    model: Likelihood
    poi: int
    values: Floats
    held: Bools
    data: Floats
    auxiliary: Floats
    response: Floats
    expected: Floats
    variance: float

    @property
    def sum_check(self) -> float:
        """Sum of the squares over the variance, less 1: zero but for rounding."""
        return float(((self.data**2).sum() + (self.auxiliary**2).sum()) / self.variance - 1.0)

    def table(self) -> pd.DataFrame:
        """Return component, group, sigma and fraction of the variance.

        Rows of group ``group`` (data statistics, MC statistics, systematics) add up to ``total``; rows of
        group ``nuisance`` to ``systematics``.
        """
        p = self.model.parameters
        monte_carlo = np.zeros(len(p), dtype=np.bool_)
        monte_carlo[p.of_kind("staterror", "shapesys")] = True
        square = self.auxiliary**2
        rows = [
            ("data statistics", "group", float((self.data**2).sum())),
            ("MC statistics", "group", float(square[monte_carlo].sum())),
            ("systematics", "group", float(square[~monte_carlo].sum())),
            ("total", "group", self.variance),
        ]
        each = [(p.names[i], "nuisance", float(square[i])) for i in np.flatnonzero(p.constrained & ~monte_carlo)]
        table = pd.DataFrame(
            rows + sorted(each, key=lambda entry: -entry[2]), columns=["component", "group", "variance"]
        )
        table["sigma"] = np.sqrt(table["variance"])
        table["fraction"] = table["variance"] / self.variance
        return table.drop(columns="variance")


def components(
    model: Likelihood, values: Floats | None = None, *, poi: str | None = None, held: Bools | None = None
) -> Components:
    """Split the variance of a parameter at ``values`` (parameter,), the nominal ones if None.

    Before a fit ``values`` are nominal; after it they are the best fit, whose Asimov data the likelihood
    then is expanded at. With C the inverse expected information, t = J^T C_m and w the weight of a bin
    (see ``information``): data t w sqrt(lambda), gammas t w u / sqrt(c), nuisance k C_mk / s_k.

    Raises:
        FitError: the information is singular; the message names the combination that is not fixed.
        ConfigError: there is no parameter of interest.
    """
    index = model.poi if poi is None else model.parameters.index(poi)
    if index is None or model.row[index] < 0:
        raise ConfigError(f"likelihood {model.name}: name a parameter, not profiled, whose variance is to be split.")
    values = model.parameters.initial if values is None else values
    held = model.parameters.fixed if held is None else held
    data = asimov(model, values)
    at = evaluate(model, data, values[None], held[None])
    slope, _ = gradient(model, data, at)
    covariance = invert(model, information(model, data, at, slope)[0], held, "asimov")
    row = covariance[model.row[index]]
    rate, scaled, stiff = at.rate[0], at.scaled[0], at.gammas.stiffness[0]
    pull = (row @ slope[0]) / (rate + scaled**2 / stiff)
    auxiliary = np.zeros(len(model.parameters))
    auxiliary[model.outer] = row * np.sqrt(_precision(model, values)[model.outer])
    bins = model.gammas
    auxiliary[model.gamma_index[bins]] = -(pull * scaled / np.sqrt(stiff))[bins]
    return Components(
        model, index, values, held, pull * np.sqrt(rate), auxiliary, pull, rate, float(row[model.row[index]])
    )


def _precision(model: Likelihood, values: Floats) -> Floats:
    """Return (parameter,): information of the auxiliary measurements at their expectation."""
    p = model.parameters
    return np.where(p.tau > 0.0, p.tau / np.where(values > 0.0, values, 1.0), p.width**-2.0)


def groups(of: Components, members: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return what groups of parameters contribute, in two ways that differ when groups are correlated.

    Args:
        of: the components.
        members: names of the parameters of each group; gammas too.

    Returns:
        Columns group, quadrature (root of the summed squares of the components) and conditional
        (root of the variance less the variance with the group fixed).
    """
    p = of.model.parameters
    rows = []
    for name, inside in members.items():
        index = p.indices(inside)
        held = of.held.copy()
        held[index] = True
        rest = components(of.model, of.values, poi=p.names[of.poi], held=held).variance
        rows.append((name, float(np.sqrt((of.auxiliary[index] ** 2).sum())), float(np.sqrt(of.variance - rest))))
    return pd.DataFrame(rows, columns=["group", "quadrature", "conditional"])
