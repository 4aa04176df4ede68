"""What is wrong or thin in a set of templates: same-side, empty, negative and statistics-limited shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shiftlab.templates.processing.bins import positivity
from shiftlab.templates.processing.pairs import block_split, blocks

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["Finding", "inspect_templates"]

FEW_EVENTS = 10.0
"""Effective events below which a bin's Gaussian Monte Carlo uncertainty is doubtful (as Combine's
autoMCStats threshold of 10)."""


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of the templates must know.

    Attributes:
        severity: ``error`` (no workspace is written), ``warning`` or ``note``.
        code: kind of finding, say ``same_side``.
        message: one sentence with the numbers.
        channel: where, or empty.
        sample: where, or empty.
        nuisance: which variation, or empty.
        bins: which bins of the channel, from 0; empty where the finding is about all or none.
    """

    severity: Literal["error", "warning", "note"]
    code: str
    message: str
    channel: str = ""
    sample: str = ""
    nuisance: str = ""
    bins: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return asdict(self) | {"bins": list(self.bins)}


def inspect_templates(templates: Templates) -> tuple[Finding, ...]:
    """Return what pyhf would let through in silence, errors first."""
    found = [
        *_nominal(templates),
        *_negative(templates),
        *_empty(templates),
        *_same_side(templates),
        *_limited(templates),
        *_extrapolation(templates),
        *_processed(templates),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _bins(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    return ", ".join(str(b) for b in np.flatnonzero(mask))


def _nominal(t: Templates) -> Iterator[Finding]:
    for channel in t.channels:
        part = t.slice(channel)
        expected, variance = t.expected[part], t.variance[:, part].sum(axis=0)
        if part.stop - part.start == 1:
            yield Finding("note", "single_bin", "the channel has one bin, so only yields are compared.", channel)
        effective = np.divide(expected**2, variance, out=np.zeros_like(expected), where=variance > 0)
        thin = effective < FEW_EVENTS
        if thin.any():
            message = f"bins {_bins(thin)} have fewer than {FEW_EVENTS:g} effective Monte Carlo events."
            yield Finding("warning", "few_events", message, channel)
        for s, sample in enumerate(t.samples):
            empty = t.nominal[s, part] == 0.0
            if empty.any():
                message = f"bins {_bins(empty)} of the nominal template are empty; their true expectation is unknown."
                yield Finding("warning", "empty", message, channel, sample)


def _negative(t: Templates) -> Iterator[Finding]:
    for channel in t.channels:
        part = t.slice(channel)
        for s, sample in enumerate(t.samples):
            below = t.nominal[s, part] < 0.0
            if below.any():
                yield Finding("error", "negative", f"nominal bins {_bins(below)} are negative.", channel, sample)
            for k, nuisance in enumerate(t.nuisances):
                below = np.minimum(t.up[k, s, part], t.down[k, s, part]) < 0.0
                if below.any():
                    message = f"shifted bins {_bins(below)} are negative."
                    yield Finding("error", "negative", message, channel, sample, nuisance)


def _empty(t: Templates) -> Iterator[Finding]:
    for k, nuisance in enumerate(t.nuisances):
        if np.array_equal(t.up[k], t.nominal) and np.array_equal(t.down[k], t.nominal):
            message = "no event of any channel moves, or all were dropped; it is left out of the workspace."
            yield Finding("note", "no_effect", message, nuisance=nuisance)
            continue
        for channel in t.channels:
            part = t.slice(channel)
            for s, sample in enumerate(t.samples):
                if not t.nominal[s, part].sum() > 0.0:
                    continue
                for side, template in (("+1", t.up), ("-1", t.down)):
                    if not template[k, s, part].sum() > 0.0:
                        message = f"the template at {side} sigma is empty; the variation is kept additive."
                        yield Finding("warning", "empty", message, channel, sample, nuisance)


def _same_side(t: Templates) -> Iterator[Finding]:
    flags = t.same_side
    for k, nuisance in enumerate(t.nuisances):
        for channel in t.channels:
            part = t.slice(channel)
            for s, sample in enumerate(t.samples):
                if flags[k, s, part].any():
                    message = f"bins {_bins(flags[k, s, part])} move to the same side at +1 and -1 sigma."
                    yield Finding("warning", "same_side", message, channel, sample, nuisance)


def _limited(t: Templates) -> Iterator[Finding]:
    table = t.constraints()
    for row in table[table["mc_limited"]].itertuples():
        message = (
            f"MC-limited: the shift's information {row.information:.3g} is below its Monte Carlo expectation "
            f"{row.fake_information:.3g}; nothing is concluded from it."
        )
        yield Finding("warning", "mc_limited", message, nuisance=str(row.nuisance))


def _processed(t: Templates) -> Iterator[Finding]:
    """What the processing found, or did, that a reader of the numbers must know."""
    for e in t.steps:
        where = (e.channel, e.sample, e.nuisance)
        if e.step == "closure" and e.done == "does not close":
            message = (
                f"at {e.numbers['strength']:+g} sigma the templates miss the universe (p = {e.numbers['p_value']:.1g})."
            )
            yield Finding("warning", "no_closure", message, *where)
        elif e.step == "symmetrise" and e.done == "odd_even":
            message = f"both sides move the same way (p = {e.numbers['p_value']:.1g}); the even part is a nuisance too."
            yield Finding("note", "odd_even", message, *where)
    dropped = sum(e.step == "prune" and e.done == "dropped" for e in t.steps)
    if dropped:
        message = f"{dropped} shifts of single nuisances, channels and samples were dropped; the sidecar lists them."
        yield Finding("note", "pruned", message)


def _extrapolation(t: Templates) -> Iterator[Finding]:
    for k, nuisance in enumerate(t.nuisances):
        for channel in t.channels:
            part = t.slice(channel)
            splits = [block_split(t, k, block) for block in blocks(t) if block.channel == channel]
            scan = positivity(t.nominal[:, part], t.up[k, :, part], t.down[k, :, part], splits)
            for strength, below in scan.items():
                if below.any():
                    message = f"bins {_bins(below)} are predicted negative at {strength:+g} sigma."
                    yield Finding("warning", "negative_extrapolation", message, channel, nuisance=nuisance)
