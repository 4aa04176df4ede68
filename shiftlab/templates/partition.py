"""Disjoint parts of the generator vertices: one channel each, and a held-out part for injected data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["OVERLAPS", "Overlap", "Partition", "check_overlap", "keyed_uniform", "partition"]

Overlap = Literal["partition", "joint", "covariance", "propagation"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OVERLAPS: Final[dict[str, str]] = {
    "partition": (
        "No event is in two channels: each vertex enters the channel that a keyed hash of its vertex_uid names, "
        "so the product of the channels' Poisson terms counts each event once. Data events are to be divided by "
        "the same rule. Held-out vertices are in no template. All universes hold the same events."
    ),
    "propagation": (
        "Every event is in every channel. The workspace shows how a displacement of the detector moves the channels; "
        "its likelihood counts each event once per channel, so that no error of mu, limit or goodness of fit of all "
        "channels together may be quoted. Held-out vertices are in no template. All universes hold the same events."
    ),
}
"""What the ways of sharing events between channels mean for a likelihood, which is a product over channels."""


def keyed_uniform(uid: Ints, seed: int, purpose: str) -> Floats:
    """Return float64 in [0, 1), a pure function of (seed, purpose, uid); same shape as ``uid``.

    The key is BLAKE2b of seed and purpose; each uid is xor-ed with it and mixed by the finaliser
    of SplitMix64 (Steele, Lea, Flood 2014), whose upper 53 bits give the number.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    key = np.uint64(int.from_bytes(digest, "little"))
    bits = (uid.astype(np.int64).view(np.uint64) ^ key) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Partition:
    """Which channel looks at a vertex, and which vertices are held out of every template.

    A pyhf likelihood is a product over channels, so an event may enter one channel only. The
    channel of a vertex is drawn with probability equal to the channel's share of the exposure;
    the same rule sends a data event to its channel. Independently of that, a fraction
    ``holdout`` of the simulated vertices is in no template and serves as injected data.

    Attributes:
        channels: names, in order.
        shares: share of the exposure of each channel; they add up to 1.
        holdout: fraction of the simulated vertices that is in no template.
        seed: key of both draws.
        overlap: every channel looks at every vertex instead; the shares are then 1 each.
    """

    channels: tuple[str, ...]
    shares: tuple[float, ...]
    holdout: float
    seed: int
    overlap: bool = False

    def channel(self, vertex_uid: Ints) -> Ints:
        """Return int64 (event,): the position in ``channels`` of the channel that looks at each event."""
        edges = np.cumsum(self.shares)[:-1]
        return np.searchsorted(edges, keyed_uniform(vertex_uid, self.seed, "channel"), side="right").astype(np.int64)

    def looks(self, channel: str, vertex_uid: Ints) -> npt.NDArray[np.bool_]:
        """Return bool (event,): the channel looks at each event."""
        if self.overlap:
            return np.ones(len(vertex_uid), dtype=np.bool_)
        return np.asarray(self.channel(vertex_uid) == self.channels.index(channel))

    def held_out(self, vertex_uid: Ints) -> npt.NDArray[np.bool_]:
        """Return bool (event,): the event is in no template."""
        return keyed_uniform(vertex_uid, self.seed, "hold-out") < self.holdout

    def describe(self) -> dict[str, Any]:
        """Return the rule as plain values for the sidecar."""
        one = "keyed hash of vertex_uid; a vertex enters exactly one channel; data events by the same rule"
        return {
            "rule": "every vertex enters every channel" if self.overlap else one,
            "shares": dict(zip(self.channels, self.shares, strict=True)),
            "held_out_fraction": self.holdout,
            "seed": self.seed,
        }


def partition(
    channels: tuple[str, ...],
    shares: Mapping[str, float] | None,
    holdout: float,
    seed: int,
    overlap: Overlap = "partition",
) -> Partition:
    """Return the partition over ``channels``; without ``shares`` each channel gets the same.

    Raises:
        ConfigError: no channels, a share that is not positive, a channel without a share, a
            held-out fraction outside [0, 1), an overlap that is not offered, or shares where channels overlap.
        UnknownNameError: a share for a channel that does not exist.
    """
    if not channels:
        raise ConfigError("templates: no channels.")
    if not 0.0 <= holdout < 1.0:
        raise ConfigError(f"templates.holdout = {holdout}; it is a fraction of the vertices, at least 0 and below 1.")
    check_overlap(overlap, shares)
    if overlap == "propagation":
        return Partition(channels, (1.0,) * len(channels), holdout, seed, overlap=True)
    given = dict.fromkeys(channels, 1.0) if shares is None else dict(shares)
    for name, share in given.items():
        if name not in channels:
            raise UnknownNameError("channel (templates.shares)", name, channels)
        if not share > 0.0:
            raise ConfigError(f"templates.shares.{name} = {share}; a share is positive.")
    missing = [name for name in channels if name not in given]
    if missing:
        raise ConfigError(f"templates.shares: channel '{missing[0]}' has no share.")
    total = sum(given.values())
    return Partition(channels, tuple(given[name] / total for name in channels), holdout, seed)


def check_overlap(overlap: str, shares: Mapping[str, float] | None) -> None:
    """Refuse an overlap that is not offered, or one that leaves nothing to share.

    Raises:
        ConfigError: see above.
    """
    if overlap in ("joint", "covariance"):
        what = {
            "joint": "one histogram in all observables at once",
            "covariance": "a Gaussian fit with the bootstrap covariance of channels that share events",
        }[overlap]
        raise ConfigError(
            f"templates.overlap = '{overlap}', {what}, is not offered. Take 'partition' for a fit, or 'propagation' to "
            "see how channels of the same events move."
        )
    if overlap not in OVERLAPS:
        raise ConfigError(f"templates.overlap = '{overlap}'; allowed: {', '.join(OVERLAPS)}.")
    if overlap == "propagation" and shares is not None:
        raise ConfigError("templates.shares: with overlap 'propagation' every channel has all events; leave them out.")
