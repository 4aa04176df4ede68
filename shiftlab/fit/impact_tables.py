"""Impacts of the nuisances on the parameter of interest, refitted, with one-sided ones followed along their profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shiftlab.fit.errors import FitError
from shiftlab.fit.likelihood.fitting import Fitted
from shiftlab.fit.likelihood.impacts import impacts, refit_impacts, target_of
from shiftlab.fit.likelihood.scan import interval, profile

__all__ = ["impact_table"]

_COLUMNS = ["name", "kind", "impact", "up", "down", "postfit", "prefit", "component", "one_sided", "how", "status"]


def impact_table(
    fitted: Fitted, *, poi: str | None = None, refits: int | None = None, size: str = "postfit"
) -> pd.DataFrame:
    """Return the traditional impacts, largest first.

    A nuisance is fixed one sigma up and down of its best fit and everything else is fitted again. A one-sided one
    has no slope to speak of, so neither has its closed form; its sigma is where the profile likelihood rises by
    1, and mu is read off the fits there.

    Args:
        fitted: a fit.
        poi: the parameter whose change is wanted; the parameter of interest if None.
        refits: how many are refitted, largest closed form first (one-sided ones always are); None for all.
        size: ``postfit`` or ``prefit`` sigma.

    Returns:
        Columns name; kind; impact = larger size of up and down, of the closed form where not refitted; up and down,
        change of the parameter of interest, NaN where not refitted or failed; postfit, prefit and component, the
        closed forms of ``Impacts``; one_sided; how (``refit``, ``profile`` or ``closed form``); status
        (``converged``, ``at bound`` or ``failed``; empty for a closed form).

    Raises:
        FitError: the covariance does not exist.
        ConfigError: there is no parameter of interest, or ``size`` is neither.
    """
    table = impacts(fitted, poi).table()
    kinds = dict(zip(fitted.model.parameters.names, fitted.model.parameters.kinds, strict=True))
    table["kind"] = table["name"].map(kinds)
    table["how"], table["status"] = "closed form", ""
    table["up"], table["down"] = np.nan, np.nan
    bent = set(table["name"][table["one_sided"]]) if size == "postfit" else set()
    ranked = list(table["name"])
    chosen = ranked if refits is None else [*ranked[:refits], *table["name"][table["one_sided"]]]
    names = [name for name in dict.fromkeys(chosen) if name not in bent]
    parts = [refit_impacts(fitted, names, poi=poi, size=size).assign(how="refit")] if names else []
    if bent:
        parts.append(_along(fitted, [name for name in ranked if name in bent], poi))
    if parts:
        found = pd.concat(parts, ignore_index=True).set_index("name")
        table = table.set_index("name")
        for column in ("up", "down", "status", "how"):
            table.loc[found.index, column] = found[column]
        table = table.reset_index()
    closed = table["postfit"] if size == "postfit" else table["prefit"]
    table["impact"] = table[["up", "down"]].abs().max(axis=1).fillna(closed.abs())
    return table[_COLUMNS].sort_values("impact", ascending=False, kind="stable", ignore_index=True)


def _along(fitted: Fitted, names: Sequence[str], poi: str | None) -> pd.DataFrame:
    """Return the change of the parameter of interest at both ends of each nuisance's profile interval."""
    target = target_of(fitted.model, poi)
    rows = []
    for name in names:
        try:
            ends = interval(fitted, name)
        except FitError:
            rows.append((name, np.nan, np.nan, "failed", "profile"))
            continue
        found = profile(fitted, name, [ends.upper, ends.lower])
        up, down = np.where(found.good, found.parameters[:, target] - fitted.parameters[target], np.nan)
        status = "failed" if not found.good.all() else "at bound" if "at bound" in found.status else "converged"
        rows.append((name, float(up), float(down), status, "profile"))
    return pd.DataFrame(rows, columns=["name", "up", "down", "status", "how"])
