"""Which channel pulls a nuisance, and which constrains it."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from shiftlab.fit.likelihood.fitting import Fitted
from shiftlab.fit.likelihood.objective import evaluate, gradient

__all__ = ["CONSTRAINED", "PULLED", "parameter_table"]

PULLED: Final = 1.0
"""Pull, in prior sigma, beyond which a nuisance is flagged."""

CONSTRAINED: Final = 0.7
"""Post-fit over prior sigma below which a nuisance is flagged."""


def parameter_table(fitted: Fitted) -> pd.DataFrame:
    """Return the parameters of a fit with what moved them.

    At the minimum the pull of a nuisance is the sum over bins of s dlambda/dtheta (n / lambda - 1), s its prior
    sigma: so a channel has a part of each pull, and the parts add up to it. What constrains it is the information
    sum over bins of (dlambda/dtheta)^2 w, all other nuisances held, w the inverse variance of the bin with its Monte
    Carlo error.

    Returns:
        The columns of ``Fitted.table`` and: flag (``pulled``, ``constrained``, both or empty), pull_channel (the
        channel with the largest part of the pull's sign) and pull_part (that part), constraint_channel (with the
        largest information) and constraint_share (its share). A gamma acts in one bin, whose channel stands there.
    """
    model, table = fitted.model, fitted.table()
    at = evaluate(model, fitted.data, fitted.parameters[None], fitted.held[None])
    slope = gradient(model, fitted.data, at)[0][0]
    rate, counts = at.rate[0], fitted.data.counts[0]
    excess = np.divide(counts - rate, rate, out=np.zeros_like(rate), where=rate > 0.0)
    weight = 1.0 / (np.maximum(rate, 1e-300) + at.scaled[0] ** 2 / at.gammas.stiffness[0])
    starts = [part.start for part in model.slices.values()]
    channels = np.array(list(model.slices), dtype=object)
    pushes = np.add.reduceat(slope * excess, starts, axis=1)
    known = np.add.reduceat(slope**2 * weight, starts, axis=1)

    size = len(model.parameters)
    pull_channel, constraint_channel = np.full(size, "", dtype=object), np.full(size, "", dtype=object)
    part, share = np.full(size, np.nan), np.full(size, np.nan)
    pull = table["pull"].to_numpy(dtype=np.float64)
    width = model.parameters.prior
    for row, index in enumerate(model.outer):
        total = known[row].sum()
        if total > 0.0:
            first = int(known[row].argmax())
            constraint_channel[index], share[index] = channels[first], known[row, first] / total
        if np.isfinite(pull[index]) and pull[index] != 0.0:
            parts = width[index] * pushes[row]
            first = int((parts * np.sign(pull[index])).argmax())
            pull_channel[index], part[index] = channels[first], parts[first]
    owner = np.repeat(channels, [one.bins for one in model.channels])
    for b in model.gammas:
        index = model.gamma_index[b]
        pull_channel[index] = constraint_channel[index] = owner[b]
        part[index], share[index] = pull[index], 1.0

    free = (table["status"] != "fixed") & table["prefit"].notna()
    pulled = free & (table["pull"].abs() > PULLED)
    tight = free & (table["constraint"] < CONSTRAINED)
    words = np.select([pulled & tight, pulled, tight], ["pulled and constrained", "pulled", "constrained"], "")
    return table.assign(
        flag=words,
        pull_channel=pull_channel,
        pull_part=part,
        constraint_channel=constraint_channel,
        constraint_share=share,
    )
