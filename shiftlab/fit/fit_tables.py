"""Tables of one fitted workspace: likelihood scans, rates before and after the fit, variations with their errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.likelihood import Likelihood
from shiftlab.fit.likelihood.fitting import Fitted
from shiftlab.fit.likelihood.rates import expected, expected_by_sample
from shiftlab.fit.likelihood.scan import scan
from shiftlab.fit.opened import Opened

__all__ = ["rate_table", "scan_table", "variation_table"]

Floats = npt.NDArray[np.float64]


def scan_table(fitted: Fitted, names: Sequence[str], *, points: int = 31, reach: float = 2.5) -> pd.DataFrame:
    """Return the profile likelihoods of parameters within ``reach`` errors of their best fits, bounds respected.

    Columns: parameter; value; delta (of -2 ln L, NaN where the fit failed); parabola (what the error says: ((value -
    best fit) / error)^2); status.
    """
    model, tables = fitted.model, []
    for name in names:
        index, best, error = model.parameters.index(name), fitted.value(name), fitted.error(name)
        low, high = model.parameters.lower[index], model.parameters.upper[index]
        around = np.linspace(best - reach * error, best + reach * error, points)
        values = np.unique(np.clip(around, low, high))
        table = scan(fitted, name, values)
        table["parabola"] = ((table["value"] - best) / error) ** 2
        table.insert(0, "parameter", name)
        tables.append(table[["parameter", "value", "delta", "parabola", "status"]])
    columns = ["parameter", "value", "delta", "parabola", "status"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def rate_table(opened: Opened, fitted: Fitted) -> pd.DataFrame:
    """Return per bin: channel, bin, lo, hi, observed, prefit, postfit and, per sample, its events after the fit."""
    model = opened.model
    table = _bins(opened)
    table["observed"] = fitted.data.counts[0]
    table["prefit"] = expected(model, model.parameters.initial)
    table["postfit"] = expected(model, fitted.parameters)
    rates = expected_by_sample(model, fitted.parameters[None])[0]
    for sample in _samples(model):
        table[f"postfit_{sample}"] = _sample(model, rates, sample)
    return table


def variation_table(opened: Opened, nuisances: Sequence[str]) -> pd.DataFrame:
    """Return nominal, up and down of the samples and their total, as ``Templates.frame`` has them.

    Columns: channel, bin, lo, hi, sample (or ``total``), nuisance (``nominal`` for the nominal itself), nominal,
    nominal_error, up, down, up_error, down_error. The variations are the rates at +1 and -1 sigma. Errors are given
    for the total: of the nominal from the priors of the gammas, of the variations from the sidecar, NaN without it.
    """
    model = opened.model
    p, bins = model.parameters, _bins(opened)
    first = p.initial
    nominal, gamma = expected_by_sample(model, first[None])[0], np.zeros(model.bins)
    gamma[model.gammas] = np.where(p.fixed, 0.0, p.prior)[model.gamma_index[model.gammas]]
    scaled = (nominal * model.gamma_mask).sum(axis=0)
    tables = []
    for name in ("nominal", *nuisances):
        sides = []
        for sign in (1.0, -1.0):
            moved = first.copy()
            if name != "nominal":
                index = p.index(name)
                moved[index] = first[index] + sign * (p.prior[index] if np.isfinite(p.prior[index]) else 0.0)
            sides.append(expected_by_sample(model, moved[None])[0])
        for sample in (*_samples(model), "total"):
            rates = [_sample(model, one, sample) for one in (nominal, *sides)]
            errors = _errors(opened, name) if sample == "total" else np.full((2, model.bins), np.nan)
            tables.append(
                bins.assign(
                    sample=sample,
                    nuisance=name,
                    nominal=rates[0],
                    nominal_error=gamma * scaled if sample == "total" else np.nan,
                    up=rates[1],
                    down=rates[2],
                    up_error=errors[0],
                    down_error=errors[1],
                )
            )
    return pd.concat(tables, ignore_index=True)


def _errors(opened: Opened, nuisance: str) -> Floats:
    """Return (side, bin): the sidecar's errors of up and down, NaN where it has none."""
    model = opened.model
    found = np.full((2, model.bins), np.nan)
    for channel, sides in opened.errors.get(nuisance, {}).items():
        for row, side in enumerate(("up", "down")):
            found[row, model.slices[channel]] = sides[side]
    return found


def _bins(opened: Opened) -> pd.DataFrame:
    rows = []
    for channel in opened.model.channels:
        edges = opened.edges.get(channel.name, np.arange(channel.bins + 1.0))
        rows += [(channel.name, b, float(edges[b]), float(edges[b + 1])) for b in range(channel.bins)]
    return pd.DataFrame(rows, columns=["channel", "bin", "lo", "hi"])


def _samples(model: Likelihood) -> list[str]:
    return list(dict.fromkeys(sample for channel in model.channels for sample in channel.samples))


def _sample(model: Likelihood, rates: Floats, sample: str) -> Floats:
    """Return (bin,): the rates (slot, bin) of a sample, or the total."""
    if sample == "total":
        return np.asarray(rates.sum(axis=0))
    found = np.zeros(model.bins)
    for channel in model.channels:
        if sample in channel.samples:
            part = model.slices[channel.name]
            found[part] = rates[channel.samples.index(sample), part]
    return found
