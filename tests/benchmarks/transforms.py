"""Speed of the detector: effects, keyed draws, whole passes, many events and universes, and other projects beside it.

Run it with ``make bench``. Ratios are taken in one run, in turn, against a copy of the same bytes into a reused
buffer and against torch's ``normal_``; so they compare machines, and hold on a noisy one. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from effects import bandwidth, draw_rows, effect_rows, every_effect
from passes import CHUNK, chain_rows, chunks, event_rows, number_rows, sample, universe_rows
from peers import peer_rows
from timing import table

from shiftlab.detector import detector

SAMPLE = Path(__file__).parents[2] / "studies" / "samples" / "lar_evaluation.h5"


@dataclass
class Tables:
    """What was measured, printed as it comes.

    Attributes:
        found: by name, title, columns and rows of a table, or plain values.
    """

    found: dict[str, object] = field(default_factory=dict)

    def show(self, name: str, title: str, columns: str, rows: list[list[object]]) -> None:
        """Print and keep a table whose columns are divided by commas."""
        print(table(title, columns.split(","), rows), flush=True)
        self.found[name] = {"title": title, "columns": columns.split(","), "rows": rows}


def machine(device: str) -> dict[str, object]:
    """Return what of the machine decides its speed."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "card": torch.cuda.get_device_name() if device == "cuda" else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=SAMPLE)
    parser.add_argument("--events", type=int, default=10_000, help="largest number of events that are streamed")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each thing that is measured")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true", help="leave out compiled draws (half a minute)")
    parser.add_argument("--out", type=Path, default=None, help="JSON file of all tables")
    return parser.parse_args()


def measure(given: argparse.Namespace, device: str, tables: Tables) -> None:
    """Take every table."""
    chamber, deposits = detector("pixel_lar"), sample(given.file)
    chunk = next(chunks(deposits, CHUNK)).to(device)
    rate = bandwidth(device, given.seconds)
    tables.found |= {"machine": machine(device), "copy bytes per second": rate}
    print(", ".join(f"{name}: {value}" for name, value in machine(device).items()))
    print(f"copy of 256 MB into a reused buffer: {rate / 1e9:.1f} GB/s read and written")
    rows_an_event = len(chunk.energy) / len(chunk)
    print(f"{given.file.name}: {len(deposits)} muon-neutrino events, {rows_an_event:.0f} deposits an event")
    rows = chain_rows(given.file, chamber, deposits, given.seconds, given.cores)
    tables.show("chain", "Nominal chain, ms an event", ",median,least", rows)
    rows = universe_rows(chamber, deposits, given.seconds)
    tables.show("universes", "One nuisance, after the nominal", "nuisance,stage,ms an event,of a whole pass", rows)
    rows = draw_rows(device, given.seconds, not given.no_compile)
    title = "Normals: ns each by torch's normal_; others over it"
    tables.show("draws", title, "draws,normal_ ns,torch.randn,keyed,keyed compiled", rows)
    rows = effect_rows(chamber, chunk, given.seconds)
    columns = "effect,stage,rows,ns a row,copies,16 rows us"
    if device == "cuda":
        # Bytes that a pointwise effect must move: charge read and written.
        columns += ",of copy bandwidth"
        rows = [[*row, 16e9 / float(str(row[3])) / rate if row[3] else 0.0] for row in rows]
    tables.show("effects", "Effects at one sigma; copies of the charge of all rows", columns, rows)
    rows, missing = peer_rows(chamber, chamber.prepare(chunk), given.seconds)
    tables.show("peers", "The same events, ns a value on one core", ",values,median,least", rows)
    tables.found["left out"] = [*every_effect(chamber)[1], *missing]
    print("\n".join(["", *every_effect(chamber)[1], *missing]))
    rows = event_rows(given.file, given.events)
    tables.show("events", "Events in chunks, one core", "events,ms an event,peak MiB", rows)
    rows = number_rows(given.file)
    tables.show("numbers", "Joint universes of one chunk", "universes,ms an event,peak MiB", rows)


def main() -> None:
    given = options()
    torch.set_num_threads(1)
    start = time.perf_counter()
    tables = Tables()
    measure(given, "cuda" if torch.cuda.is_available() else "cpu", tables)
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(tables.found, indent=1, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
