"""Cost of the detector on a sample of events, as time per event and as a multiple of copying its charge once.

Run it with ``python tests/benchmarks/transforms.py FILE``; the ratio to a memory copy, taken in the
same run, compares machines. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

from shiftlab.detector import NOMINAL, Prepared, detector, multisim, unisim
from shiftlab.events import read


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chamber = detector("pixel_lar")
    deposits = read(given.file)
    events = len(deposits)
    chunks = [deposits.take(range(i, min(i + given.chunk, events))) for i in range(0, events, given.chunk)]
    start = time.perf_counter()
    prepared: list[Prepared] = [chamber.prepare(chunk) for chunk in chunks]
    print(f"{events} events, prepare {(time.perf_counter() - start) / events * 1e3:.2f} ms an event")
    contributions = torch.cat([one.footprint.share for one in prepared])
    copy = seconds(contributions.clone)
    print(f"{len(contributions) / events:.0f} shares an event; copying them once {copy / events * 1e6:.1f} us an event")
    for universe in (NOMINAL, *unisim(chamber, strengths=(1.0,), throws={}), multisim(chamber, 2, 1)[0]):
        taken = seconds(lambda: [chamber.image(one, universe) for one in prepared])  # noqa: B023
        print(f"{universe.name:28s} {taken / events * 1e3:6.3f} ms an event, {taken / copy:6.1f} copies")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
