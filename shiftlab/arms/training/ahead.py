"""Batches that are cut while the network still works on those before them, the same bits as without."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Generator, Tensor

from shiftlab.arms.training.presentation import keyed
from shiftlab.arms.training.run import Run
from shiftlab.errors import RunError
from shiftlab.plugins import LoadedPlugins

if TYPE_CHECKING:
    from shiftlab.arms.training_set import Batch, Stored, TrainingSet

__all__ = ["Ahead", "Workers", "draws", "processes", "threads"]


@dataclass(frozen=True)
class Workers:
    """Who cuts batches.

    Attributes:
        executor: Its threads or processes.
        cut: Called there with the events of a batch and the seed of its generator.
        opened: Makes of the answer the batch and the state where its generator ended.
    """

    executor: Executor
    cut: Callable[[Tensor, int], Any]
    opened: Callable[[Any], tuple[Batch, Tensor]]


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
    """Cuts foreseen batches in other threads or processes; use it as a context manager.

    A batch is a pure function of its events and of the generator that it draws from, which begins at a seed
    that is known before. ``take`` hands over the batch and sets the generator to where that ended.

    Attributes:
        hits: Batches that were foreseen.
        misses: Those that were not.
    """

    def __init__(self, workers: Workers, draws: Sequence[tuple[Tensor, int]], depth: int) -> None:
        """Take who cuts (``threads``, ``processes``), what will be asked for, and how many batches wait at most."""
        self.hits, self.misses = 0, 0
        self._workers, self._draws, self._depth = workers, draws, max(1, depth)
        self._place = {seed: place for place, (_, seed) in enumerate(draws)}
        self._waiting: dict[int, Future[Any]] = {}

    def __enter__(self) -> Self:
        """Begin when the first batch is asked for: a training may go on in its middle."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads or processes."""
        self._workers.executor.shutdown(cancel_futures=True)

    def take(self, rows: Tensor, generator: Generator) -> Batch | None:
        """Return the batch of ``rows`` drawn from ``generator``; None where it was not foreseen.

        Raises:
            RunError: a process died.
        """
        place = self._place.get(generator.initial_seed())
        if place is None or not self._foreseen(place, rows, generator):
            self.misses += 1
            return None
        try:
            batch, state = self._workers.opened(self._asked(place).result())
        except BrokenExecutor as error:
            raise RunError(
                "a process that cuts batches died (out of memory?). The same command goes on from here; fewer "
                "processes may help."
            ) from error
        generator.set_state(state)
        self.hits += 1
        return batch

    def _asked(self, place: int) -> Future[Any]:
        """Ask for the batches from ``place`` on, as many as may wait, and no longer for others."""
        wanted = range(place, min(place + self._depth, len(self._draws)))
        for other in [one for one in self._waiting if one not in wanted]:
            self._waiting.pop(other).cancel()
        for one in wanted:
            if one not in self._waiting:
                self._waiting[one] = self._workers.executor.submit(self._workers.cut, *self._draws[one])
        return self._waiting.pop(place)

    def _foreseen(self, place: int, rows: Tensor, generator: Generator) -> bool:
        wanted, seed = self._draws[place]
        fresh = torch.equal(generator.get_state(), Generator().manual_seed(seed).get_state())
        return fresh and torch.equal(wanted, rows.to(wanted.device))


def threads(data: TrainingSet, count: int) -> Workers:
    """Return threads that cut batches of a set."""

    def cut(rows: Tensor, seed: int) -> Any:
        return _cut(data, rows, seed)

    return Workers(ThreadPoolExecutor(count, thread_name_prefix="batches"), cut, _as_it_is)


def processes(stored: Stored, count: int) -> Workers:
    """Return spawned processes that each map a store anew and cut batches of it, with one thread of torch."""
    arguments = (LoadedPlugins(), stored)
    executor = ProcessPoolExecutor(count, get_context("spawn"), initializer=_open, initargs=arguments)
    return Workers(executor, _ask, pickle.loads)


def _cut(data: TrainingSet, rows: Tensor, seed: int) -> tuple[Batch, Tensor]:
    generator = Generator().manual_seed(seed)
    return data.cut(rows, generator), generator.get_state()


def _as_it_is(answer: Any) -> Any:
    return answer


_OPENED: list[TrainingSet] = []
"""In a process that cuts batches: its one set, which the pool's initializer puts here."""


def _open(plugins: LoadedPlugins, stored: Stored) -> None:
    del plugins  # they were loaded when they arrived
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _OPENED.append(stored.open())


def _ask(rows: Tensor, seed: int) -> bytes:
    """Return the batch as bytes: many small tensors in shared memory would use up a process's file descriptors."""
    return pickle.dumps(_cut(_OPENED[0], rows, seed), protocol=pickle.HIGHEST_PROTOCOL)
