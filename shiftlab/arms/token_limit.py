"""How many tokens an event may have: longer ones are counted and get the answer without information, never a part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shiftlab.errors import ConfigError, DataError

__all__ = ["TokenLimit", "TooLong"]

_NAMED = 5


@dataclass(frozen=True)
class TooLong:
    """The events of one set that have more tokens than the limit.

    Attributes:
        events: How many.
        of: Events in the set.
        longest: Tokens of the longest event in the set.
        keys: Event keys of the first of them, at most five.
    """

    events: int
    of: int
    longest: int
    keys: tuple[int, ...] = ()

    def __add__(self, other: TooLong) -> TooLong:
        """Return the count over both sets."""
        keys = (self.keys + other.keys)[:_NAMED]
        return TooLong(self.events + other.events, self.of + other.of, max(self.longest, other.longest), keys)


@dataclass(frozen=True)
class TokenLimit:
    """Tokens that the memory of a machine allows an event; a property of the machine, not of a trained body.

    Attention is over whole events: to cut one would change its picture without a word. So an event above the
    limit is no event without answer either: it is answered as an empty image is, and counted.

    Attributes:
        most: Tokens; None for no limit.
    """

    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that no event meets."""
        if self.most is not None and self.most < 1:
            raise ConfigError(f"token limit: {self.most} tokens an event; give 1 or more, or None for no limit.")

    def fits(self, lengths: Tensor) -> Tensor:
        """Return bool (event,): which events of ``lengths`` (event,) tokens are within the limit."""
        return torch.ones_like(lengths, dtype=torch.bool) if self.most is None else lengths <= self.most

    def count(self, lengths: Tensor, keys: Tensor) -> TooLong:
        """Return what is too long among events of ``lengths`` (event,) with event keys ``keys`` (event,)."""
        beyond = ~self.fits(lengths)
        longest = int(lengths.max()) if len(lengths) else 0
        named: list[int] = keys[beyond][:_NAMED].tolist()
        return TooLong(int(beyond.sum()), len(lengths), longest, tuple(named))

    def require(self, lengths: Tensor, keys: Tensor, where: str) -> None:
        """Refuse to train on events that are too long: what is left out of a training shifts what it learns.

        Raises:
            DataError: there are some; the message counts and names them.
        """
        found = self.count(lengths, keys)
        if found.events:
            raise DataError(
                f"{where}: {found.events} of {found.of} events have more than {self.most} tokens (the longest has "
                f"{found.longest}), the first being of keys {list(found.keys)}. Raise the limit, take larger patches, "
                "or leave these events out of the sample yourself."
            )
