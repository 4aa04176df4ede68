"""The fits of one set of templates: Asimov, held-out and injected spectra, and what the uncertainty is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.errors import ConfigError
from shiftlab.fit.impacts import impacts
from shiftlab.fit.information import covariance
from shiftlab.fit.linear import Linear, components, decorrelate, linearise, spread
from shiftlab.fit.minimise import Minimum, minimise
from shiftlab.fit.model import FitModel, fit_model
from shiftlab.fit.result import Fit, FitResult
from shiftlab.templates import Observation, Templates

__all__ = ["fit"]

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
    """Fit every observation of the templates with pyhf and MINUIT.

    Args:
        templates: one set, or all from ``templates`` by (arm, seed); results come in the same way.
        refits: number of leading nuisances whose impact is checked by refitting; None for all.

    Raises:
        FitError: a fit does not converge or has no unique minimum; the message names the parameter.
        DataError: the templates make no valid workspace.
        ConfigError: ``refits`` is negative, or pyhf is not set to numpy.
    """
    if refits is not None and refits < 0:
        raise ConfigError(f"fit.refits = {refits}; it must not be negative.")
    if isinstance(templates, Templates):
        return _result(templates, refits)
    return {which: _result(one, refits) for which, one in templates.items()}


def _result(templates: Templates, refits: int | None) -> FitResult:
    model = fit_model(templates)
    linear = linearise(model, model.initial)
    minima = {name: _minimum(model, linear, observation) for name, observation in templates.observations.items()}
    measured = {
        name: covariance(model, minimum.values, templates.observations[name].counts, name)
        for name, minimum in minima.items()
    }
    covariances = {name: matrix for name, (matrix, _) in measured.items()}
    fits = {
        name: _fit(model, templates, observation, minima[name], covariances[name])
        for name, observation in templates.observations.items()
    }
    shares = components(linear)
    schemes = spread(linear, decorrelate(linear, templates))
    ranking = impacts(model, templates, minima["asimov"], covariances["asimov"], refits)
    limits = templates.constraints()
    summary = {
        **_precision(fits["asimov"], shares, schemes),
        **_largest(ranking),
        **_injected(templates, fits, linear),
        "not_convex": ", ".join(name for name, (_, convex) in measured.items() if not convex),
        "n_nuisances": len(limits),
        "n_mc_limited": int(limits["mc_limited"].sum()),
    }
    return FitResult(
        arm=templates.arm,
        seed=templates.seed,
        recalibrate=templates.recalibrate,
        fits=fits,
        impacts=ranking,
        components=shares,
        decorrelated=schemes,
        response=templates.bins.assign(expected=linear.expected, dmu_dn=linear.poi_response),
        constraints=limits,
        summary=summary,
    )


def _minimum(model: FitModel, linear: Linear, observation: Observation) -> Minimum:
    start = model.initial + linear.predict(observation.counts)
    if not np.isfinite(model.goodness(np.clip(start, model.lower, model.upper), observation.counts)):
        start = model.initial  # the linear prediction left the region of positive rates
    steps = np.sqrt(np.diag(linear.covariance))
    return minimise(model, observation.counts, start=start, steps=steps, what=observation.name)


def _fit(model: FitModel, templates: Templates, observation: Observation, minimum: Minimum, covariance: Floats) -> Fit:
    from scipy.stats import chi2

    ndf = len(observation.counts) - 1
    shown = [model.poi, *(model.names.index(name) for name in templates.nuisances if name in model.names)]
    errors = np.sqrt(np.diag(covariance))
    correlation = covariance[np.ix_(shown, shown)] / np.outer(errors[shown], errors[shown])
    names = [model.names[i] for i in shown]
    return Fit(
        observation=observation.name,
        universe=observation.universe,
        mu=float(minimum.values[model.poi]),
        error=float(errors[model.poi]),
        twice_nll=model.twice_nll(minimum.values, observation.counts),
        goodness=minimum.goodness,
        ndf=ndf,
        p_value=float(chi2.sf(minimum.goodness, ndf)) if ndf > 0 else 1.0,
        parameters=_parameters(model, shown, observation, minimum.values, errors),
        correlation=pd.DataFrame(correlation, index=names, columns=names),
        calls=minimum.calls,
        at_limit=minimum.at_limit,
    )


def _parameters(
    model: FitModel, shown: list[int], observation: Observation, values: Floats, errors: Floats
) -> pd.DataFrame:
    order = [*shown, *(i for i in range(len(model.names)) if i not in shown)]
    free = np.isinf(model.width[order])
    prefit = np.where(free, np.nan, model.width[order])
    true = {**observation.nuisances, model.names[model.poi]: 1.0}
    return pd.DataFrame(
        {
            "name": [model.names[i] for i in order],
            "kind": [model.kinds[i] for i in order],
            "prefit": prefit,
            "bestfit": values[order],
            "error": errors[order],
            "pull": (values - model.initial)[order] / prefit,
            "constraint": errors[order] / prefit,
            "injected": [true.get(model.names[i], np.nan) for i in order],
        }
    )


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


def _injected(templates: Templates, fits: Mapping[str, Fit], linear: Linear) -> dict[str, Any]:
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
    response = linear.poi_response
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
