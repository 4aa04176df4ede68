"""Rules on what is expected: empty samples, bins without background, small signals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.values import bins_of
from shiftlab.templates.lint.view import View

__all__ = ["RULES", "SMALL"]

SMALL = 1e-3
"""Share of a channel's signal: the default of Combine's ``ValidateDatacards.py --reportSigUnder``."""


def _empty_sample(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        if not sample.nominal.any():
            yield Fault("no event is expected in any bin.", sample.channel, sample.name)


def _impossible(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        if channel.observed is not None:
            bins = bins_of((channel.total == 0.0) & (channel.observed > 0.0))
            if bins:
                yield Fault("events are observed where none is expected.", channel.name, bins=bins)


def _empty_bin(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        seen = np.zeros(channel.bins, dtype=bool) if channel.observed is None else channel.observed > 0.0
        bins = bins_of((channel.total == 0.0) & ~seen)
        if bins:
            yield Fault("no sample expects an event.", channel.name, bins=bins)


def _no_background(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        signal = [sample.nominal for sample in channel.samples if view.is_signal(sample)]
        if signal:
            scaled = np.sum(signal, axis=0)
            bins = bins_of((scaled > 0.0) & (channel.total - scaled <= 1e-12 * scaled))
            if bins:
                yield Fault("signal is expected, but no background.", channel.name, bins=bins)


def _small_signal(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        yields = {sample.name: float(sample.nominal.sum()) for sample in channel.samples if view.is_signal(sample)}
        total = sum(yields.values())
        for name, events in yields.items():
            if 0.0 < events < SMALL * total:
                message = f"{events:.3g} of the channel's {total:.3g} signal events."
                yield Fault(message, channel.name, name)


RULES = (
    Rule("empty_sample", "warning", "a sample without events in a channel", "only costs time", _empty_sample),
    Rule(
        "impossible_data", "error", "events observed in a bin where none is expected", "log L is -infinity", _impossible
    ),
    Rule(
        "empty_bin",
        "warning",
        "a bin where no sample expects events and none is observed",
        "the bin says nothing; what it should expect is unknown",
        _empty_bin,
    ),
    Rule(
        "no_background",
        "warning",
        "a bin with signal and without background",
        "log L is -infinity at no signal when an event is observed there",
        _no_background,
    ),
    Rule(
        "small_signal",
        "warning",
        f"a signal sample of less than {SMALL:.1%} of the signal in its channel",
        "only costs time",
        _small_signal,
    ),
)
