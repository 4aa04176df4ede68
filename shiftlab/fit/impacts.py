"""How far each nuisance moves the signal strength: from the covariance, and by refitting."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.minimise import Minimum, minimise
from shiftlab.fit.model import FitModel
from shiftlab.templates import Templates

__all__ = ["impacts"]

Floats = npt.NDArray[np.float64]


def impacts(
    model: FitModel, templates: Templates, minimum: Minimum, covariance: Floats, refits: int | None
) -> pd.DataFrame:
    """Return the impacts on ``mu`` at a minimum of Asimov data, largest first.

    With C the covariance and unit-Gaussian constraints, fixing nuisance k one post-fit sigma away moves
    mu by C_mk / sqrt(C_kk) in the Gaussian limit (Xia, arXiv:1805.03961). Refits show how far from that
    limit the likelihood is; a same-side variation has no linear effect at 0, only refits see it.

    Args:
        model: the likelihood.
        templates: what it was made from.
        minimum: its fit to Asimov data.
        covariance: (parameter, parameter) of that fit.
        refits: how many nuisances, largest closed form first, to refit; None for all.

    Returns:
        Columns: see ``FitResult.impacts``.

    Raises:
        FitError: a refit does not converge.
    """
    poi = model.poi
    limits = templates.constraints().set_index("nuisance")
    rows = []
    for k in model.nuisances:
        sigma, shared = float(np.sqrt(covariance[k, k])), float(covariance[poi, k])
        row = limits.loc[model.names[k]]
        rows.append((k, model.names[k], shared / sigma, shared / sigma**2, shared, row.mc_limited, row.fake_sigma))
    columns = ["index", "nuisance", "closed_form", "prefit", "component", "mc_limited", "fake_sigma"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values("closed_form", key=np.abs, ascending=False, ignore_index=True)
    table.insert(5, "up", np.nan)
    table.insert(6, "down", np.nan)
    for place in range(len(table) if refits is None else min(refits, len(table))):
        k = int(table["index"].iloc[place])
        for column, sign in (("up", 1.0), ("down", -1.0)):
            table.loc[place, column] = _refit(model, templates, minimum, covariance, k, sign)
    table.insert(2, "impact", table[["closed_form", "up", "down"]].abs().max(axis=1))
    return table.drop(columns="index").sort_values("impact", ascending=False, kind="stable", ignore_index=True)


def _refit(model: FitModel, templates: Templates, minimum: Minimum, covariance: Floats, k: int, sign: float) -> float:
    """Return the change of mu with nuisance k fixed at its best fit plus ``sign`` post-fit sigma."""
    shift = sign * covariance[:, k] / np.sqrt(covariance[k, k])
    start = minimum.values + shift
    fitted = minimise(
        model,
        templates.observations["asimov"].counts,
        start=start,
        steps=0.1 * np.sqrt(np.diag(covariance)),
        fixed={k: float(start[k])},
        what=f"asimov with {model.names[k]} fixed",
    )
    return float(fitted.values[model.poi] - minimum.values[model.poi])
