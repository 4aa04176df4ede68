"""Toy experiments in batches: how often intervals cover, and how far the estimate really spreads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from shiftlab.errors import ConfigError, DataError
from shiftlab.fit.likelihood.covariance import covariances
from shiftlab.fit.likelihood.impacts import target_of
from shiftlab.fit.likelihood.minimise import CONVERGED, FAILED, Minima
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import Spectra
from shiftlab.fit.likelihood.rates import expected
from shiftlab.fit.likelihood.starts import fit_many

__all__ = ["Coverage", "Toys", "draw", "template_toys", "toys"]

Floats = npt.NDArray[np.float64]

_BATCH = 250
"""Toys between two steps of the progress bar."""


class Coverage(NamedTuple):
    """Share of intervals that hold the truth, its binomial error, and how many were counted."""

    value: float
    error: float
    counted: int


@dataclass(frozen=True, eq=False)
class Toys:
    """What came out of the toys.

    Attributes:
        poi: name of the parameter that is looked at.
        truth: its true value.
        parameters: (toy, parameter) best fits.
        error: (toy,) claimed symmetric error of ``poi``; NaN where there is none.
        rise: (toy,) -2 ln L with ``poi`` fixed at its true value, less the minimum; NaN where not asked for
            or failed.
        goodness: (toy,) saturated -2 ln L at the minimum.
        status: (toy,) ``converged``, ``at bound`` or ``failed``.
        reason: (toy,) which bound, or why it failed.
        index: position of ``poi``.
    """

    poi: str
    truth: float
    parameters: Floats
    error: Floats
    rise: Floats
    goodness: Floats
    status: tuple[str, ...]
    reason: tuple[str, ...]
    index: int

    @property
    def estimates(self) -> Floats:
        """(toy,) best fits of ``poi``."""
        return np.asarray(self.parameters[:, self.index])

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """(toy,) converged inside the bounds, with an error."""
        return np.array([status == CONVERGED for status in self.status]) & np.isfinite(self.error)

    def coverage(self, level: float = 0.6827, *, by: str = "error") -> Coverage:
        """Return how often the interval of a level holds the truth.

        Toys at a bound count with ``by="rise"``, which needs no error; failed toys never count.

        Args:
            level: nominal coverage.
            by: ``error`` for best fit ± z errors, ``rise`` for the likelihood-ratio interval.
        """
        from scipy.special import chdtri, ndtri

        if by not in ("error", "rise"):
            raise ConfigError(f"by = '{by}'; allowed: error, rise.")
        if by == "error":
            use = self.good
            inside = np.abs(self.estimates - self.truth)[use] <= ndtri(0.5 + 0.5 * level) * self.error[use]
        else:
            use = np.isfinite(self.rise)
            inside = self.rise[use] <= chdtri(1, 1.0 - level)
        count = int(use.sum())
        value = float(inside.mean()) if count else float("nan")
        return Coverage(value, float(np.sqrt(value * (1.0 - value) / count)) if count else float("nan"), count)

    def pulls(self) -> Floats:
        """Return (good toy,): (estimate - truth) / error; mean 0 and width 1 where errors mean what they say."""
        use = self.good
        return np.asarray((self.estimates[use] - self.truth) / self.error[use])

    def table(self) -> pd.DataFrame:
        """Return one row per toy: estimate, error, goodness, rise, status, reason."""
        columns = {"estimate": self.estimates, "error": self.error, "goodness": self.goodness, "rise": self.rise}
        return pd.DataFrame({**columns, "status": self.status, "reason": self.reason})


def draw(
    model: Likelihood, values: Floats, number: int, rng: np.random.Generator, *, vary: str = "auxiliary"
) -> Spectra:
    """Return toy data.

    Args:
        model: nature.
        values: (parameter,) its true parameters.
        number: how many toys.
        rng: source of randomness.
        vary: ``auxiliary`` draws the auxiliary measurements around the true parameters (frequentist);
            ``nuisances`` draws the true parameters from their constraints and leaves the auxiliary
            measurements at ``values`` (another universe each time).

    Raises:
        ConfigError: ``vary`` is neither.
    """
    if vary not in ("auxiliary", "nuisances"):
        raise ConfigError(f"vary = '{vary}'; allowed: auxiliary, nuisances.")
    p = model.parameters
    normal, poisson = np.isfinite(p.width) & ~p.fixed, (p.tau > 0.0) & ~p.fixed
    moved = np.tile(values, (number, 1))
    moved[:, normal] += rng.normal(size=(number, int(normal.sum()))) * p.width[normal]
    if vary == "auxiliary":
        moved[:, poisson] = rng.poisson(p.tau[poisson] * values[poisson], (number, int(poisson.sum()))) / p.tau[poisson]
        rates = np.broadcast_to(expected(model, values), (number, model.bins))
        return Spectra(rng.poisson(rates).astype(np.float64), moved)
    moved[:, poisson] = rng.gamma(p.tau[poisson] * values[poisson], 1.0 / p.tau[poisson], (number, int(poisson.sum())))
    moved = np.clip(moved, p.lower, p.upper)
    rates = np.maximum(expected(model, moved), 0.0)
    return Spectra(rng.poisson(rates).astype(np.float64), np.tile(values, (number, 1)))


def toys(
    model: Likelihood,
    number: int,
    seed: int,
    *,
    values: Floats | None = None,
    fitted: Likelihood | None = None,
    poi: str | None = None,
    vary: str = "auxiliary",
    ratio: bool = False,
    progress: bool = False,
) -> Toys:
    """Draw toys from ``model`` and fit them all; one that fails is recorded with the reason and stops nothing.

    Args:
        model: nature.
        number: how many.
        seed: of the draws.
        values: (parameter,) true parameters; nominal if None.
        fitted: the likelihood that is fitted, if it is not nature's; the same bins.
        poi: the parameter to look at; the parameter of interest if None.
        vary: see ``draw``.
        ratio: fit with ``poi`` at its true value too, for ``rise``.
        progress: show a progress bar.

    Raises:
        ConfigError: there is no parameter to look at, or ``number`` is not positive.
    """
    if number < 1:
        raise ConfigError(f"toys = {number}; at least one is needed.")
    other = model if fitted is None else fitted
    truth = model.parameters.initial if values is None else values
    index = target_of(other, poi)
    name = other.parameters.names[index]
    rng = np.random.default_rng(seed)
    parts = []
    with tqdm(total=number, desc="toys", unit="toy", disable=not progress, leave=False) as bar:
        for first in range(0, number, _BATCH):
            count = min(_BATCH, number - first)
            data = draw(model, truth, count, rng, vary=vary)
            if other is not model:
                data = Spectra(data.counts, _matched(model, other, data.centre))
            parts.append(_batch(other, data, _matched(model, other, truth[None])[0], index, ratio))
            bar.update(count)
    true = float(truth[model.parameters.index(name)]) if name in model.parameters.names else 0.0
    return _joined(name, true, index, parts)


def template_toys(
    models: Iterable[Likelihood | DataError],
    nature: Likelihood,
    seed: int,
    *,
    values: Floats | None = None,
    ratio: bool = False,
) -> Toys:
    """Fit one toy of ``nature`` with each of ``models``, whose templates are redrawn, for example by event bootstrap.

    Profiling the Monte Carlo errors of the nominal templates does not cover fluctuations of the variations
    (Alexe et al., arXiv:2401.10542); redrawing every template does. The auxiliary measurements of nature's Monte
    Carlo factors stay at their centres: the redrawn templates are their fluctuation, which counts once.

    Args:
        models: likelihoods of redrawn templates, the bins of ``nature``; an error in the place of one whose templates
            make no likelihood, which is a failed toy.
        nature: what the data are drawn from.
        seed: of the draws.
        values: (parameter,) true parameters; nominal if None.
        ratio: fit with the parameter of interest at its true value too, for ``rise``.
    """
    truth = nature.parameters.initial if values is None else values
    index, rng, parts = target_of(nature, None), np.random.default_rng(seed), []
    name, gammas = nature.parameters.names[index], nature.parameters.of_kind("staterror", "shapesys")
    for model in models:
        data = draw(nature, truth, 1, rng)
        data.centre[:, gammas] = nature.parameters.centre[gammas]
        if isinstance(model, DataError):
            parts.append(_refused(nature, data, str(model)))
            continue
        data = Spectra(data.counts, _matched(nature, model, data.centre))
        start = _matched(nature, model, truth[None])[0]
        part = _batch(model, data, start, model.parameters.index(name), ratio)
        fitted = _matched(model, nature, part.found.parameters)
        parts.append(part._replace(found=replace(part.found, parameters=fitted)))
    if not parts:
        raise ConfigError("toys of redrawn templates: no likelihood was given.")
    return _joined(name, float(truth[index]), index, parts)


def _refused(nature: Likelihood, data: Spectra, reason: str) -> _Part:
    """Return a failed toy."""
    nan = np.full(1, np.nan)
    found = Minima(
        parameters=np.full(data.centre.shape, np.nan),
        deviance=nan,
        distance=nan,
        gradient=np.full((1, nature.outer.size), np.nan),
        status=(FAILED,),
        reason=(reason,),
        iterations=np.zeros(1, dtype=np.int64),
    )
    return _Part(found, nan, nan)


class _Part(NamedTuple):
    found: Minima
    error: Floats
    rise: Floats


def _batch(model: Likelihood, data: Spectra, start: Floats, index: int, ratio: bool) -> _Part:
    count = len(data.counts)
    begin = np.tile(start, (count, 1))
    held = np.tile(model.parameters.fixed, (count, 1))
    found = fit_many(model, data, begin, held)
    error, rise = np.full(count, np.nan), np.full(count, np.nan)
    use = np.flatnonzero(found.good)
    row = model.row[index]
    for part in np.array_split(use, max(1, len(use) // 32)):
        if len(part):
            matrix, _ = covariances(model, data[part], found.parameters[part], held[part])
            with np.errstate(invalid="ignore"):
                error[part] = np.sqrt(matrix[:, row, row])
    if ratio:
        begin, held = found.parameters.copy(), held.copy()
        begin[:, index], held[:, index] = start[index], True
        fixed = fit_many(model, data[use], begin[use], held[use])
        rise[use] = np.where(fixed.good, np.maximum(fixed.deviance - found.deviance[use], 0.0), np.nan)
    return _Part(found, error, rise)


def _joined(name: str, truth: float, index: int, parts: list[_Part]) -> Toys:
    return Toys(
        name,
        truth,
        np.concatenate([part.found.parameters for part in parts]),
        np.concatenate([part.error for part in parts]),
        np.concatenate([part.rise for part in parts]),
        np.concatenate([part.found.deviance for part in parts]),
        tuple(status for part in parts for status in part.found.status),
        tuple(reason for part in parts for reason in part.found.reason),
        index,
    )


def _matched(model: Likelihood, other: Likelihood, values: Floats) -> Floats:
    """Return (toy, parameter of ``other``): values of parameters of the same name, centres where there is none."""
    found = np.tile(other.parameters.centre, (len(values), 1))
    shared = [name for name in other.parameters.names if name in model.parameters.names]
    found[:, other.parameters.indices(shared)] = values[:, model.parameters.indices(shared)]
    return found
