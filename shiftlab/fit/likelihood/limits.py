"""Asymptotic tests of a signal strength: p-values, CLs, and upper limits with their expected bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError
from shiftlab.fit.errors import FitError
from shiftlab.fit.likelihood.fitting import Fitted, asimov, fit
from shiftlab.fit.likelihood.impacts import target_of
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import Spectra

__all__ = ["BANDS", "Limit", "Test", "discovery", "hypothesis_test", "upper_limit"]

Floats = npt.NDArray[np.float64]

BANDS: Final = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Fluctuations of the data, in sigma, at which expected values are given; 0 is the median."""


@dataclass(frozen=True)
class Test:
    """One tested signal strength.

    Attributes:
        poi: its value.
        observed: CLs, or the p-value of a discovery test.
        expected: the same at the ``BANDS`` if there is no signal (with one of strength 1, for a discovery).
        statistic: observed q.
        asimov: q of the Asimov data.
    """

    poi: float
    observed: float
    expected: tuple[float, ...]
    statistic: float
    asimov: float


@dataclass(frozen=True)
class Limit:
    """Upper limits on the signal strength.

    Attributes:
        observed: the limit.
        expected: the limits at the ``BANDS`` if there is no signal.
        level: confidence level.
    """

    observed: float
    expected: tuple[float, ...]
    level: float


class _Tester:
    """The fits that all tests of one spectrum share."""

    def __init__(self, model: Likelihood, data: Spectra | npt.ArrayLike, tilde: bool) -> None:
        self.model, self.tilde = model, tilde
        index = target_of(model, None)
        self.name = model.parameters.names[index]
        self.index = index
        self.best = fit(model, data)
        self.background = fit(model, self.best.data, fixed={self.name: 0.0}, what="data without signal")
        self.asimov = fit(model, asimov(model, self.background.parameters), start=self.background.parameters)

    def statistic(self, best: Fitted, poi: float) -> float:
        """Return q, 0 where the best fit is above ``poi``; with ``tilde`` a best fit below 0 counts as 0."""
        found = best.parameters[self.index]
        if found > poi:
            return 0.0
        lowest = best.goodness
        if self.tilde and found < 0.0:
            lowest = fit(self.model, best.data, fixed={self.name: 0.0}, what=best.what).goodness
        start = best.parameters.copy()
        start[self.index] = poi
        fixed = fit(self.model, best.data, fixed={self.name: poi}, start=start, what=f"{best.what} at {poi:.4g}")
        return max(fixed.goodness - lowest, 0.0)

    def test(self, poi: float) -> Test:
        """Return CLs at ``poi`` (Cowan et al., arXiv:1007.1727, section 3.5 and 3.6)."""
        q, q_asimov = self.statistic(self.best, poi), self.statistic(self.asimov, poi)
        root = np.sqrt(q_asimov)
        distance = np.sqrt(q) - root
        if self.tilde and np.sqrt(q) > root > 0.0:
            distance = (q - q_asimov) / (2.0 * root)
        return Test(poi, _cls(distance, root), tuple(_cls(-n, root) for n in BANDS), q, q_asimov)


def _cls(distance: float, root: float) -> float:
    """Return CL_s+b / CL_b for a statistic ``distance`` sigma from the median without signal."""
    from scipy.special import ndtr

    return float(ndtr(-(distance + root)) / ndtr(-distance))


def hypothesis_test(model: Likelihood, data: Spectra | npt.ArrayLike, poi: float = 1.0, *, tilde: bool = True) -> Test:
    """Return CLs of a signal strength, observed and expected without signal.

    Args:
        model: the likelihood.
        data: (bin,) events, or a spectrum with auxiliary measurements.
        poi: tested value.
        tilde: use q-tilde, which takes a negative best fit as 0, and its asymptotic distribution.

    Raises:
        FitError: a fit does not converge.
        ConfigError: the likelihood has no parameter of interest.
    """
    return _Tester(model, data, tilde).test(poi)


def discovery(model: Likelihood, data: Spectra | npt.ArrayLike) -> Test:
    """Return the p-value of no signal (q0), observed and expected for a signal of strength 1."""
    from scipy.special import ndtr

    best = fit(model, data)
    name = model.parameters.names[target_of(model, None)]
    signal = fit(model, best.data, fixed={name: 1.0}, what="data with signal 1")
    expected = asimov(model, signal.parameters)
    values = []
    for one, what in ((best.data, "data"), (expected, "asimov")):
        top = fit(model, one, what=what)
        none = fit(model, one, fixed={name: 0.0}, what=f"{what} without signal")
        values.append(max(none.goodness - top.goodness, 0.0) if top.value(name) > 0.0 else 0.0)
    root = float(np.sqrt(values[1]))
    bands = tuple(float(ndtr(-(root - n))) for n in BANDS)
    return Test(0.0, float(ndtr(-np.sqrt(values[0]))), bands, values[0], values[1])


def upper_limit(model: Likelihood, data: Spectra | npt.ArrayLike, *, level: float = 0.95, tilde: bool = True) -> Limit:
    """Return the upper limits where CLs = 1 - ``level``, observed and expected, to 1e-6 relative.

    Raises:
        FitError: a fit does not converge, or the limit lies beyond the parameter's upper bound.
        ConfigError: ``level`` is not between 0 and 1, or there is no parameter of interest.
    """
    from scipy.optimize import brentq

    if not 0.0 < level < 1.0:
        raise ConfigError(f"level = {level}; it must be between 0 and 1.")
    tester = _Tester(model, data, tilde)
    known: dict[float, Test] = {}

    def test(poi: float) -> Test:
        if poi not in known:
            known[poi] = tester.test(poi)
        return known[poi]

    def root(of: int | None) -> float:
        def excess(poi: float) -> float:
            found = test(poi)
            value = found.observed if of is None else found.expected[of]
            return float(np.log(max(value, 1e-300) / (1.0 - level)))

        high = tester.best.error(tester.name) if tester.best.convex else 1.0
        top = float(model.parameters.upper[tester.index])
        high = min(max(high, 1e-3), top)
        while excess(high) > 0.0:
            if high >= top:
                raise FitError(
                    f"limit of {model.name}: CLs is above {1.0 - level:.3g} up to the bound of '{tester.name}', "
                    f"{top:g}; widen the bound."
                )
            high = min(2.0 * high, top)
        return float(brentq(excess, 0.0, high, rtol=1e-6, xtol=1e-9 * high))

    return Limit(root(None), tuple(root(i) for i in range(len(BANDS))), level)
