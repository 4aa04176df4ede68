"""How long reading event tables takes against h5py alone: ``python tests/benchmarks/reading_tables.py FILE...``.

h5py's part is what it needs for the same bytes: every table of the file, whole, as it lies there. Ours is the file
opened, read in one piece or streamed, cut into cells, labelled where it has trajectories, and checked. Files of the
tests, repeated until they have a good hundred thousand rows, stand in where none is given. Times are the best of
several, in turn, on one thread.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from shiftlab.events import read, stream

DATA = Path(__file__).parents[1] / "data"
ROUNDS = 7


def repeated(source: Path, target: Path, rows: int) -> Path:
    """Write a file's events again and again, with new numbers, until ``segments`` has ``rows`` rows."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        segments = old["segments"]
        event = "event_id" if "event_id" in segments.dtype.names else "eventID"
        times = -(-rows // len(segments))
        span = int(segments[event].max()) + 1
        for name in old:
            block = old[name][...]
            whole = np.tile(block, times)
            whole[event] += np.repeat(np.arange(times, dtype=whole[event].dtype) * span, len(block))
            new.create_dataset(name, data=whole, compression="gzip", chunks=(min(len(whole), 65536),))
        new.attrs.update(old.attrs)
    return target


def raw(path: Path) -> None:
    with h5py.File(path) as file:
        for name in file:
            file[name][...]


def ratios(path: Path) -> None:
    ways: dict[str, Callable[[], object]] = {
        "h5py": lambda: raw(path),
        "read": lambda: read(path),
        "stream": lambda: [None for _ in stream(path, chunk=64)],
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    with h5py.File(path) as file:
        rows = {name: len(file[name]) for name in file}
    print(f"{path.name}: {rows}, h5py {1e3 * best['h5py']:.0f} ms")
    for name in ("read", "stream"):
        print(f"  {name:7} {1e3 * best[name]:6.0f} ms  {best[name] / best['h5py']:.2f} times h5py")


def main(paths: list[Path]) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if not paths:
            names = ("edepsim_mixed.h5", "edepsim_muons.h5", "geant4_numu_ftfpbert.h5")
            paths = [repeated(DATA / name, Path(folder) / name, 150_000) for name in names]
        for path in paths:
            ratios(path)
        profile = cProfile.Profile()
        profile.runcall(read, paths[-1])
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
