"""Rules on variations: dead, same-side, empty, large, without shape; most are in Combine's ValidateDatacards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.values import bins_of
from shiftlab.templates.lint.view import Sample, View

__all__ = ["LARGE", "NEGLIGIBLE", "NO_SHAPE", "RULES"]

LARGE = 0.1
"""Yield effect that is reported: the default of Combine's ``ValidateDatacards.py --checkUncertOver``."""

NO_SHAPE = 1e-3
"""Sum over bins of 2 |a - b| / (|a| + |b|) below which a shape is none (Combine, the same tool)."""

NEGLIGIBLE = 1e-3
"""Share of a bin, or of a yield, below which a shift has no side: a tenth of a per cent, as ``NO_SHAPE``."""

Floats = npt.NDArray[np.float64]


def _yields(sample: Sample) -> tuple[Floats, Floats]:
    """Return the relative change of the yield (nuisance,) at +1 and at -1 sigma; NaN where the sample is empty."""
    total = float(sample.nominal.sum())
    if not total > 0.0:
        return np.full(len(sample.nuisances), np.nan), np.full(len(sample.nuisances), np.nan)
    return sample.up.sum(axis=1) / total - 1.0, sample.down.sum(axis=1) / total - 1.0


def _alive(view: View) -> frozenset[str]:
    return frozenset(n for s in view.samples for n, dead in zip(s.nuisances, s.dead.tolist(), strict=True) if not dead)


def _dead_nuisance(view: View) -> Iterator[Fault]:
    alive = _alive(view)
    for name in dict.fromkeys(name for sample in view.samples for name in sample.nuisances):
        if name not in alive:
            yield Fault("up, down and nominal are identical wherever it acts.", nuisance=name)


def _dead_modifier(view: View) -> Iterator[Fault]:
    alive = _alive(view)
    for sample in view.samples:
        for k in np.flatnonzero(sample.dead):
            if sample.nuisances[k] in alive:
                message = "up, down and nominal are identical here, though not elsewhere."
                yield Fault(message, sample.channel, sample.name, sample.nuisances[k])


def _identical(sample: Sample) -> npt.NDArray[np.bool_]:
    """Bool (nuisance,): up and down agree, and differ from the nominal."""
    same = (np.abs(sample.up - sample.down) <= 1e-12 * np.abs(sample.nominal)).all(axis=1)
    return np.asarray(same & ~sample.dead)


def _identical_sides(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for k in np.flatnonzero(_identical(sample)):
            if sample.nuisances[k] not in view.sidecar.even:
                yield Fault("up and down are identical.", sample.channel, sample.name, sample.nuisances[k])


def _same_yield(sample: Sample) -> npt.NDArray[np.bool_]:
    up, down = _yields(sample)
    return np.asarray((up * down > 0.0) & (np.minimum(np.abs(up), np.abs(down)) > NEGLIGIBLE))


def _same_side(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        up, down = _yields(sample)
        for k in np.flatnonzero(_same_yield(sample) & ~_identical(sample)):
            if sample.nuisances[k] not in view.sidecar.even:
                message = f"the yield moves by {up[k]:+.2%} at +1 sigma and by {down[k]:+.2%} at -1 sigma."
                yield Fault(message, sample.channel, sample.name, sample.nuisances[k])


def _same_side_bins(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        up, down = sample.up - sample.nominal, sample.down - sample.nominal
        size = np.minimum(np.abs(up), np.abs(down))
        clear = (up * down > 0.0) & (size > NEGLIGIBLE * np.abs(sample.nominal)) & (sample.nominal > 0.0)
        clear &= ~(_same_yield(sample) | _identical(sample))[:, None]
        for k in np.flatnonzero(clear.any(axis=1)):
            if sample.nuisances[k] in view.sidecar.even:
                continue
            b = int(np.argmax(np.where(clear[k], size[k] / sample.nominal, -1.0)))
            sides = f"{up[k, b] / sample.nominal[b]:+.2%} and {down[k, b] / sample.nominal[b]:+.2%}"
            message = f"both sides move the same way, most in bin {b}: {sides}."
            yield Fault(message, sample.channel, sample.name, sample.nuisances[k], bins_of(clear[k]))


def _empty_side(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        if not sample.nominal.sum() > 0.0:
            continue
        for side, template in (("+1", sample.up), ("-1", sample.down)):
            for k in np.flatnonzero(template.sum(axis=1) <= 0.0):
                message = f"the template at {side} sigma is empty, the nominal is not."
                yield Fault(message, sample.channel, sample.name, sample.nuisances[k])


def _large_yield(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        up, down = _yields(sample)
        for k in np.flatnonzero(np.fmax(np.abs(up), np.abs(down)) > LARGE + 1e-12):  # 1.1 - 1 is more than 0.1
            message = f"the yield moves by {up[k]:+.1%} at +1 sigma and by {down[k]:+.1%} at -1 sigma."
            yield Fault(message, sample.channel, sample.name, sample.nuisances[k])


def _shape_difference(shape: Floats, nominal: Floats) -> Floats:
    """Return Combine's sum over bins of 2 |a - b| / (|a| + |b|) of normalised (…, bin) templates."""
    a, b = shape / shape.sum(axis=-1, keepdims=True), nominal / nominal.sum()
    size = np.abs(a) + np.abs(b)
    return np.asarray(np.divide(2.0 * np.abs(a - b), size, out=np.zeros_like(size), where=size > 0.0).sum(axis=-1))


def _no_shape(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        names, templates = sample.shapes
        if len(sample.nominal) == 1 or not names or not sample.nominal.sum() > 0.0:
            continue
        up, down = _shape_difference(templates, sample.nominal)
        dead = dict(zip(sample.nuisances, sample.dead.tolist(), strict=True))
        for k in np.flatnonzero(np.maximum(up, down) < NO_SHAPE):
            if not dead[names[k]]:
                message = f"the histosys has no shape (differences {up[k]:.1e} and {down[k]:.1e}); a normsys would do."
                yield Fault(message, sample.channel, sample.name, names[k])


RULES = (
    Rule(
        "dead_nuisance",
        "warning",
        "a normsys or histosys whose sides equal the nominal wherever it acts",
        "a parameter that changes nothing; often a variation that was not filled",
        _dead_nuisance,
    ),
    Rule("dead_modifier", "warning", "the same, on some samples only", "nothing changes here", _dead_modifier),
    Rule(
        "identical_sides",
        "warning",
        "up and down agree and differ from the nominal; not for a declared even part",
        "the two signs of the nuisance cannot be told apart; the slope at 0 is zero",
        _identical_sides,
    ),
    Rule(
        "same_side",
        "warning",
        f"both sides move the yield the same way, by more than {NEGLIGIBLE:.1%}; not for a declared even part",
        "results depend on the interpolation code, which the file does not hold",
        _same_side,
    ),
    Rule(
        "same_side_bins",
        "warning",
        f"the same in single bins, by more than {NEGLIGIBLE:.1%} of the bin, where the yield's sides are opposite",
        "as above, often Monte Carlo noise of the variation",
        _same_side_bins,
    ),
    Rule("empty_side", "warning", "up or down is empty, the nominal is not", "a sample that disappears", _empty_side),
    Rule(
        "large_yield",
        "warning",
        f"one sigma changes a yield by more than {LARGE:.0%}",
        "mirrored or linear extrapolation soon reaches zero",
        _large_yield,
    ),
    Rule(
        "no_shape",
        "warning",
        f"a histosys of several bins whose normalised sides differ from the nominal by less than {NO_SHAPE:g} in all",
        "slower than a normsys and, unlike it, not kept positive",
        _no_shape,
    ),
)
