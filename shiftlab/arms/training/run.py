"""A training's name, files, time limit and listeners, and the measured loss of some of its events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Generator, Tensor

from shiftlab.errors import RunError

if TYPE_CHECKING:
    from shiftlab.arms.foundation_model import FoundationModel

__all__ = ["Deadline", "Loss", "Measured", "Run", "Workshop"]


@dataclass(frozen=True)
class Deadline:
    """When a training must stop, by the monotonic clock, s; infinity for never."""

    at: float = math.inf

    def check(self, what: str) -> None:
        """Raise RunError when the time is over."""
        if self.over:
            raise RunError(f"training stopped at its time limit during {what}; the same command goes on from here.")

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.at


@dataclass(frozen=True)
class Run:
    """Where one training run stands and what it is called.

    Attributes:
        name: Say ``foundation seed 0 body``.
        seed: Seed of its draws.
        state: File that holds an unfinished run; removed by the caller when all is stored.
        identity: Digest of everything that decides the result; a state of another one is refused.
        every: Seconds between two writes of the state.
        deadline: When to stop.
        advance: Called with the number of events of each step.
        curve: CSV file of the training curve (``shiftlab.arms.training.curves``); none is written when None.
        tell: Called with the loss of each step.
    """

    name: str
    seed: int
    state: Path
    identity: str
    every: float = 20.0
    deadline: Deadline = Deadline()
    advance: Callable[[int], object] = lambda events: None
    curve: Path | None = None
    tell: Callable[[float], object] = lambda loss: None


@dataclass(frozen=True)
class Workshop:
    """Where an arm is trained: its state files, who it is, when to stop, whom to tell and what it rests on.

    Attributes:
        folder: Folder of the state files.
        identity: Digest of recipe, sample, contract, arm and seed.
        deadline: When to stop.
        advance: Called with the number of events done.
        curves: Folder of the training curves; none are written when None.
        tell: Called with the loss of each step.
        foundation: The foundation model of an arm that starts from one; None lets it pre-train its own.
    """

    folder: Path
    identity: str
    deadline: Deadline = Deadline()
    advance: Callable[[int], object] = lambda events: None
    curves: Path | None = None
    tell: Callable[[float], object] = lambda loss: None
    foundation: FoundationModel | None = None

    def run(self, name: str, seed: int) -> Run:
        """Return the run of one stage of the training."""
        stage = name.replace(" ", "-")
        curve = None if self.curves is None else self.curves / f"{stage}.csv"
        state = self.folder / f"{stage}.safetensors"
        return Run(
            name, seed, state, self.identity, deadline=self.deadline, advance=self.advance, curve=curve, tell=self.tell
        )


@dataclass(frozen=True)
class Measured:
    """The loss of some events with what it is a mean over.

    Attributes:
        loss: Scalar, a mean.
        weight: Number of things that it is a mean over, say masked patches; pieces of a step are averaged with it.
        tokens: Tokens that the network saw.
    """

    loss: Tensor
    weight: float
    tokens: int = 0


Loss = Callable[[Tensor, Generator], Tensor | Measured]
"""Mean loss of the events at some rows, int64 (event,), drawing only from the generator."""
