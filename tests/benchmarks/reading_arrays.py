"""How long PILArNet-M and OmniLearned files take against h5py alone: ``python tests/benchmarks/reading_arrays.py``.

h5py's part is every dataset, in the same slices of 1024 events, nothing decoded. Ours is ``stream``, opening and checks
included. By turns in one process, best processor time of each, one thread, from the page cache. The event of the tests
stands for PILArNet-M, again and again (one event of 1175 voxels); OmniLearned's tokens are random numbers.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from shiftlab.events import stream

DATA = Path(__file__).parents[1] / "data"
ROUNDS, CHUNK = 9, 1024


def pilarnet(target: Path, events: int) -> None:
    with h5py.File(DATA / "pilarnet_event.h5") as old, h5py.File(target, "w") as new:
        for name, rows in old.items():
            copy = new.create_dataset(name, (events,), dtype=rows.dtype)
            row = rows[0]
            for i in range(events):
                copy[i] = row
        new.attrs.update(old.attrs)


def omnilearned(target: Path, events: int, shape: tuple[int, int], mean: float, packed: bool) -> None:
    """Write events of ``shape`` (slot, column) with about ``mean`` particles; column 4 is the particle id."""
    random, slots = np.random.default_rng(5), shape[0]
    how = {"compression": "gzip", "chunks": (256, *shape)} if packed else {}
    with h5py.File(target, "w") as file:
        data = file.create_dataset("data", (events, *shape), dtype="f4", **how)
        for first in range(0, events, 2000):
            count = min(2000, events - first)
            block = random.normal(size=(count, *shape)).astype(np.float32)
            block[..., 4] = random.integers(0, 9, (count, slots))
            block[np.arange(slots) >= random.poisson(mean, count).clip(1, slots)[:, None]] = 0
            data[first : first + count] = block
        file["pid"] = random.integers(0, 10, events)
        file["global"] = random.normal(size=(events, 4)).astype(np.float32)


def raw(path: Path) -> None:
    with h5py.File(path) as file:
        datasets = list(file.values())
        for first in range(0, len(datasets[0]), CHUNK):
            for dataset in datasets:
                dataset[first : first + CHUNK]


def ours(path: Path) -> None:
    for _ in stream(path, chunk=CHUNK):
        pass


def row(name: str, path: Path) -> str:
    best = {raw: float("inf"), ours: float("inf")}
    for _ in range(ROUNDS):
        for way in best:
            start = time.process_time()
            way(path)
            best[way] = min(best[way], time.process_time() - start)
    size = path.stat().st_size / 1e6
    return f"| {name} | {size:.1f} | {best[raw]:.4f} | {best[ours]:.4f} | {best[ours] / best[raw]:.2f} |"


def main() -> None:
    torch.set_num_threads(1)
    print("| file | MB | h5py, s | shiftlab, s | ratio |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.h5"
        for events in (200, 2000):
            pilarnet(path, events)
            print(row(f"PILArNet-M, {events} events", path), flush=True)
        for slots, columns, mean in ((33, 10, 17.0), (150, 13, 40.0), (150, 13, 200.0)):
            for packed in (False, True):
                omnilearned(path, 10_000, (slots, columns), mean, packed)
                fill = min(mean, slots) / slots
                kind = "gzip" if packed else "not compressed"
                print(row(f"OmniLearned, {slots} slots, {fill:.0%} filled, {kind}", path), flush=True)


if __name__ == "__main__":
    main()
