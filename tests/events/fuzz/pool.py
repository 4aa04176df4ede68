"""Processes that read damaged files; one that crashes or hangs is an outcome, and another takes its place."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "run"]

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 20.0
"""Time that reading one small file may take; the longest honest one takes a tenth of a second."""


@dataclass(frozen=True)
class Outcome:
    """What came of one damaged file.

    Attributes:
        file: The whole file that was damaged.
        number: Number of the damage; file and number give the same damage again.
        outcome: ``refused``, ``left out``, ``changed`` or ``same``; in capitals what must not be.
        what: What was done to the file.
        why: What went wrong.
        seconds: Time that it took.
    """

    file: str
    number: int
    outcome: str
    what: str
    why: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether a reader did what it must not."""
        return self.outcome.isupper()


def run(seeds: Path, tasks: Iterable[tuple[str, int]], workers: int = 1) -> Iterator[Outcome]:
    """Give the outcome of each (file, number)."""
    shares: list[list[tuple[str, int]]] = [[] for _ in range(workers)]
    for i, task in enumerate(tasks):
        shares[i % workers].append(task)
    found: list[Outcome] = []
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_serve, seeds, share, found) for share in shares]
        given = 0
        while given < len(found) or not all(job.done() for job in jobs):
            while given < len(found):
                yield found[given]
                given += 1
            time.sleep(0.02)
        for job in jobs:
            job.result()
        yield from found[given:]


def _serve(seeds: Path, tasks: list[tuple[str, int]], found: list[Outcome]) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        process: Any = None
        for name, number in tasks:
            if process is None:
                process = _start(seeds, Path(scratch))
            start = time.monotonic()
            process.stdin.write(f"{name} {number}\n".encode())
            process.stdin.flush()
            line = _line(process, SECONDS)
            seconds = time.monotonic() - start
            if line:
                answer = json.loads(line)
                found.append(Outcome(name, number, answer["outcome"], answer["what"], answer.get("why", ""), seconds))
                continue
            code = process.poll()
            process.kill()
            process.wait()
            process = None
            outcome, why = ("HANG", f"no answer in {SECONDS:g} s") if code is None else ("CRASH", f"exit code {code}")
            found.append(Outcome(name, number, outcome, "", why, seconds))
        if process is not None:
            process.stdin.close()
            process.wait(timeout=10)


def _start(seeds: Path, scratch: Path) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.events.fuzz.worker", str(seeds), str(scratch)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        bufsize=0,
    )
    if _line(process, 120.0) != b"ready\n":
        process.kill()
        raise RuntimeError("a fuzzing process did not start; run `python -m tests.events.fuzz.worker` to see why")
    return process


def _line(process: Any, seconds: float) -> bytes:
    """Return the next line, or nothing when the process ended or is silent for too long."""
    end = time.monotonic() + seconds
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not piece:
            if ready:
                process.wait(timeout=10)
            return b""
        text += piece
    return text
