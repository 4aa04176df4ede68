"""Rules on the observations: there, counts, and for channels that exist."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.values import bins_of
from shiftlab.templates.lint.view import Channel, View

__all__ = ["RULES"]

WHOLE = 1e-9
"""Distance from a whole number that is rounding."""


def _missing(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        if channel.name not in view.observations:
            yield Fault("no observation.", channel.name)


def _unknown(view: View) -> Iterator[Fault]:
    known = {channel.name for channel in view.channels}
    for name in dict.fromkeys(view.observations):
        if name not in known:
            yield Fault("an observation without samples: no nuisance acts on it.", name)


def _negative(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        if channel.observed is not None and (channel.observed < 0.0).any():
            message = f"{channel.observed.min():.4g} events are observed."
            yield Fault(message, channel.name, bins=bins_of(channel.observed < 0.0))


def _is_asimov(view: View, channel: Channel) -> bool:
    """Return whether the data are the nominal prediction, with or without its signal."""
    assert channel.observed is not None
    background = sum((s.nominal for s in channel.samples if not view.is_signal(s)), np.zeros(channel.bins))
    return any(np.allclose(channel.observed, each, rtol=1e-6, atol=0.0) for each in (channel.total, background))


def _declared(view: View) -> bool:
    """Return whether the sidecar has a spectrum of expectations that is these data."""
    if any(channel.observed is None for channel in view.channels) or not view.channels:
        return False
    data = np.concatenate([channel.observed for channel in view.channels if channel.observed is not None])
    return any(len(one) == len(data) and np.allclose(one, data, rtol=1e-9) for one in view.sidecar.expectations)


def _not_whole(view: View) -> Iterator[Fault]:
    if view.asimov or _declared(view):
        return
    for channel in view.channels:
        if channel.observed is None or not np.isfinite(channel.observed).all():
            continue
        off = np.abs(channel.observed - np.round(channel.observed)) > WHOLE * np.maximum(1.0, np.abs(channel.observed))
        if off.any() and not _is_asimov(view, channel):
            message = f"{channel.observed[off][0]:.6g} is no count, nor are the data the nominal expectation."
            yield Fault(message, channel.name, bins=bins_of(off))


RULES = (
    Rule("missing_observation", "error", "a channel without an observation", "a KeyError", _missing),
    Rule(
        "unknown_observation",
        "warning",
        "an observation of a channel that has no samples",
        "left out, in silence",
        _unknown,
    ),
    Rule("negative_observation", "error", "fewer than zero events observed", "log L is -infinity or NaN", _negative),
    Rule(
        "fractional_observation",
        "error",
        "observed data that are no whole numbers, unless they are the nominal expectation (with or without signal), a "
        "spectrum of the sidecar, or declared by `--asimov`",
        "accepted, with the gamma function for the factorial; weighted data are not Poisson distributed",
        _not_whole,
    ),
)
