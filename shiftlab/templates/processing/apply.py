"""The whole processing of a set of templates, in order, with its record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shiftlab.errors import UnknownNameError
from shiftlab.templates.processing.bins import FLOOR, floor_bins
from shiftlab.templates.processing.pairs import blocks, channel_numbers, repack, unpack
from shiftlab.templates.processing.prune import prune
from shiftlab.templates.processing.record import Entry
from shiftlab.templates.processing.settings import ProcessingSettings
from shiftlab.templates.processing.sides import symmetrised
from shiftlab.templates.processing.steps import closures, correlated, smoothed, tested, without_yield

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["floored", "process", "pruned"]


def process(t: Templates, settings: ProcessingSettings, *, floor: bool = False) -> Templates:
    """Return the templates after: closure, significance, bins, symmetrisation, smoothing, correlation, pruning.

    Variations are tested as simulated, and so is their closure; the split into norm and shape is made where the
    workspace is written (``pairs.block_split``), by the same settings. Each step's entries are in ``Templates.steps``.

    Args:
        t: templates as simulated.
        settings: what to do.
        floor: raise empty bins to ``bins.FLOOR``.

    Raises:
        UnknownNameError: a setting names a nuisance that does not exist.
        ConfigError: a correlation that does not exist.
        DataError: two nuisances would have one name.
    """
    known = dict.fromkeys(name for pair in unpack(t) for name in (pair.nuisance, pair.origin))
    for key in ("shape_only", "correlate"):
        for name in getattr(settings, key):
            if name not in known:
                raise UnknownNameError(f"nuisance (templates.processing.{key})", name, known)
    entries = _joined(t)
    entries += closures(t)
    raw = {pair.name: tested(t, pair, settings.significance) for pair in unpack(t)}
    entries += [entry for _, found in raw.values() for entry in found]
    if floor:
        t, found = floored(t)
        entries += found
    pairs = []
    for whole in unpack(t):
        parts, found = symmetrised(t, whole, settings)
        entries += found
        for part in parts:
            if settings.smooth != "none":
                part, found = smoothed(t, part, raw[part.origin][0], settings)
                entries += found
            if {part.origin, part.nuisance} & set(settings.shape_only):
                part, found = without_yield(t, part, settings.norm_scope)
                entries += found
            divided, found = correlated(t, part, settings)
            pairs += divided
            entries += found
    made = replace(repack(t, pairs), processing=settings, steps=(*t.steps, *entries))
    return pruned(made) if settings.prune == "information" and pairs else made


def _joined(t: Templates) -> list[Entry]:
    """Return the bins that were joined when the events were filled."""
    return [
        Entry("bins", "joined with a neighbour", channel=channel, numbers=dict(one))
        for channel, said in t.record.get("channels", {}).items()
        for one in said.get("merges", ())
    ]


def floored(t: Templates) -> tuple[Templates, list[Entry]]:
    """Return templates whose expectations are at least ``bins.FLOOR``, Asimov data with them."""
    found = floor_bins(t.nominal, t.up, t.down)
    entries = []
    for block in blocks(t):
        raised = np.flatnonzero(found.raised[block.s, block.part])
        if len(raised):
            added = float(found.added[block.s, block.part].sum())
            bins = tuple(int(b) for b in raised)
            numbers = {"floor": FLOOR, "added": added}
            entries.append(Entry("bins", "raised to the floor", "", block.channel, block.sample, bins, numbers))
    asimov = replace(t.observations["asimov"], counts=found.nominal.sum(axis=0))
    observations = {**t.observations, "asimov": asimov}
    made = replace(t, nominal=found.nominal, up=found.up, down=found.down, observations=observations)
    return made, entries


def pruned(t: Templates) -> Templates:
    """Return templates without the shifts that the fit would not notice (``prune.prune``); every one is recorded."""
    settings = t.processing
    found = prune(
        t.nominal,
        t.up,
        t.down,
        t.variance,
        t.samples.index(t.signal),
        channel_numbers(t),
        each=settings.prune_each,
        total=settings.prune_total,
    )
    up, down = t.up.copy(), t.down.copy()
    covariance = {channel: array.copy() for channel, array in t.covariance.items()}
    entries = []
    for block in blocks(t):
        c = t.channels.index(block.channel)
        for k in np.flatnonzero(found.dropped[:, c, block.s]):
            up[k, block.s, block.part] = down[k, block.s, block.part] = t.nominal[block.s, block.part]
            covariance[block.channel][k, block.s] = 0.0
            names = ("sigma_cost", "bias_cost", "cumulated")
            numbers = {name: float(getattr(found, name)[k, c, block.s]) for name in names}
            entries.append(Entry("prune", "dropped", t.nuisances[k], block.channel, block.sample, (), numbers))
    entries.sort(key=lambda entry: entry.numbers["cumulated"])
    numbers = {"dropped": float(found.dropped.sum()), "sigma": found.sigma, "sigma_after": found.sigma_after}
    entries.append(Entry("prune", "all that is dropped together", numbers=numbers))
    return replace(t, up=up, down=down, covariance=covariance, steps=(*t.steps, *entries))
