"""Results of the fits to one set of templates, as frozen records and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Fit", "FitResult"]


@dataclass(frozen=True, eq=False)
class Fit:
    """The fit to one spectrum.

    Attributes:
        observation: ``asimov``, ``held_out`` or ``injected``.
        universe: the universe that the spectrum comes from.
        mu: best-fit signal strength, relative to the nominal simulation.
        error: its symmetric error, from the inverse Hessian (means little when ``mu`` is in ``at_limit``).
        twice_nll: -2 ln L at the minimum.
        goodness: saturated chi2, constraint terms included.
        ndf: bins minus one (``mu`` is the only unconstrained parameter).
        p_value: upper tail of chi2 with ``ndf``; it takes the spectrum as Poisson (compare
            ``goodness_mc_ratio`` in the summary).
        parameters: columns name, kind (``poi``, ``nuisance``, ``mc_stat``), prefit (sigma of the
            constraint; NaN for mu), bestfit, error, pull = (bestfit - nominal) / prefit, constraint =
            error / prefit, injected (true value in the universe; NaN where it has none).
        correlation: post-fit correlation of mu and the nuisances, names as index and columns.
        calls: steps of the minimiser.
        at_limit: parameters that ended at a bound.
    """

    observation: str
    universe: str
    mu: float
    error: float
    twice_nll: float
    goodness: float
    ndf: int
    p_value: float
    parameters: pd.DataFrame
    correlation: pd.DataFrame
    calls: int
    at_limit: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FitResult:
    """Everything that the fits say about one arm and seed.

    Attributes:
        arm: arm that made the observables.
        seed: its training seed.
        recalibrate: ``none``, ``mip`` or ``exact``.
        fits: by observation; ``asimov`` always, ``held_out`` and ``injected`` when events were held out.
        impacts: Asimov; one row per nuisance, largest first. Columns: nuisance; impact = largest size of
            closed_form, up and down; closed_form =
            C_mk / sqrt(C_kk), the change of mu for +1 post-fit sigma; prefit = C_mk / C_kk, for +1 prefit
            sigma; component = C_mk, the additive uncertainty; up, down, the change of mu in refits with
            the nuisance at ±1 post-fit sigma (NaN where not refitted); mc_limited; fake_sigma.
        components: Asimov; see ``Components.table``.
        decorrelated: Asimov; see ``sandwich``.
        response: columns channel, bin, lo, hi, expected, dmu_dn (change of the best-fit mu per extra
            event in the bin, linearised at nominal).
        constraints: ``Templates.constraints()``.
        summary: the numbers of a headline, plain values; None for what was not fitted. ``sigma`` and its
            parts (``sigma_statistical``, ``sigma_mc``, ``sigma_systematic``) are those of Asimov data;
            ``injected_bias`` = (mu - 1) / error in the injected universe and its Monte Carlo error
            ``injected_bias_mc_error``; ``injected_shift`` = mu_injected - mu_held_out, in units of mu, where
            the same events cancel most of the Monte Carlo error (``injected_shift_error``);
            ``goodness_mc_ratio``: Monte Carlo variance of the injected spectrum over its Poisson
            variance, which must be well below 1 for the p-value to be one.
    """

    arm: str
    seed: int
    recalibrate: str
    fits: Mapping[str, Fit]
    impacts: pd.DataFrame
    components: pd.DataFrame
    decorrelated: pd.DataFrame
    response: pd.DataFrame
    constraints: pd.DataFrame
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``<arm>-<seed>``."""
        return f"{self.arm}-{self.seed}"

    @property
    def parameters(self) -> pd.DataFrame:
        """The parameters of all fits, with the column ``observation`` first."""
        tables = []
        for name, fit in self.fits.items():
            table = fit.parameters.copy()
            table.insert(0, "observation", name)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)
