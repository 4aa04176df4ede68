"""Templates as tables: one row per bin and variation, yields per sample; and nuisances split by channel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["decorrelate", "template_table", "yield_table"]


def template_table(t: Templates) -> pd.DataFrame:
    """Return every template with its paired error.

    Columns: channel, bin, lo, hi; sample (or ``total``); nuisance (``nominal`` for the nominal itself);
    nominal, nominal_error; up, up_error, down, down_error: expected events and the paired error of
    the difference to nominal; odd = (up - down) / 2, odd_error; same_side; mc_limited: the odd
    shift is smaller than its error.
    """
    bins = t.bins
    rows: list[pd.DataFrame] = []
    for s, sample in enumerate((*t.samples, "total")):
        pick = slice(s, s + 1) if s < len(t.samples) else slice(None)
        nominal, error = t.nominal[pick].sum(axis=0), np.sqrt(t.variance[pick].sum(axis=0))
        base = bins.assign(sample=sample, nuisance="nominal", nominal=nominal, nominal_error=error)
        flat = {"up_error": 0.0, "down_error": 0.0, "odd": 0.0, "odd_error": 0.0}
        rows.append(base.assign(up=nominal, down=nominal, **flat, same_side=False, mc_limited=False))
        for k, nuisance in enumerate(t.nuisances):
            up, down = t.up[k, pick].sum(axis=0), t.down[k, pick].sum(axis=0)
            errors = [np.sqrt(v[k, pick].sum(axis=0)) for v in (t.up_variance, t.down_variance, t.odd_variance)]
            same = (up - nominal) * (down - nominal) > 0
            clear = (np.abs(up - nominal) > errors[0]) & (np.abs(down - nominal) > errors[1])
            odd = 0.5 * (up - down)
            rows.append(
                base.assign(
                    nuisance=nuisance,
                    up=up,
                    down=down,
                    up_error=errors[0],
                    down_error=errors[1],
                    odd=odd,
                    odd_error=errors[2],
                    same_side=same & clear,
                    mc_limited=np.abs(odd) < errors[2],
                )
            )
    return pd.concat(rows, ignore_index=True)


def yield_table(t: Templates) -> pd.DataFrame:
    """Return yields.

    Columns: channel, sample, exposure_events (expected in the channel's share before the
    selection), selected, selected_error (Monte Carlo), efficiency, mc_events (simulated, selected).
    """
    given = t.record.get("exposure_events", {})
    rows = []
    for channel in t.channels:
        part = t.slice(channel)
        for s, sample in enumerate(t.samples):
            before = float(given.get(channel, {}).get(sample, np.nan))
            selected = float(t.nominal[s, part].sum())
            efficiency = selected / before if before > 0 else np.nan
            error = float(np.sqrt(t.variance[s, part].sum()))
            rows.append((channel, sample, before, selected, error, efficiency, int(t.events[s, part].sum())))
    columns = ["channel", "sample", "exposure_events", "selected", "selected_error", "efficiency", "mc_events"]
    return pd.DataFrame(rows, columns=columns)


def decorrelate(t: Templates) -> Templates:
    """Return templates whose nuisances act in one channel each.

    The nuisance axis becomes (nuisance, channel), nuisance first; outside its channel a variation
    equals the nominal and has no variance.
    """
    count, channels = len(t.nuisances), len(t.channels)
    inside = np.zeros((channels, t.nominal.shape[1]), dtype=np.bool_)
    for c, channel in enumerate(t.channels):
        inside[c, t.slice(channel)] = True
    mask = np.tile(inside, (count, 1))[:, None, :]
    source = np.repeat(np.arange(count), channels)
    names = tuple(f"{nuisance}__{channel}" for nuisance in t.nuisances for channel in t.channels)
    return replace(
        t,
        nuisances=names,
        up=np.where(mask, t.up[source], t.nominal),
        down=np.where(mask, t.down[source], t.nominal),
        covariance={
            channel: t.covariance[channel][source] * (np.arange(count * channels) % channels == c)[(...,) + (None,) * 5]
            for c, channel in enumerate(t.channels)
        },
        observations={name: replace(o, nuisances={}) for name, o in t.observations.items()},
        findings=(),
        record={**t.record, "decorrelated": "one independent nuisance per channel"},
    )
