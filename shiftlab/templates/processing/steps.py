"""The processing of one variation besides its sides: tested, smoothed, freed of its yield, divided among nuisances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from shiftlab.templates.processing.closure import closure
from shiftlab.templates.processing.correlate import rotate, rotation
from shiftlab.templates.processing.pairs import Pair, Sketch, block_split, blocks, channel_numbers
from shiftlab.templates.processing.record import Entry
from shiftlab.templates.processing.settings import ProcessingSettings
from shiftlab.templates.processing.significance import Significance, significance
from shiftlab.templates.processing.smooth import smooth
from shiftlab.templates.processing.split import extrapolate, shape_only
from shiftlab.templates.processing.symmetrise import Sides

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["CLOSES", "Tests", "closures", "correlated", "smoothed", "tested", "without_yield"]

CLOSES: Final = 0.01
"""Probability of a closure's chi2 below which it fails (a choice)."""

Tests = Mapping[tuple[str, str], Significance]
"""By channel and sample."""


def closures(t: Templates) -> list[Entry]:
    """Compare what the templates of one sigma predict with every universe beyond, in each channel and sample."""
    entries = []
    for far in t.evaluated:
        k = t.nuisances.index(far.nuisance)
        for block in blocks(t):
            nominal, up, down = (x[block.s, block.part] for x in (t.nominal, t.up[k], t.down[k]))
            predicted = extrapolate(nominal, up, down, far.strength, split=block_split(t, k, block))
            counts, covariance = far.counts[block.s, block.part], far.covariance[block.channel][block.s]
            found = closure(nominal, predicted, counts, covariance)
            said = "closes" if found.p_value >= CLOSES else "does not close"
            numbers = {"strength": far.strength, **asdict(found)}
            entries.append(Entry("closure", said, far.nuisance, block.channel, block.sample, numbers=numbers))
    return entries


def tested(t: Templates, pair: Pair, p_value: float) -> tuple[Tests, list[Entry]]:
    """Test the variation in every channel and sample."""
    found: dict[tuple[str, str], Significance] = {}
    entries: list[Entry] = []
    for block in blocks(t):
        one = found[block.channel, block.sample] = significance(*block.take(t, pair))
        moved = one.ndf > 0 or one.chi2 > 0.0
        said = "nothing moved" if not moved else "significant" if one.p_value <= p_value else "consistent with zero"
        entries.append(Entry("significance", said, pair.name, block.channel, block.sample, numbers=one.numbers()))
    return found, entries


def smoothed(t: Templates, pair: Pair, tests: Tests, settings: ProcessingSettings) -> tuple[Pair, list[Entry]]:
    """Smooth both sides wherever the variation is significant; a template stays at zero or above."""
    sketch, entries = Sketch(pair), []
    for block in blocks(t):
        nominal, up, down, covariance = block.take(t, pair)
        if np.array_equal(up, nominal) and np.array_equal(down, nominal):
            continue
        test = tests[block.channel, block.sample]
        found = [
            smooth(nominal, side - nominal, covariance[p, :, p], test, settings.significance, settings.smooth)
            for p, side in enumerate((up, down))
        ]
        linear = [np.eye(len(nominal)) if one.matrix is None else one.matrix for one in found]
        both = np.stack(linear)
        moved = np.einsum("pbqy,qcy->pbqc", np.einsum("pbx,pxqy->pbqy", both, covariance), both)
        wanted = nominal + np.stack([one.delta for one in found])
        kept = np.maximum(wanted, 0.0)
        sketch.put(block, Sides(kept[0], kept[1], moved))
        for side, one in zip(("up", "down"), found, strict=True):
            where = (pair.name, block.channel, block.sample)
            entries.append(Entry("smooth", f"{side}: {one.done}", *where, numbers=one.numbers))
    return sketch.pair(), entries


def without_yield(t: Templates, pair: Pair, scope: str) -> tuple[Pair, list[Entry]]:
    """Drop the change of the yield of a shape-only variation, in the scope; the covariance stays that of the shift."""
    channel = channel_numbers(t)
    sides, ratios = shape_only(t.nominal, np.stack([pair.up, pair.down]), scope, channel)
    entries = [
        Entry(
            "shape_only",
            f"yield dropped, scope {scope}",
            pair.name,
            block.channel,
            block.sample,
            numbers={
                "norm_up": float(ratios[0, block.s, t.channels.index(block.channel)]),
                "norm_down": float(ratios[1, block.s, t.channels.index(block.channel)]),
            },
        )
        for block in blocks(t)
    ]
    return replace(pair, up=sides[0], down=sides[1]), entries


def correlated(t: Templates, pair: Pair, settings: ProcessingSettings) -> tuple[list[Pair], list[Entry]]:
    """Divide a nuisance among independent ones by its scheme; without one it is shared and stays.

    Raises:
        ConfigError: a correlation that does not exist, or groups that do not cover the channels (samples).
        UnknownNameError: a group holds what does not exist.
    """
    how = settings.correlate.get(pair.origin, settings.correlate.get(pair.nuisance))
    if how is None or how.scheme == "shared":
        return [pair], []
    turned = rotation(how, t.channels, t.samples)
    names = t.channels if turned.over == "channel" else t.samples
    sketches = [Sketch(pair, t.nominal) for _ in turned.suffixes]
    for block in blocks(t):
        nominal, up, down, covariance = block.take(t, pair)
        row = turned.loadings[names.index(block.channel if turned.over == "channel" else block.sample)]
        above, below = rotate(nominal, up, down, row)
        for z, sketch in enumerate(sketches):
            sides = covariance if row[z] >= 0.0 else covariance[::-1, :, ::-1]
            sketch.put(block, Sides(above[z], below[z], row[z] ** 2 * sides))
    truth = np.linalg.pinv(turned.loadings).sum(axis=1)
    found = []
    for z, (suffix, sketch) in enumerate(zip(turned.suffixes, sketches, strict=True)):
        loadings = dict(zip(names, turned.loadings[:, z].tolist(), strict=True))
        says = {**pair.says, "correlation": how.scheme, "correlated_over": turned.over, "loadings": loadings}
        loading = pair.loading * float(truth[z])
        found.append(replace(sketch.pair(), name=f"{pair.name}{suffix}", loading=loading, says=says))
    numbers = {"rho": how.rho} if how.scheme == "partial" else {}
    done = f"{how.scheme}: {len(found)} nuisances"
    return found, [Entry("correlate", done, pair.name, numbers=numbers)]
