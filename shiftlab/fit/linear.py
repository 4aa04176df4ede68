"""The likelihood near a point: sensitivity of the fit to the data, additive components, decorrelated nuisances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.errors import FitError
from shiftlab.fit.information import jacobian
from shiftlab.fit.model import FitModel
from shiftlab.templates import Templates

__all__ = ["Linear", "components", "decorrelate", "linearise", "spread"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """A Gaussian likelihood with the rates linear in the parameters.

    Attributes:
        names: parameter names.
        kinds: ``poi``, ``nuisance`` or ``mc_stat`` per parameter.
        expected: (bin,) rates lambda.
        jacobian: (bin, parameter) derivatives J of the rates.
        precision: (parameter,) 1 / sigma^2 of the constraints, 0 for ``mu``.
        covariance: (parameter, parameter) C = (J^T diag(1/lambda) J + diag(precision))^-1: the inverse
            expected information, and exactly the inverse Hessian at Asimov data.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    expected: Floats
    jacobian: Floats
    precision: Floats
    covariance: Floats

    @property
    def poi(self) -> int:
        """Position of the parameter of interest."""
        return self.kinds.index("poi")

    @property
    def response(self) -> Floats:
        """(parameter, bin) change of the best fit per extra event, C J^T diag(1/lambda)."""
        return np.asarray(self.covariance @ (self.jacobian / self.expected[:, None]).T)

    @property
    def poi_response(self) -> Floats:
        """(bin,) change of the best-fit ``mu`` per extra event: d mu / d n."""
        return np.asarray(self.response[self.poi])

    def predict(self, counts: Floats) -> Floats:
        """Return (parameter,) change of the best fit when ``counts`` (bin,) replace the expectation."""
        return np.asarray(self.response @ (counts - self.expected))


def linearise(model: FitModel, parameters: Floats) -> Linear:
    """Expand the model around ``parameters`` (parameter,).

    Raises:
        FitError: no bin depends on an unconstrained parameter.
    """
    slope = jacobian(model, parameters)
    expected, precision = model.expected(parameters), model.width**-2.0
    for i, name in enumerate(model.names):
        if precision[i] == 0.0 and not slope[:, i].any():
            raise FitError(f"fit of {model.name}: no bin depends on '{name}', so it cannot be fitted.")
    return Linear(model.names, model.kinds, expected, slope, precision, _covariance(expected, slope, precision))


def _covariance(expected: Floats, slope: Floats, precision: Floats) -> Floats:
    information = (slope / expected[:, None]).T @ slope + np.diag(precision)
    return np.asarray(np.linalg.inv(information), dtype=np.float64)


def components(linear: Linear) -> pd.DataFrame:
    """Split the variance of ``mu`` into what the data, MC statistics and each nuisance contribute.

    Shifting each fluctuating number by its own sigma (Pinto et al., arXiv:2307.04007): bins of the data
    give sum_b (d mu/d n_b)^2 lambda_b, the auxiliary measurement of parameter k gives C_mk^2 / sigma_k^2.
    The squares add up to C_mm.

    Returns:
        Columns: component, group (``group`` rows add up to ``total``; ``nuisance`` rows to
        ``systematics``), sigma, fraction (of the variance).
    """
    row = linear.covariance[linear.poi]
    part = row**2 * linear.precision
    kinds = np.array(linear.kinds)
    variance = {
        "data statistics": float((linear.poi_response**2 * linear.expected).sum()),
        "MC statistics": float(part[kinds == "mc_stat"].sum()),
        "systematics": float(part[kinds == "nuisance"].sum()),
        "total": float(row[linear.poi]),
    }
    rows = [(name, "group", value) for name, value in variance.items()]
    each = [(linear.names[i], "nuisance", float(part[i])) for i in np.flatnonzero(kinds == "nuisance")]
    rows += sorted(each, key=lambda entry: -entry[2])
    table = pd.DataFrame(rows, columns=["component", "group", "variance"])
    table["sigma"] = np.sqrt(table["variance"])
    table["fraction"] = table["variance"] / variance["total"]
    return table.drop(columns="variance")


def decorrelate(linear: Linear, templates: Templates) -> Linear:
    """Return the model in which every nuisance is an independent parameter in each channel.

    A nuisance's column of the Jacobian is cut into one column per channel; names become
    ``<nuisance>__<channel>``.
    """
    names, kinds, columns, precision = [], [], [], []
    for i, (name, kind) in enumerate(zip(linear.names, linear.kinds, strict=True)):
        parts = templates.channels if kind == "nuisance" else ("",)
        for channel in parts:
            column = linear.jacobian[:, i].copy()
            if channel:
                inside = np.zeros(len(column), dtype=np.bool_)
                inside[templates.slice(channel)] = True
                column[~inside] = 0.0
            names.append(f"{name}__{channel}" if channel else name)
            kinds.append(kind)
            columns.append(column)
            precision.append(linear.precision[i])
    slope, weight = np.stack(columns, axis=1), np.array(precision)
    return replace(
        linear,
        names=tuple(names),
        kinds=tuple(kinds),
        jacobian=slope,
        precision=weight,
        covariance=_covariance(linear.expected, slope, weight),
    )


def spread(correlated: Linear, fitted: Linear) -> pd.DataFrame:
    """Return claimed and true uncertainty of ``mu`` when nature is ``correlated`` and the fit is ``fitted``.

    claimed^2 = C_mm of each fit. The true spread is the sandwich: data and MC statistics fluctuate as
    both fits think, each detector nuisance moves all channels at once by its column J_k,
    true^2 = sum_b (d mu/d n_b)^2 lambda_b + sum_g C_mg^2 / sigma_g^2 + sum_k (d mu/d n . J_k)^2.
    Coverage of the claimed 68.3% interval: erf(claimed / true / sqrt 2).

    Returns:
        Columns: scheme (``correlated``, ``decorrelated``), claimed, true, coverage.
    """
    shifts = correlated.jacobian[:, np.array(correlated.kinds) == "nuisance"]
    rows = []
    for scheme, linear in (("correlated", correlated), ("decorrelated", fitted)):
        response = linear.poi_response
        monte_carlo = (linear.covariance[linear.poi] ** 2 * linear.precision)[np.array(linear.kinds) == "mc_stat"]
        variance = (response**2 * linear.expected).sum() + monte_carlo.sum() + ((response @ shifts) ** 2).sum()
        claimed, true = math.sqrt(linear.covariance[linear.poi, linear.poi]), math.sqrt(float(variance))
        rows.append((scheme, claimed, true, math.erf(claimed / true / math.sqrt(2.0))))
    return pd.DataFrame(rows, columns=["scheme", "claimed", "true", "coverage"])
