"""Damage files of every format by the thousand and read them: ``python -m tests.events.fuzz --files 10000``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.events.fuzz.pool import Outcome, run
from tests.events.fuzz.whole import FORMATS, write_all

OUTCOMES = ("refused", "left out", "changed", "same", "WRONG", "EXCEPTION", "MEMORY", "HANG", "CRASH")


def main() -> int:
    """Return 0 when every damaged file led to one clear error or to whole and sound events."""
    parser = argparse.ArgumentParser(prog="python -m tests.events.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10000, help="damaged files, shared by the formats")
    parser.add_argument("--first", type=int, default=0, help="number of the first damage of each format")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS), metavar="FILE")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="failures that are shown whole, of each format")
    given = parser.parse_args()
    each = -(-given.files // len(given.formats))
    tasks = [(name, given.first + i) for i in range(each) for name in given.formats]
    counts: Counter[tuple[str, str]] = Counter()
    failed: Counter[str] = Counter()
    slowest = Outcome("", 0, "", "", "", 0.0)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        write_all(Path(folder))
        for one in run(Path(folder), tasks, given.workers):
            counts[one.file, one.outcome] += 1
            slowest = max(slowest, one, key=lambda outcome: outcome.seconds)
            if one.failed:
                failed[one.file] += 1
                if failed[one.file] <= given.show:
                    print(f"{one.outcome} {one.file} {one.number} [{one.what}]: {one.why}", flush=True)
    _report(given.formats, counts, slowest)
    return 1 if failed else 0


def _report(formats: list[str], counts: Counter[tuple[str, str]], slowest: Outcome) -> None:
    shown = [name for name in OUTCOMES if name.islower() or any(counts[file, name] for file in formats)]
    print(f"{'file':22}{'damaged':>9}" + "".join(f"{name:>11}" for name in shown))
    for file in [*formats, "all"]:
        row = [sum(counts[one, name] for one in (formats if file == "all" else [file])) for name in OUTCOMES]
        cells = [value for value, name in zip(row, OUTCOMES, strict=True) if name in shown]
        print(f"{file:22}{sum(row):>9}" + "".join(f"{value:>11}" for value in cells))
    print(f"slowest: {slowest.file} {slowest.number} [{slowest.what}], {slowest.seconds:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
