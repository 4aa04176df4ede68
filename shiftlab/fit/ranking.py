"""The nuisances by how far each moves the signal strength: from the covariance, and by refitting."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shiftlab.fit.likelihood import Fitted
from shiftlab.fit.likelihood.impacts import impacts, refit_impacts
from shiftlab.templates import Templates

__all__ = ["ranking"]


def ranking(fitted: Fitted, templates: Templates, refits: int | None) -> pd.DataFrame:
    """Return the impacts of the nuisances on ``mu`` at a minimum of Asimov data, largest first.

    A same-side variation has no linear effect at 0, only refits see it: such nuisances are refitted first,
    then the others, largest closed form first.

    Args:
        fitted: the fit to Asimov data.
        templates: what it was made from.
        refits: how many nuisances to refit; None for all.

    Returns:
        Columns: see ``FitResult.impacts``.
    """
    closed = impacts(fitted).table()
    table = closed[closed["name"].isin(templates.nuisances)].rename(
        columns={"name": "nuisance", "postfit": "closed_form"}
    )
    table = table.sort_values("one_sided", ascending=False, kind="stable", ignore_index=True)
    chosen = list(table["nuisance"] if refits is None else table["nuisance"][:refits])
    sides = refit_impacts(fitted, chosen).set_index("name") if chosen else pd.DataFrame(columns=["up", "down"])
    limits = templates.constraints().set_index("nuisance")
    for side in ("up", "down"):
        table[side] = table["nuisance"].map(sides[side]).astype(np.float64)
    for column in ("mc_limited", "fake_sigma"):
        table[column] = table["nuisance"].map(limits[column])
    table["impact"] = table[["closed_form", "up", "down"]].abs().max(axis=1)
    columns = ["nuisance", "impact", "closed_form", "prefit", "component", "up", "down", "mc_limited", "fake_sigma"]
    return table[columns].sort_values("impact", ascending=False, kind="stable", ignore_index=True)
