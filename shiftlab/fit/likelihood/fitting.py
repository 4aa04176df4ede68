"""One fit, or a batch of fits, with fixed and free parameters, and what the data say about each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.errors import FitError
from shiftlab.fit.likelihood.covariance import full_covariance, invert, observed_information
from shiftlab.fit.likelihood.minimise import FAILED, Minima
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import Spectra, constant, evaluate, gradient
from shiftlab.fit.likelihood.rates import expected
from shiftlab.fit.likelihood.starts import fit_many

__all__ = ["Fitted", "asimov", "fit", "holding", "spectra", "twice_nll"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fit to one spectrum.

    Attributes:
        model: the likelihood.
        data: what was fitted, one row.
        what: name of the spectrum, for messages.
        parameters: (parameter,) best fit.
        held: (parameter,) what was fixed.
        goodness: -2 ln of the likelihood over that of a perfect prediction, constraints included.
        distance: estimated distance to the minimum in -ln L.
        iterations: steps of the minimiser.
        at_bound: parameters that ended at a bound; their errors mean little.
    """

    model: Likelihood
    data: Spectra
    what: str
    parameters: Floats
    held: Bools
    goodness: float
    distance: float
    iterations: int
    at_bound: tuple[str, ...]

    def covariance_row(self, index: int) -> tuple[Floats, Floats]:
        """Return (parameter,) covariance of an outer parameter with all, gammas too, and (parameter,) variances."""
        full = self.full_covariance
        return full[index], np.diag(full)

    @property
    def twice_nll(self) -> float:
        """-2 ln L, all constants included, as in pyhf."""
        return float(self.goodness + constant(self.model, self.data)[0])

    @property
    def ndf(self) -> int:
        """Bins less free parameters without a constraint."""
        return int(self.model.bins - (~self.held & ~self.model.parameters.constrained).sum())

    @property
    def p_value(self) -> float:
        """Upper tail of chi2 at ``goodness``: the saturated test, good where bins hold many events."""
        from scipy.special import chdtrc

        return float(chdtrc(self.ndf, self.goodness)) if self.ndf > 0 else 1.0

    @cached_property
    def convex(self) -> bool:
        """Whether the observed information is positive definite; if not, the expected one gives the errors."""
        try:
            self._invert(curved=True)
        except FitError:
            return False
        return True

    @cached_property
    def covariance(self) -> Floats:
        """(outer, outer): inverse observed information over ``model.outer``, 0 for fixed parameters.

        Raises:
            FitError: the likelihood does not fix a combination of parameters; the message names it.
        """
        return self._invert(curved=self.convex)

    @cached_property
    def full_covariance(self) -> Floats:
        """(parameter, parameter): the same with the profiled gammas; see ``covariance``."""
        return full_covariance(self.model, self.data, self.parameters, self.held, self.covariance)

    def _invert(self, *, curved: bool) -> Floats:
        matrix = observed_information(self.model, self.data, self.parameters[None], self.held[None], curved=curved)
        return invert(self.model, matrix[0], self.held, self.what)

    def value(self, name: str) -> float:
        """Return the best fit of a parameter."""
        return float(self.parameters[self.model.parameters.index(name)])

    def error(self, name: str) -> float:
        """Return the symmetric error of a parameter, 0 if it was fixed."""
        index = self.model.parameters.index(name)
        row = self.model.row[index]
        variance = self.covariance[row, row] if row >= 0 else self.full_covariance[index, index]
        return float(np.sqrt(variance))

    def table(self) -> pd.DataFrame:
        """Return the parameters: name, kind, prefit, bestfit, error, pull, constraint, status.

        ``prefit`` is the constraint's sigma, NaN where there is none; ``pull`` = (bestfit - centre) /
        prefit; ``constraint`` = error / prefit; ``status`` is free, fixed or at bound.
        """
        p = self.model.parameters
        prefit = np.where(p.constrained, p.prior, np.nan)
        error = np.sqrt(np.diag(self.full_covariance))
        status = np.where(self.held, "fixed", np.where(np.isin(p.names, self.at_bound), "at bound", "free"))
        return pd.DataFrame(
            {
                "name": p.names,
                "kind": p.kinds,
                "prefit": prefit,
                "bestfit": self.parameters,
                "error": error,
                "pull": (self.parameters - self.data.centre[0]) / prefit,
                "constraint": error / prefit,
                "status": status,
            }
        )


