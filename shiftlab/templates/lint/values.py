"""Rules on single numbers: finite, positive, and rates that stay positive when a nuisance moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite

import numpy as np
import numpy.typing as npt

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.view import Channel, Sample, View

__all__ = ["RULES", "bins_of"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ROUNDING = 1e-9
"""Rates below zero by less than this share of the nominal are rounding: templates are sums of weights."""


def bins_of(mask: Bools) -> tuple[int, ...]:
    """Return the positions where ``mask`` (bin,) is true."""
    return tuple(np.flatnonzero(mask).tolist())


def _templates(sample: Sample, what: str, bad: Callable[[Floats], Bools]) -> Iterator[Fault]:
    """Yield the histosys templates of a sample that have a bad bin."""
    names, templates = sample.shapes
    flags = bad(templates)
    if flags.any():
        for side, i in np.argwhere(flags.any(axis=2)):
            values = templates[side, i][flags[side, i]]
            message = f"the template at {'-' if side else '+'}1 sigma {what}: {values.min():.4g}."
            yield Fault(message, sample.channel, sample.name, names[i], bins_of(flags[side, i]))


def _not_a_number(values: Floats) -> Bools:
    return ~np.isfinite(values)


def _not_finite(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        if channel.observed is not None and not np.isfinite(channel.observed).all():
            yield Fault("the observation is not finite.", channel.name, bins=bins_of(~np.isfinite(channel.observed)))
    for sample in view.samples:
        if not np.isfinite(sample.nominal).all():
            bins = bins_of(~np.isfinite(sample.nominal))
            yield Fault("the nominal is not finite.", sample.channel, sample.name, bins=bins)
        yield from _templates(sample, "is not finite", _not_a_number)
        for one in sample.modifiers:
            if one.kind == "normsys" and not (isfinite(one.up[0]) and isfinite(one.down[0])):
                message = f"normsys hi = {one.up[0]:g}, lo = {one.down[0]:g}."
                yield Fault(message, sample.channel, sample.name, one.name)
            elif one.kind in ("shapesys", "staterror") and not np.isfinite(one.up).all():
                bins = bins_of(~np.isfinite(one.up))
                yield Fault(f"{one.kind} is not finite.", sample.channel, sample.name, one.name, bins)


def _factor_not_positive(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for modifier in sample.of("normsys"):
            for side, value in (("hi", float(modifier.up[0])), ("lo", float(modifier.down[0]))):
                if value <= 0.0:
                    yield Fault(f"normsys {side} = {value:.4g}.", sample.channel, sample.name, modifier.name)


def _negative_nominal(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        below = sample.nominal < 0.0
        if below.any():
            message = f"the nominal goes down to {sample.nominal[below].min():.4g}."
            yield Fault(message, sample.channel, sample.name, bins=bins_of(below))


def _under(least: Floats, values: Floats) -> Bools:
    return np.asarray(values < least)


def _negative_template(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        yield from _templates(sample, "is negative", partial(_under, -ROUNDING * np.abs(sample.nominal)))


def _negative_total(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        below = channel.total < 0.0
        if below.any():
            message = f"all samples together expect {channel.total[below].min():.4g} events."
            yield Fault(message, channel.name, bins=bins_of(below))


def _below_zero(channel: Channel, strength: float) -> Bools:
    """Bool (nuisance, bin): the total is negative, and is not so at nominal."""
    below = channel.total_at(strength) < -ROUNDING * np.abs(channel.total)
    return np.asarray(below & (channel.total >= 0.0))


def _name_below(channel: Channel, strength: float, below: Bools) -> Iterator[Fault]:
    for k in np.flatnonzero(below.any(axis=1)):
        lowest = channel.total_at(strength)[k][below[k]].min()
        message = f"all samples together expect {lowest:.4g} events at {strength:+g} sigma."
        yield Fault(message, channel.name, nuisance=channel.nuisances[k], bins=bins_of(below[k]))


def _negative_at_one(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for strength in (-1.0, 1.0):
            yield from _name_below(channel, strength, _below_zero(channel, strength))


def _negative_at_three(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for strength in (-3.0, 3.0):
            new = _below_zero(channel, strength) & ~_below_zero(channel, strength / 3.0)
            yield from _name_below(channel, strength, new)


RULES = (
    Rule("not_finite", "error", "NaN or infinity anywhere in the templates or the data", "log L is NaN", _not_finite),
    Rule("factor_not_positive", "error", "normsys with hi or lo <= 0", "log L is NaN everywhere", _factor_not_positive),
    Rule(
        "negative_nominal",
        "error",
        "a sample's nominal below zero in a bin",
        "accepted; NaN follows where the total is negative",
        _negative_nominal,
    ),
    Rule(
        "negative_total",
        "error",
        "the samples' sum below zero in a bin",
        "log L is NaN, or finite and far too high when no event is observed there",
        _negative_total,
    ),
    Rule(
        "negative_template",
        "error",
        "a histosys template below zero in a bin",
        "accepted; a negative number of events has no meaning",
        _negative_template,
    ),
    Rule(
        "negative_at_one",
        "error",
        "the total goes below zero when one nuisance is at +-1 sigma (codes 4 and 4p)",
        "log L is NaN within one sigma",
        _negative_at_one,
    ),
    Rule(
        "negative_at_three",
        "warning",
        "the same at +-3 sigma; histosys goes on linearly",
        "log L is NaN where a fit or a toy may go",
        _negative_at_three,
    ),
)
