"""Rules on single numbers: finite, positive, and rates that stay positive when a nuisance moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.view import Channel, Modifier, View

__all__ = ["RULES", "bins_of"]

ROUNDING = 1e-9
"""Rates below zero by less than this share of the nominal are rounding: templates are sums of weights."""


def bins_of(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the positions where ``mask`` (bin,) is true."""
    return tuple(np.flatnonzero(mask).tolist())


def _named(modifier: Modifier) -> tuple[tuple[str, npt.NDArray[np.float64]], ...]:
    if modifier.kind in ("histosys", "normsys"):
        return (("+1 sigma", modifier.up), ("-1 sigma", modifier.down))
    return ((modifier.kind, modifier.up),)


def _not_finite(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        if channel.observed is not None and not np.isfinite(channel.observed).all():
            yield Fault("the observation is not finite.", channel.name, bins=bins_of(~np.isfinite(channel.observed)))
    for sample in view.samples:
        if not np.isfinite(sample.nominal).all():
            bins = bins_of(~np.isfinite(sample.nominal))
            yield Fault("the nominal is not finite.", sample.channel, sample.name, bins=bins)
        for modifier in sample.modifiers:
            for side, values in _named(modifier):
                if not np.isfinite(values).all():
                    bins = () if modifier.kind == "normsys" else bins_of(~np.isfinite(values))
                    message = f"{modifier.kind} at {side} is not finite." if side != modifier.kind else "not finite."
                    yield Fault(message, sample.channel, sample.name, modifier.name, bins)


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


def _negative_template(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for modifier in sample.of("histosys"):
            for side, values in _named(modifier):
                below = values < -ROUNDING * np.abs(sample.nominal)
                if below.any():
                    message = f"the template at {side} goes down to {values[below].min():.4g}."
                    yield Fault(message, sample.channel, sample.name, modifier.name, bins_of(below))


def _negative_total(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        below = channel.total < 0.0
        if below.any():
            message = f"all samples together expect {channel.total[below].min():.4g} events."
            yield Fault(message, channel.name, bins=bins_of(below))


def _below_zero(channel: Channel, strength: float) -> Iterator[Fault]:
    totals = channel.total_at(strength)
    below = totals < -ROUNDING * np.abs(channel.total)
    below &= channel.total >= 0.0  # else it is no doing of the nuisance
    for k in np.flatnonzero(below.any(axis=1)):
        lowest = totals[k][below[k]].min()
        message = f"all samples together expect {lowest:.4g} events at {strength:+g} sigma."
        yield Fault(message, channel.name, nuisance=channel.nuisances[k], bins=bins_of(below[k]))


def _negative_at_one(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for strength in (-1.0, 1.0):
            yield from _below_zero(channel, strength)


def _negative_at_three(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for strength in (-3.0, 3.0):
            near = {(fault.nuisance, fault.bins) for fault in _below_zero(channel, strength / 3.0)}
            yield from (one for one in _below_zero(channel, strength) if (one.nuisance, one.bins) not in near)


RULES = (
    Rule("not_finite", "error", "NaN or infinity anywhere in the templates or the data", "log L is NaN", _not_finite),
    Rule("factor_not_positive", "error", "normsys with hi or lo <= 0", "log L is NaN everywhere", _factor_not_positive),
    Rule(
        "negative_nominal",
        "error",
        "a sample's nominal below zero in a bin",
        "accepted; the bin's staterror is lost, and NaN follows where the total is negative",
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
