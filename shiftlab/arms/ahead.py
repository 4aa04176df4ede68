"""Batches that a thread cuts while the network still works on those before them, the same bits as without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch
from torch import Generator, Tensor

from shiftlab.arms.presentation import keyed
from shiftlab.arms.training_run import Run

if TYPE_CHECKING:
    from shiftlab.arms.training_set import Batch

__all__ = ["Ahead", "draws"]


def draws(run: Run, batches: Sequence[Tensor], pieces: int = 1, own: Sequence[int] = (0,)) -> list[tuple[Tensor, int]]:
    """Return events and seed of every batch that a training will ask for, in its order.

    Args:
        run: The training.
        batches: Events of each step.
        pieces: Pieces of a step.
        own: Those that this process works on.
    """
    found = []
    for step, rows in enumerate(batches):
        for piece in own:
            if len(rows[piece::pieces]):
                words = (run.seed, run.name, step, *([piece] if pieces > 1 else []))
                found.append((rows[piece::pieces], keyed(*words)))
    return found


class Ahead:
    """Cuts foreseen batches in a thread; use it as a context manager.

    A batch is a pure function of its events and of the generator that it draws from, which begins at a seed
    that is known before. ``take`` hands over the batch and sets the generator to where the thread's own ended.

    Attributes:
        hits: Batches that were foreseen.
        misses: Those that were not.
    """

    def __init__(
        self, cut: Callable[[Tensor, Generator], Batch], draws: Sequence[tuple[Tensor, int]], depth: int
    ) -> None:
        """Take what cuts a batch, what will be asked for, and how many batches wait at most."""
        self.hits, self.misses = 0, 0
        self._cut, self._draws, self._depth = cut, draws, max(1, depth)
        self._place = {seed: place for place, (_, seed) in enumerate(draws)}
        self._ready: dict[int, tuple[Batch, Tensor] | Exception] = {}
        self._next = self._wanted = 0
        self._closed = False
        self._turn = Condition()
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        """Wait for the first batch that is asked for; a training may go on in its middle."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()

    def take(self, rows: Tensor, generator: Generator) -> Batch | None:
        """Return the batch of ``rows`` drawn from ``generator``; None where it was not foreseen."""
        place = self._place.get(generator.initial_seed())
        if place is None or not self._foreseen(place, rows, generator):
            self.misses += 1
            return None
        with self._turn:
            if not self._wanted <= place < self._wanted + self._depth:
                self._ready, self._next = {}, place
            self._move(place)
            self._start()
            self._turn.wait_for(lambda: place in self._ready)
            found = self._ready.pop(place)
            self._move(place + 1)
        if isinstance(found, Exception):
            raise found
        batch, state = found
        generator.set_state(state)
        self.hits += 1
        return batch

    def _foreseen(self, place: int, rows: Tensor, generator: Generator) -> bool:
        wanted, seed = self._draws[place]
        fresh = torch.equal(generator.get_state(), Generator().manual_seed(seed).get_state())
        return fresh and torch.equal(wanted, rows.to(wanted.device))

    def _move(self, place: int) -> None:
        """Want nothing before ``place`` any more; the thread may cut as far ahead of it as the depth allows."""
        self._wanted, self._next = place, max(self._next, place)
        self._ready = {key: value for key, value in self._ready.items() if key >= place}
        self._turn.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="batches", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._next < self._end)
                if self._closed:
                    return
                place = self._next
                self._next += 1
            found = self._cut_one(place)
            with self._turn:
                if place >= self._wanted:
                    self._ready[place] = found
                    self._turn.notify_all()

    @property
    def _end(self) -> int:
        return min(len(self._draws), self._wanted + self._depth)

    def _cut_one(self, place: int) -> tuple[Batch, Tensor] | Exception:
        rows, seed = self._draws[place]
        generator = Generator().manual_seed(seed)
        try:
            return self._cut(rows, generator), generator.get_state()
        except Exception as error:  # noqa: BLE001 - whatever it is, who asks for the batch gets it
            return error
