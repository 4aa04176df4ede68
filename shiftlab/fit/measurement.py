"""The fits of one set of templates: Asimov, held-out and injected spectra, and what the uncertainty is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.errors import ConfigError
from shiftlab.fit import likelihood as engine
from shiftlab.fit.likelihood.components import Components, components
from shiftlab.fit.likelihood.decorrelate import decorrelate, sandwich
from shiftlab.fit.ranking import ranking
from shiftlab.fit.result import Fit, FitResult
from shiftlab.templates import Observation, Templates
from shiftlab.templates.workspace import INTERPOLATION, POI

__all__ = ["fit", "likelihood"]

Floats = npt.NDArray[np.float64]

_NONE_SEEN = 1.14
"""-ln(1 - 0.68): the Poisson mean that gives no event in 32% of cases."""


@overload
def fit(templates: Templates, *, refits: int | None = None) -> FitResult: ...


@overload
def fit(
    templates: Mapping[tuple[str, int], Templates], *, refits: int | None = None
) -> dict[tuple[str, int], FitResult]: ...


def fit(
    templates: Templates | Mapping[tuple[str, int], Templates], *, refits: int | None = None
) -> FitResult | dict[tuple[str, int], FitResult]:
    """Fit every observation of the templates.

    Args:
        templates: one set, or all from ``templates`` by (arm, seed); results come in the same way.
        refits: number of leading nuisances whose impact is checked by refitting; None for all.

    Raises:
        FitError: a fit does not converge or has no unique minimum; the message names the parameter.
        DataError: the templates make no valid workspace.
        ConfigError: ``refits`` is negative.
    """
    if refits is not None and refits < 0:
        raise ConfigError(f"fit.refits = {refits}; it must not be negative.")
    if isinstance(templates, Templates):
        return _result(templates, refits)
    return {which: _result(one, refits) for which, one in templates.items()}


def _result(templates: Templates, refits: int | None) -> FitResult:
    model = likelihood(templates)
    fitted = {name: engine.fit(model, seen.counts, what=name) for name, seen in templates.observations.items()}
    linear = components(model)
    fits = {name: _fit(templates, templates.observations[name], one) for name, one in fitted.items()}
    shares, schemes = linear.table(), sandwich(model, decorrelate(model))
    order = ranking(fitted["asimov"], templates, refits)
    limits = templates.constraints()
    summary = {
        **_precision(fits["asimov"], shares, schemes),
        **_largest(order),
        **_injected(templates, fits, linear),
        "not_convex": ", ".join(name for name, one in fitted.items() if not one.convex),
        "n_nuisances": len(limits),
        "n_mc_limited": int(limits["mc_limited"].sum()),
    }
    return FitResult(
        arm=templates.arm,
        seed=templates.seed,
        recalibrate=templates.recalibrate,
        fits=fits,
        impacts=order,
        components=shares,
        decorrelated=schemes,
        response=templates.bins.assign(expected=linear.expected, dmu_dn=linear.response),
        constraints=limits,
        summary=summary,
    )


def likelihood(templates: Templates) -> engine.Likelihood:
    """Return the likelihood of the templates' workspace, bins in the templates' order.

    Raises:
        DataError: the templates make no valid workspace.
    """
    codes = {kind: settings["interpcode"] for kind, settings in INTERPOLATION.items()}
    model = engine.from_workspace(templates.workspace(), codes=codes, channels=templates.channels)
    return replace(model, name=templates.name)


def _fit(templates: Templates, observation: Observation, fitted: engine.Fitted) -> Fit:
    from scipy.stats import chi2

    model, ndf = fitted.model, len(observation.counts) - 1
    names = [POI, *(name for name in templates.nuisances if name in model.parameters.names)]
    shown = model.row[model.parameters.indices(names)]
    part = fitted.covariance[np.ix_(shown, shown)]
    errors = np.sqrt(np.diag(part))
    return Fit(
        observation=observation.name,
        universe=observation.universe,
        mu=fitted.value(POI),
        error=fitted.error(POI),
        twice_nll=fitted.twice_nll,
        goodness=fitted.goodness,
        ndf=ndf,
        p_value=float(chi2.sf(fitted.goodness, ndf)) if ndf > 0 else 1.0,
        parameters=_parameters(names, observation, fitted),
        correlation=pd.DataFrame(part / np.outer(errors, errors), index=names, columns=names),
        calls=fitted.iterations,
        at_limit=fitted.at_bound,
    )


_KINDS = {"normfactor": "poi", "nuisance": "nuisance", "staterror": "mc_stat"}


def _parameters(names: list[str], observation: Observation, fitted: engine.Fitted) -> pd.DataFrame:
    table = fitted.table().set_index("name")
    table = table.loc[[*names, *(name for name in table.index if name not in names)]].reset_index()
    true = {**observation.nuisances, POI: 1.0}
    table["kind"] = table["kind"].map(_KINDS)
    table["injected"] = [true.get(name, np.nan) for name in table["name"]]
    return table.drop(columns="status")


def _precision(asimov: Fit, shares: pd.DataFrame, schemes: pd.DataFrame) -> dict[str, Any]:
    sigma = dict(zip(shares["component"], shares["sigma"].astype(float), strict=True))
    apart = schemes[schemes["scheme"] == "decorrelated"].to_dict("records")[0]
    return {
        "mu_asimov": asimov.mu,
        "sigma": asimov.error,
        "sigma_statistical": sigma["data statistics"],
        "sigma_mc": sigma["MC statistics"],
        "sigma_systematic": sigma["systematics"],
        "sigma_decorrelated_claimed": float(apart["claimed"]),
        "sigma_decorrelated_true": float(apart["true"]),
        "coverage_decorrelated": float(apart["coverage"]),
    }


def _largest(ranking: pd.DataFrame) -> dict[str, Any]:
    if ranking.empty:
        return {"largest_impact": None, "largest_impact_value": None}
    first = ranking.iloc[0]
    return {"largest_impact": str(first["nuisance"]), "largest_impact_value": float(first["impact"])}


def _shift_error(response: Floats, spectrum: Observation) -> float:
    """Return the Monte Carlo error of the paired shift of mu.

    It counts the events that change bin. Where none of the sample does, an error of zero would claim
    that none ever would; the Poisson 68% upper limit for none seen, ``_NONE_SEEN`` events, stands in,
    each with the largest effect that one event has.
    """
    if (spectrum.shift_variance > 0.0).any():
        return float(np.sqrt(response**2 @ spectrum.shift_variance))
    weight = np.divide(
        spectrum.variance, spectrum.counts, out=np.zeros_like(spectrum.counts), where=spectrum.counts > 0.0
    )
    return float(_NONE_SEEN * (np.abs(response) * weight).max())


def _injected(templates: Templates, fits: Mapping[str, Fit], linear: Components) -> dict[str, Any]:
    """Bias of mu in the injected universe, with Monte Carlo errors propagated by d mu / d n."""
    names = (
        "injected_universe",
        "mu_injected",
        "mu_injected_error",
        "injected_bias",
        "injected_bias_mc_error",
        "mu_held_out",
        "injected_shift",
        "injected_shift_error",
        "goodness",
        "ndf",
        "p_value",
        "goodness_mc_ratio",
        "at_limit",
    )
    found: dict[str, Any] = dict.fromkeys(names)
    if "held_out" in fits:
        found["mu_held_out"] = fits["held_out"].mu
    if "injected" not in fits:
        return found
    injected, spectrum = fits["injected"], templates.observations["injected"]
    response = linear.response
    return found | {
        "injected_universe": injected.universe,
        "mu_injected": injected.mu,
        "mu_injected_error": injected.error,
        "injected_bias": (injected.mu - 1.0) / injected.error,
        "injected_bias_mc_error": float(np.sqrt(response**2 @ spectrum.variance)) / injected.error,
        "injected_shift": injected.mu - fits["held_out"].mu,
        "injected_shift_error": _shift_error(response, spectrum),
        "goodness": injected.goodness,
        "ndf": injected.ndf,
        "p_value": injected.p_value,
        "goodness_mc_ratio": float(spectrum.variance.sum() / spectrum.counts.sum()),
        "at_limit": ", ".join(injected.at_limit),
    }
