"""Workers: spawned processes, each with its own Geant4, that make batches of events and write their shards."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Protocol

from shiftlab.errors import RunError, ShiftlabError

__all__ = ["Maker", "work_through"]


class Maker(Protocol):
    """What makes batches; it is sent to each worker."""

    def open(self) -> Callable[[int], int]:
        """Return a function that makes one batch, writes its shard and gives its number of events."""


def work_through(maker: Maker, batches: Sequence[int], workers: int) -> Iterator[tuple[int, int]]:
    """Make all batches and give (batch, events) when a shard is written, in the order of finish.

    Each worker gets the next batch when it has written one. A worker whose parent is gone ends after its batch.

    Raises:
        RunError: a batch failed or a worker died; the message names it.
    """
    context = get_context("spawn")
    waiting = deque(batches)
    at_work: dict[Connection, int] = {}
    processes = []
    try:
        for _ in range(min(workers, len(waiting))):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, maker), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            at_work[here] = waiting.popleft()
            here.send(at_work[here])
        while at_work:
            for worker in connection.wait(list(at_work)):
                assert isinstance(worker, Connection)
                batch = at_work.pop(worker)
                events = _received(worker, batch)
                if waiting:
                    at_work[worker] = waiting.popleft()
                    worker.send(at_work[worker])
                yield batch, events
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _received(worker: Connection, batch: int) -> int:
    try:
        answer = worker.recv()
    except (EOFError, ConnectionResetError) as error:
        raise RunError(
            f"the process that made batch {batch} died (out of memory?). The same command goes on from here; "
            "fewer workers or a smaller batch may help."
        ) from error
    if isinstance(answer, str):
        raise RunError(f"batch {batch}: {answer}")
    return int(answer)


def _serve(parent: Connection, maker: Maker) -> None:
    """Be a worker process: make what the parent names, answer with the number of events or a message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        try:
            make = maker.open()
            while True:
                parent.send(make(parent.recv()))
        except (ShiftlabError, MemoryError) as error:
            parent.send(str(error) or type(error).__name__)
