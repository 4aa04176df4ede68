"""Rules on per-bin uncertainties: Monte Carlo statistics (staterror), shapesys, and constraints that noise fakes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shiftlab.templates.findings import FEW_EVENTS
from shiftlab.templates.lint.rule import Fault, Rule
from shiftlab.templates.lint.values import bins_of
from shiftlab.templates.lint.view import Modifier, Sample, View

__all__ = ["RULES"]

Floats = npt.NDArray[np.float64]


def _sums(parts: list[tuple[Sample, Modifier]]) -> tuple[Floats, Floats]:
    """Return the (bin,) nominal and variance of the samples that share a staterror."""
    nominal = np.sum([sample.nominal for sample, _ in parts], axis=0)
    return nominal, np.sum([modifier.up**2 for _, modifier in parts], axis=0)


def _negative_error(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for modifier in sample.modifiers:
            if modifier.kind in ("shapesys", "staterror") and (modifier.up < 0.0).any():
                bins = bins_of(modifier.up < 0.0)
                yield Fault(f"{modifier.kind} below zero.", sample.channel, sample.name, modifier.name, bins)


def _lost_error(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for name, parts in channel.named("staterror").items():
            nominal, variance = _sums(parts)
            lost = (nominal <= 0.0) & (variance > 0.0)
            if lost.any():
                message = f"the samples with this staterror expect {nominal[lost].min():.3g} events."
                yield Fault(message, channel.name, nuisance=name, bins=bins_of(lost))


def _lost_shapesys(view: View) -> Iterator[Fault]:
    for sample in view.samples:
        for modifier in sample.of("shapesys"):
            lost = (sample.nominal <= 0.0) & (modifier.up > 0.0)
            if lost.any():
                message = "an uncertainty on a bin without events."
                yield Fault(message, sample.channel, sample.name, modifier.name, bins_of(lost))


def _no_error(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for name, parts in channel.named("staterror").items():
            nominal, variance = _sums(parts)
            bins = bins_of((nominal > 0.0) & (variance == 0.0))
            if bins:
                yield Fault("staterror of zero on expected events.", channel.name, nuisance=name, bins=bins)
    for sample in view.samples:
        for modifier in sample.of("shapesys"):
            bins = bins_of((sample.nominal > 0.0) & (modifier.up == 0.0))
            if bins:
                message = "shapesys of zero on expected events."
                yield Fault(message, sample.channel, sample.name, modifier.name, bins)


def _few_events(view: View) -> Iterator[Fault]:
    for channel in view.channels:
        for name, parts in channel.named("staterror").items():
            nominal, variance = _sums(parts)
            effective = np.divide(nominal**2, variance, out=np.full_like(nominal, np.inf), where=variance > 0.0)
            few = (effective < FEW_EVENTS) & (nominal > 0.0)
            if few.any():
                message = f"down to {effective[few].min():.2g} effective Monte Carlo events."
                yield Fault(message, channel.name, nuisance=name, bins=bins_of(few))


def _shared(view: View) -> Iterator[Fault]:
    """Yield names of staterror that several channels use, where each sample has the same pattern of them."""
    for name, pattern in _patterns(view).items():
        channels = sorted({channel for one in pattern.values() for channel in one})
        if len(channels) > 1 and len(set(pattern.values())) == 1:
            message = f"one staterror in the channels {', '.join(channels)}; its bins stay independent."
            yield Fault(message, nuisance=name)


def _uneven(view: View) -> Iterator[Fault]:
    for name, pattern in _patterns(view).items():
        if len(set(pattern.values())) > 1:
            message = f"one staterror in other channels for sample {' than for '.join(sorted(pattern)[:2])}."
            yield Fault(message, nuisance=name)


def _patterns(view: View) -> dict[str, dict[str, frozenset[str]]]:
    """Return channels by staterror and sample."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for sample in view.samples:
        for name in {name for name, kind in sample.listed if kind == "staterror"}:
            one = found.setdefault(name, {})
            one[sample.name] = one.get(sample.name, frozenset()) | {sample.channel}
    return found


def _fake_constraint(view: View) -> Iterator[Fault]:
    for name, limit in view.sidecar.limits.items():
        if limit["information"] < limit["fake_information"]:
            message = (
                f"information {limit['information']:.3g}; noise alone gives {limit['fake_information']:.3g}, "
                f"which would narrow it to {limit['fake_sigma']:.2f} of its prior."
            )
            yield Fault(message, nuisance=name)


RULES = (
    Rule(
        "negative_error",
        "error",
        "staterror or shapesys below zero",
        "staterror: the sign is dropped; shapesys: the parameter is frozen",
        _negative_error,
    ),
    Rule(
        "lost_error",
        "warning",
        "a staterror on a bin whose samples expect zero events or fewer",
        "the parameter is frozen and the error dropped, in silence",
        _lost_error,
    ),
    Rule("lost_shapesys", "warning", "a shapesys on a bin without events", "the same", _lost_shapesys),
    Rule(
        "no_error",
        "warning",
        "a staterror or shapesys of zero on a bin with events",
        "the parameter is frozen; the bin counts as known exactly",
        _no_error,
    ),
    Rule(
        "few_events",
        "warning",
        f"fewer than {FEW_EVENTS:g} effective Monte Carlo events in a bin with staterror",
        "the Gaussian constraint is doubtful (Combine's autoMCStats goes over to Poisson there)",
        _few_events,
    ),
    Rule(
        "staterror_reuse",
        "warning",
        "one staterror name in several channels",
        "accepted, with parameters of their own per channel; other tools may share them",
        _shared,
    ),
    Rule(
        "staterror_uneven",
        "error",
        "one staterror name in several channels, not in the same ones for each of its samples",
        "an AssertionError without a message",
        _uneven,
    ),
    Rule(
        "fake_constraint",
        "warning",
        "the sidecar says that a nuisance's templates show less than Monte Carlo noise does",
        "a fit would learn noise; nothing is to be concluded from its pull or constraint",
        _fake_constraint,
    ),
)
