"""What summaries a sample of given nuisances, composition and flux should have, and with what covariance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.bias.placement.library import Library
from shiftlab.bias.placement.summaries import Summaries
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError, UnknownNameError

__all__ = ["Model", "build_model", "observe"]

_SAME: Final = 1e-6
"""Taken from correlations of the prior, so that a correlation of 1 has an inverse."""

_RATIO: Final = 4.0
"""Largest factor by which a universe is taken to change the variance of a summary."""


def observe(summaries: Summaries, columns: Mapping[str, npt.ArrayLike]) -> Floats:
    """Return the summaries (summary,) of data, from its label-free columns (event,); every event counts once."""
    return np.asarray(summaries.values(columns).sum(axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Model:
    """Expected summaries as a function of the parameters theta, each with a unit-normal prior.

    The data are events that the simulation does not hold: their noise is their own.

    theta holds the detector's nuisances, then the logarithm of the normalisation of each floating simulated sample in
    units of its prior width, then the amplitudes of the floating flux modes. With e_c the number of expected events
    per simulated one, the expectation is sum_c e_c exp(s_c a_c) sum_m (1, t)_m sum_u (1, z, z^2)_u total[c, m, u]: a
    nuisance acts on each sample and flux mode in its own way, but nuisances do not interact with each other.

    Attributes:
        library: The simulation.
        exposure: (sample,), expected events per unit of generator weight.
        width: (sample,), prior relative width of the normalisation; 0 where it does not float.
        float_modes: The flux modes float.
        extra: (summary, summary), a further covariance, of interactions between nuisances for example.
        prior: (nuisance, nuisance), correlation matrix of the nuisances' prior.
    """

    library: Library
    exposure: Floats
    width: Floats
    float_modes: bool
    extra: Floats
    prior: Floats

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of theta."""
        composition = [f"composition {self.library.samples[c]}" for c in np.flatnonzero(self.width)]
        modes = [f"flux {mode}" for mode in self.library.modes] if self.float_modes else []
        return (*self.library.nuisances, *composition, *modes)

    @property
    def vertices(self) -> float:
        """Effective number of simulated vertices behind the covariance, (sum w)^2 / sum w^2."""
        squared = float(self.exposure**2 @ self.library.moment[:, 0, 0, 0, 0])
        return float(self.exposure @ self.library.weight) ** 2 / squared

    @property
    def centre(self) -> Floats:
        """(parameter,): nuisances where the library is expanded, composition and flux as simulated."""
        theta = np.zeros(len(self.parameters))
        theta[: len(self.library.nuisances)] = self.library.centre
        return theta

    @property
    def covariance_of_prior(self) -> Floats:
        """(parameter, parameter): correlations of the nuisances; composition and flux are independent."""
        matrix = np.eye(len(self.parameters))
        nuisances = len(self.library.nuisances)
        matrix[:nuisances, :nuisances] = self.prior
        return matrix

    @cached_property
    def precision(self) -> Floats:
        """(parameter, parameter): inverse of the prior's covariance; nuisances that are one are all but one."""
        matrix = self.covariance_of_prior
        return np.asarray(np.linalg.inv(matrix * (1.0 - _SAME) + np.eye(len(matrix)) * _SAME), dtype=np.float64)

    @property
    def bounded(self) -> npt.NDArray[np.bool_]:
        """Bool (parameter,): parameters that are 0 or more."""
        bounded = np.zeros(len(self.parameters), dtype=np.bool_)
        bounded[: len(self.library.nuisances)] = self.library.one_sided
        return bounded

    def factors(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Return e_c exp(s_c a_c) (toy, sample), (1, t) (toy, 1 + mode) and (1, z, z^2) (toy, term).

        z is counted from the library's centre.
        """
        nuisances = len(self.library.nuisances)
        floating = np.flatnonzero(self.width)
        log = np.zeros((len(theta), len(self.exposure)))
        log[:, floating] = theta[:, nuisances : nuisances + len(floating)] * self.width[floating]
        modes = np.zeros((len(theta), self.library.total.shape[1]))
        modes[:, 0] = 1.0
        if self.float_modes:
            modes[:, 1:] = theta[:, nuisances + len(floating) :]
        term = np.ones((len(theta), self.library.terms))
        away = theta[:, :nuisances] - self.library.centre
        term[:, 1::2] = away
        term[:, 2::2] = away**2
        return self.exposure * np.exp(log), modes, term

    def slopes(self, theta: Floats) -> Floats:
        """Return the derivative of (1, z, z^2) by each nuisance, (toy, nuisance, term)."""
        nuisances = len(self.library.nuisances)
        slope = np.zeros((len(theta), nuisances, self.library.terms))
        each = np.arange(nuisances)
        slope[:, each, 1 + 2 * each] = 1.0
        slope[:, each, 2 + 2 * each] = 2.0 * (theta[:, :nuisances] - self.library.centre)
        return slope

    def expected(self, theta: Floats) -> Floats:
        """Return the expected summaries, (toy, summary), of theta (toy, parameter)."""
        sample, modes, term = self.factors(theta)
        by_term = np.einsum("tc,tm,cmuj->tuj", sample, modes, self.library.total, optimize=True)
        return np.asarray(np.einsum("tu,tuj->tj", term, by_term), dtype=np.float64)

    def covariance(self, theta: Floats) -> Floats:
        """Return the covariance of observed minus expected summaries at theta (parameter,), (summary, summary).

        Statistical error of the data (Poisson, expected, so that it does not follow the data's own fluctuations) and
        of the simulation (with the responses' error), the unknown realisation of frozen maps, and ``extra``.
        """
        sample, modes, term = self.factors(theta[None])
        size = self.library.moment.shape[2]
        total = np.zeros((size, size)) + self.extra
        for c in range(len(self.exposure)):
            vector = sample[0, c] * term[0]
            total += np.einsum("u,ujvk,v->jk", vector, self.library.moment[c], vector, optimize=True)
        total += self._data(sample[0], modes[0], term[0])
        for throws in self.library.maps.values():
            scatter = np.einsum("c,tcj->tj", sample[0], throws)
            total += scatter.T @ scatter / (len(throws) - 1)
        return total

    def _data(self, sample: Floats, modes: Floats, term: Floats) -> Floats:
        """Return the Poisson covariance of data: nominal correlations, variances of the universe."""
        spread = self.library.spread
        nominal = np.einsum("c,cj->j", sample, spread[:, 0, 0])
        shifted = np.einsum("c,m,u,cmuj->j", sample, modes, term, spread, optimize=True)
        ratio = np.divide(shifted, nominal, out=np.ones_like(nominal), where=nominal > 0.0)
        root = np.sqrt(np.clip(ratio, 1.0 / _RATIO, _RATIO))
        return np.asarray(np.einsum("c,cjk->jk", sample, self.library.event_moment) * np.outer(root, root))


def build_model(
    library: Library,
    *,
    observed: Floats,
    exposure: Mapping[str, float] | None = None,
    composition: float | Mapping[str, float] = 0.2,
    float_modes: bool = True,
    extra: Floats | None = None,
    prior: Floats | None = None,
) -> Model:
    """Return the model of an observed sample.

    Args:
        library: The simulation.
        observed: (summary,), the sample to be placed.
        exposure: Expected number of events per simulated sample at nominal; by default the observed number of events,
            in the proportions of the simulation.
        composition: Prior relative width of the normalisation of every simulated sample, or of each; 0: known.
        float_modes: Whether the flux modes float. They float beside the detector unless the flux is known.
        extra: (summary, summary), a further covariance.
        prior: (nuisance, nuisance), correlation matrix of the nuisances' prior; independent when None.

    Raises:
        ConfigError: an exposure or a width that is not allowed.
        DataError: the sample has other summaries.
        UnknownNameError: a sample that the library does not hold.
    """
    size = len(library.summaries.names)
    if observed.shape != (size,):
        raise DataError(f"the observed sample has {observed.shape} summaries, the simulation {(size,)}.")
    share = library.weight / library.weight.sum() * observed[0]
    events = np.array(_by_sample("exposure", exposure or {}, library, share))
    default = composition if isinstance(composition, int | float) else 0.0
    given = {} if isinstance(composition, int | float) else composition
    width = np.array(_by_sample("composition", given, library, np.full(len(share), default)))
    if not (np.isfinite(events).all() and (events >= 0.0).all() and events.sum() > 0.0):
        raise ConfigError(f"exposure = {events.tolist()}: allowed are numbers of events from 0, not all 0.")
    if not (np.isfinite(width).all() and (width >= 0.0).all()):
        raise ConfigError(f"composition = {width.tolist()}: allowed are relative widths from 0.")
    return Model(
        library=library,
        exposure=events / library.weight,
        width=width,
        float_modes=float_modes and bool(library.modes),
        extra=np.zeros((size, size)) if extra is None else extra,
        prior=np.eye(len(library.nuisances)) if prior is None else prior,
    )


def _by_sample(key: str, given: Mapping[str, float], library: Library, default: Floats) -> list[float]:
    for name in given:
        if name not in library.samples:
            raise UnknownNameError(f"sample in {key}", name, library.samples)
    return [float(given.get(name, value)) for name, value in zip(library.samples, default, strict=True)]
