"""How long reading takes against h5py on the same bytes, and how much memory: ``python tests/benchmarks/reading.py``.

For each file a fresh process reads it in slices of 1024 events by turns in two ways: every dataset raw with h5py
(the same rows, nothing decoded), and events with ``shiftlab.events.stream``, opening and checks included; the best
processor time of each counts (in one thread, from the page cache). Another fresh process follows its resident memory
while it streams. Synthetic events have about 50 deposits each (with electrons, instance, and particles), so that 1e5
of them are 5 million deposits; those of tokens have up to 33 tokens of 10 columns, and 16 globals.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHUNK = 1024
BOX = ((0.0, 0.0, 0.0), (230.4, 230.4, 230.4))


def raw(path: str) -> int:
    """Read every dataset in the slices in which events are read."""
    import h5py

    with h5py.File(path) as file:
        tables: dict[str, list[Any]] = {}

        def add(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset):
                tables.setdefault(name.split("/")[0], []).append(found)

        file.visititems(add)
        events = len(file["events/key"])
        bounds = {
            "deposits": file["events/offsets"],
            "tokens": file["events/offsets"],
            "images": file["events/offsets"],
        }
        if "particles" in tables:
            bounds["particles"] = file["events/particle_offsets"]
        for first in range(0, events, CHUNK):
            last = min(first + CHUNK, events)
            for name, columns in tables.items():
                ends = (first, last) if name == "events" else (int(bounds[name][first]), int(bounds[name][last]))
                for column in columns:
                    column[slice(*ends)]
    return events


def ours(path: str) -> int:
    """Read every event."""
    from shiftlab.events import stream

    return sum(len(piece) for piece in stream(path, chunk=CHUNK))


def resident() -> float:
    """Return the memory that this process holds now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(path: str, repeats: int) -> dict[str, float]:
    """Time both by turns, so that what else the machine does falls on both."""
    times: dict[str, list[float]] = {"raw": [], "ours": []}
    for _ in range(repeats):
        for name, how in (("raw", raw), ("ours", ours)):
            start = time.process_time()
            events = how(path)
            times[name].append(time.process_time() - start)
    return {**{name: min(spent) for name, spent in times.items()}, "events": events}


def memory(path: str) -> dict[str, float]:
    """Follow the memory over one reading, after one event is read so that all libraries are there."""
    from shiftlab.events import stream

    first = stream(path, chunk=1)
    next(first)
    first.close()  # type: ignore[attr-defined]
    before = most = resident()
    for _ in stream(path, chunk=CHUNK):
        most = max(most, resident())
    return {"growth": most - before, "most": most}


def write(path: Path, events: int, *, holds: str, exact: bool) -> float:
    """Write synthetic events 2000 at a time; returns events per second."""
    from shiftlab.events.sample import SampleWriter

    spec = importlib.util.spec_from_file_location("sample_pieces", HERE.parent / "events" / "sample_pieces.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    box = None if exact or holds != "deposits" else BOX
    start, making = time.process_time(), 0.0
    with SampleWriter(path, holds=holds, box=box, exact=exact) as writer:  # type: ignore[arg-type]
        for first in range(0, events, 2000):
            count, begun = min(2000, events - first), time.process_time()
            if holds == "deposits":
                piece = made.deposits(count, first=first, mean=50.0)
            else:
                piece = made.tokens(count, first=first, most=33, features=10, numbers=16)
            making += time.process_time() - begun
            writer.append(piece)
    return events / (time.process_time() - start - making)


def child(how: str, path: str, repeats: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "reading.py"), "--child", how, path, str(repeats)]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def row(name: str, path: str, repeats: int) -> str:
    time, held = child("time", path, repeats), child("memory", path, repeats)
    size = Path(path).stat().st_size / 1e6
    return (
        f"| {name} | {time['events']:.0f} | {size:.1f} | {time['raw']:.3f} | {time['ours']:.3f} | "
        f"{time['ours'] / time['raw']:.2f} | {time['events'] / time['ours']:.0f} | "
        f"{held['growth']:.0f} | {held['most']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=3, metavar=("HOW", "FILE", "REPEATS"))
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    if given.child:
        how, path, repeats = given.child
        print(json.dumps(measure(path, int(repeats)) if how == "time" else memory(path)))
        return
    import studies.samples

    print("| file | events | MB | h5py, s | shiftlab, s | ratio | events/s | growth, MB | memory, MB | written/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    shipped = str(Path(str(studies.samples.__file__)).parent / "lar_evaluation.h5")
    print(row("shipped sample, version 1", shipped, given.repeats), "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for holds, exact in (("deposits", False), ("deposits", True), ("tokens", True)):
            for events in (1_000, 10_000, 100_000):
                path = Path(folder) / "synthetic.h5"
                rate = write(path, events, holds=holds, exact=exact)
                name = f"{holds}, {'exact' if exact else 'packed'}"
                print(row(name, str(path), given.repeats), f"{rate:.0f} |", flush=True)


if __name__ == "__main__":
    main()