def spectra(
    model: Likelihood, counts: npt.ArrayLike, centre: npt.ArrayLike | None = None, what: str = "data"
) -> Spectra:
    """Return counts (bin,) or (fit, bin) as data, with the nominal auxiliary measurements if none are given.

    Raises:
        FitError: counts are negative or not finite, or not one per bin; the message names the bin.
    """
    rows = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    if rows.shape[1] != model.bins:
        raise FitError(f"fit of {model.name} to {what}: {rows.shape[1]} counts for {model.bins} bins.")
    bad = np.argwhere(~(np.isfinite(rows) & (rows >= 0.0)))
    if len(bad):
        fit, at = (int(i) for i in bad[0])
        raise FitError(
            f"fit of {model.name} to {what}: observed counts are negative or not finite: "
            f"{rows[fit, at]:g} in {model.bin_name(at)}."
        )
    middle = model.parameters.centre if centre is None else np.asarray(centre, dtype=np.float64)
    return Spectra(rows, np.broadcast_to(middle, (len(rows), len(model.parameters))))


def asimov(model: Likelihood, parameters: Floats | None = None) -> Spectra:
    """Return the data that say exactly ``parameters`` (parameter,), nominal if None: rates and auxiliary alike."""
    values = model.parameters.initial if parameters is None else parameters
    return Spectra(expected(model, values)[None], values[None])


def holding(
    model: Likelihood, fixed: Mapping[str, float] | None = None, free: Sequence[str] = ()
) -> tuple[Floats, Bools]:
    """Return first values and what is held, (parameter,) each.

    Args:
        model: the likelihood.
        fixed: values of the parameters to hold, besides those that the likelihood holds.
        free: names of parameters that the likelihood holds, to let move.
    """
    start, held = model.parameters.initial.copy(), model.parameters.fixed.copy()
    held[model.parameters.indices(free)] = False
    for name, value in (fixed or {}).items():
        index = model.parameters.index(name)
        start[index], held[index] = value, True
    return start, held


def twice_nll(model: Likelihood, data: Spectra, parameters: Floats) -> Floats:
    """Return (fit,): -2 ln L at ``parameters`` (fit, parameter), gammas as given, all constants included."""
    everything = np.ones((len(parameters), len(model.parameters)), dtype=np.bool_)
    return np.asarray(evaluate(model, data, parameters, everything).deviance + constant(model, data), dtype=np.float64)


def fit(
    model: Likelihood,
    data: Spectra | npt.ArrayLike,
    *,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] = (),
    start: Floats | None = None,
    what: str = "data",
) -> Fitted:
    """Fit one spectrum.

    Args:
        model: the likelihood.
        data: (bin,) events, or a spectrum with auxiliary measurements of its own.
        fixed: values of the parameters to hold.
        free: parameters that the likelihood holds, to let move.
        start: (parameter,) first values; the nominal ones if None.
        what: name of the spectrum, for messages.

    Raises:
        FitError: the data are no counts, or no minimum is found; the message names the parameter and the
            bin that drive it.
    """
    one = data if isinstance(data, Spectra) else spectra(model, data, what=what)
    first, held = holding(model, fixed, free)
    if start is not None:
        first = np.where(held, first, start)
    found = fit_many(model, one, first[None], held[None])
    if found.status[0] == FAILED:
        raise FitError(_failure(model, one, found, held, what))
    bounds = tuple(found.reason[0].split(", ")) if found.reason[0] else ()
    return Fitted(
        model=model,
        data=one,
        what=what,
        parameters=found.parameters[0],
        held=held,
        goodness=float(found.deviance[0]),
        distance=float(found.distance[0]),
        iterations=int(found.iterations[0]),
        at_bound=bounds,
    )


def _failure(model: Likelihood, data: Spectra, found: Minima, held: Bools, what: str) -> str:
    """Name the parameter whose gradient, times its error, is largest, and the bin that pulls it most."""
    begin = f"fit of {model.name} to {what} did not converge: {found.reason[0]}"
    rates = expected(model, found.parameters)[0]
    empty = np.flatnonzero(~((rates > 0.0) | ((rates == 0.0) & (data.counts[0] == 0.0))))
    if len(empty):
        first = int(empty[0])
        seen = data.counts[0, first]
        return f"{begin}; {model.bin_name(first)} predicts {rates[first]:.3g} events where {seen:g} are seen."
    at = evaluate(model, data, found.parameters, held[None])
    jacobian, slope = gradient(model, data, at)
    matrix = observed_information(model, data, found.parameters, held[None], curved=False)[0]
    error = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    worst = int(np.abs(np.where(held[model.outer], 0.0, slope[0]) * error).argmax())
    pulls = jacobian[0, worst] * (1.0 - data.counts[0] / np.maximum(at.rate[0], 1e-300))
    strongest, index = int(np.abs(pulls).argmax()), model.outer[worst]
    return (
        f"{begin} (estimated distance to the minimum {found.distance[0]:.3g}); parameter "
        f"'{model.parameters.names[index]}' = {found.parameters[0, index]:.3g} ± {error[worst]:.2g} drives it, most in "
        f"{model.bin_name(strongest)}: {data.counts[0, strongest]:g} events seen, {rates[strongest]:.4g} expected."
    )
