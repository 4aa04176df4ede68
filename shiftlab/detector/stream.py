"""Keyed random draws: each is a pure function of seed, effect, purpose, throw and ids, never of call order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from scipy import special
from torch import Tensor

from shiftlab.detector.hashing import hashed, hashed_normal, hashed_uniform, mix

__all__ = ["Memory", "Stream", "mix"]


@lru_cache(maxsize=1024)
def _start(seed: int, effect: str, purpose: str, throw: str) -> int:
    """Return the 64 bits from which the draws of one purpose start."""
    text = f"{seed}|{effect}|{purpose}|{throw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Memory:
    """Draws kept for tensors of ids that last, so that every universe reads what the first one drew.

    Draws are pure, so keeping them changes no number. Only draws whose ids are all among ``lasting``
    (the same tensor objects, which are never written to) are kept.

    Attributes:
        lasting: the tensors of ids.
        drawn: the draws so far.
    """

    lasting: tuple[Tensor, ...]
    drawn: dict[tuple[str, ...], Tensor] = field(default_factory=dict)

    def key(self, names: tuple[str, ...], ids: tuple[Tensor | int, ...]) -> tuple[str, ...] | None:
        """Return the name under which a draw is kept, None when its ids do not last."""
        places = []
        for one in ids:
            place = next((str(i) for i, kept in enumerate(self.lasting) if kept is one), None)
            if place is None:
                return None
            places.append(place)
        return (*names, *places)


@dataclass(frozen=True)
class Stream:
    """The keyed draws of one effect in one run and throw.

    ``ids`` are int64 tensors of one shape (or whole numbers): event keys, lattice cells, readout
    channels. Event-scope draws give the event key first and leave the throw out; run-scope draws
    (frozen maps) leave the event out and set ``per_throw`` where each throw has its own map.

    Attributes:
        seed: Seed of the run.
        effect: Name of the effect.
        throw: Number of the realisation of the frozen maps.
        memory: Draws to be kept for lasting ids, or None.
        drawn: List to which each purpose that is drawn per throw is added, or None.
    """

    seed: int
    effect: str
    throw: int = 0
    memory: Memory | None = None
    drawn: list[str] | None = None

    def bits(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return int64 of the ids' shape with 64 mixed bits: the same on every device and in any batch."""
        return hashed(self._start(purpose, per_throw), ids)

    def uniform(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return float64 uniform draws in [0, 1), multiples of 2^-53."""
        return hashed_uniform(self._start(purpose, per_throw), ids)

    def normal(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return float32 standard-normal draws: one addition of two table entries, |z| <= 6.14."""
        name = None
        if self.memory is not None and not per_throw:
            name = self.memory.key((str(self.seed), self.effect, purpose, "normal"), ids)
            if name is not None and name in self.memory.drawn:
                return self.memory.drawn[name]
        drawn = hashed_normal(self._start(purpose, per_throw), ids)
        if self.memory is not None and name is not None:
            self.memory.drawn[name] = drawn
        return drawn

    def poisson(self, purpose: str, *ids: Tensor | int, rate: float, per_throw: bool = False) -> Tensor:
        """Return int64 Poisson draws of mean ``rate`` by inversion on integer thresholds.

        Raises:
            ValueError: the rate is negative or not finite.
        """
        if not 0 <= rate < float("inf"):
            raise ValueError(f"poisson rate {rate} must be finite and not negative")
        bits = (self.bits(purpose, *ids, per_throw=per_throw) >> 11) & ((1 << 53) - 1)
        last = int(rate + 12.0 * np.sqrt(rate) + 24.0)
        below = special.pdtr(np.arange(last), rate) * 2.0**53
        thresholds = torch.from_numpy(np.rint(below).astype(np.int64)).to(bits.device)
        return torch.searchsorted(thresholds, bits, right=True)

    def _start(self, purpose: str, per_throw: bool) -> int:
        if per_throw and self.drawn is not None:
            self.drawn.append(purpose)
        return _start(self.seed, self.effect, purpose, str(self.throw) if per_throw else "none")
