"""Keyed random draws: each is a pure function of seed, effect, purpose, throw and ids, never of call order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from scipy import special
from torch import Tensor

__all__ = ["Memory", "Stream", "mix"]

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def mix(bits: Tensor) -> Tensor:
    """Return the 64-bit finaliser of splitmix64 (Steele, Lea, Flood 2014) of int64 ``bits``, any shape.

    Torch's int64 wraps and shifts right arithmetically; masks make the shifts logical.
    """
    bits = bits ^ ((bits >> 30) & ((1 << 34) - 1))
    bits.mul_(_signed(_FIRST))
    bits.bitwise_xor_((bits >> 27) & ((1 << 37) - 1))
    bits.mul_(_signed(_SECOND))
    bits.bitwise_xor_((bits >> 31) & ((1 << 33) - 1))
    return bits


@lru_cache(maxsize=4)
def _normal_table(device: str) -> Tensor:
    """float32 (65536,): standard-normal quantiles at (i + 1/2) / 65536, divided by sqrt 2."""
    quantile = special.ndtri((np.arange(65536, dtype=np.float64) + 0.5) / 65536.0) / np.sqrt(2.0)
    return torch.from_numpy(quantile.astype(np.float32)).to(device)


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
    """

    seed: int
    effect: str
    throw: int = 0
    memory: Memory | None = None

    def bits(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return int64 of the ids' shape with 64 mixed bits: the same on every device and in any batch."""
        throw = str(self.throw) if per_throw else "none"
        text = f"{self.seed}|{self.effect}|{purpose}|{throw}"
        start = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        device = next((one.device for one in ids if isinstance(one, Tensor)), torch.device("cpu"))
        state = torch.full((), _signed(start), dtype=torch.int64, device=device)
        for one in ids:
            step = _signed(one * _GOLDEN) if isinstance(one, int) else one * _signed(_GOLDEN)
            state = mix(state + step)
        return mix(state + _signed(_GOLDEN))

    def uniform(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return float64 uniform draws in [0, 1), multiples of 2^-53."""
        bits = self.bits(purpose, *ids, per_throw=per_throw)
        return ((bits >> 11) & ((1 << 53) - 1)).to(torch.float64) * 2.0**-53

    def normal(self, purpose: str, *ids: Tensor | int, per_throw: bool = False) -> Tensor:
        """Return float32 standard-normal draws: one addition of two table entries, |z| <= 6.14."""
        name = None
        if self.memory is not None and not per_throw:
            name = self.memory.key((str(self.seed), self.effect, purpose, "normal"), ids)
            if name is not None and name in self.memory.drawn:
                return self.memory.drawn[name]
        bits = self.bits(purpose, *ids, per_throw=per_throw)
        table = _normal_table(str(bits.device))
        drawn = table[bits & 65535] + table[(bits >> 16) & 65535]
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
