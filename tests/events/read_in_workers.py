"""Read a file in worker processes as users do; prints a digest of every event that each worker gave."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
from collections.abc import Iterator

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from shiftlab.events import Deposits, stream

CHUNK = 64


def digest(events: Deposits, number: int) -> str:
    one = events.take([number])
    total = hashlib.sha256()
    for values in (one.events.key, one.events.weight, one.position, one.energy, one.length, one.semantic, one.instance):
        total.update(values.numpy().tobytes())
    return total.hexdigest()


def share(path: str, number: int, workers: int) -> list[str]:
    pieces = stream(path, chunk=CHUNK, part=(number, workers))
    return [digest(piece, i) for piece in pieces for i in range(len(piece))]


class Events(IterableDataset[tuple[int, Deposits]]):
    """Each worker of a DataLoader opens the file itself and takes its own chunks."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __iter__(self) -> Iterator[tuple[int, Deposits]]:
        worker = get_worker_info()
        part = (worker.id, worker.num_workers) if worker else (0, 1)
        for piece in stream(self.path, chunk=CHUNK, part=part):
            yield part[0], piece


def main(how: str, path: str) -> list[list[str]]:
    if how == "spawn":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            return pool.starmap(share, [(path, 0, 2), (path, 1, 2)])
    found: list[list[str]] = [[], []]
    loader = DataLoader(Events(path), batch_size=None, num_workers=2, multiprocessing_context="spawn")
    for worker, piece in loader:
        found[worker] += [digest(piece, i) for i in range(len(piece))]
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
