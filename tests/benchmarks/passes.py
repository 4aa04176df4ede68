"""Cost of whole passes: the nominal chain, universes that start where they depart, and many events and universes."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from timing import interleaved, ratio

from shiftlab.detector import NOMINAL, Detector, Universe, detector, multisim
from shiftlab.detector.recording import Kept
from shiftlab.events import read
from shiftlab.events.deposits import Deposits

CHUNK = 256


def sample(path: Path) -> Deposits:
    """Return the muon-neutrino events of a file, all of it where it does not say what they are."""
    deposits = read(path)
    species = deposits.events.truth.get("neutrino_pdg")
    return deposits if species is None else deposits.take(torch.nonzero(species == 14).squeeze(1).tolist())


def chunks(deposits: Deposits, events: int) -> Iterator[Deposits]:
    """Give ``events`` events in chunks, the sample over and over."""
    for first in range(0, events, CHUNK):
        yield deposits.take([i % len(deposits) for i in range(first, min(first + CHUNK, events))])


def chain_rows(path: Path, chamber: Detector, deposits: Deposits, budget: float, cores: int) -> list[list[object]]:
    """Return milliseconds an event of the nominal chain's parts on one core, and of all of it on all cores."""
    one = next(chunks(deposits, CHUNK))
    prepared = chamber.prepare(one)

    def first() -> object:
        return chamber.image(replace(prepared, kept=Kept(), memory=replace(prepared.memory, drawn={})))

    calls = {
        "prepare": lambda: chamber.prepare(one),
        "first image": first,
        "prepare and image": lambda: chamber.image(one),
    }
    times = interleaved(calls, 6 * budget)
    rows: list[list[object]] = []
    for name, taken in times.items():
        rows.append([f"{name}, 1 core", *(float(f(taken) / len(one) * 1e3) for f in (np.median, np.min))])
    whole = [workers(path, cores) for _ in range(2)]
    for what, spent in zip(("elapsed time", "processor time / cores"), zip(*whole, strict=True), strict=True):
        name = f"prepare and image, {cores} worker processes, {what}"
        rows.append([name, float(np.median(spent)), min(spent)])
    return rows


def workers(path: Path, cores: int) -> tuple[float, float]:
    """Return milliseconds an event of the nominal chain where each core records its own chunks.

    The elapsed time, and the processor time over the number of cores, which is the elapsed time on an idle machine.
    """
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        begin = time.time() + 12.0
        spans = list(pool.map(_record, [path] * cores, [begin] * cores))
    events = sum(count for count, *_ in spans)
    elapsed = max(end for _, _, end, _ in spans) - min(start for _, start, _, _ in spans)
    return elapsed / events * 1e3, sum(spent for *_, spent in spans) / cores / events * 1e3


def _record(path: Path, begin: float) -> tuple[int, float, float, float]:
    """Return events, start and end of four chunks, and their processor time, once all workers are ready."""
    torch.set_num_threads(1)
    chamber, deposits = detector("pixel_lar"), sample(path)
    one = next(chunks(deposits, CHUNK))
    chamber.image(one)
    time.sleep(max(begin - time.time(), 0.0))
    start, spent = time.time(), time.process_time()
    for _ in range(4):
        chamber.image(one)
    return 4 * len(one), start, time.time(), time.process_time() - spent


def universe_rows(chamber: Detector, deposits: Deposits, budget: float) -> list[list[object]]:
    """Return per nuisance at one sigma: its stage, milliseconds an event, and that over a whole pass."""
    one = next(chunks(deposits, CHUNK))
    prepared = chamber.prepare(one)
    chamber.image(prepared)
    stages = {effect.name: effect.stage for effect in chamber.effects}
    rows: list[list[object]] = []
    for nuisance in chamber.nuisances:
        universe = Universe(nuisance.name, ((nuisance.name, 1.0),))
        calls = {
            "kept": lambda u=universe: chamber.image(prepared, u),
            "whole": lambda u=universe: chamber.image(replace(prepared, kept=Kept()), u),
        }
        times = interleaved(calls, budget)
        cost = float(np.median(times["kept"]) / len(one) * 1e3)
        rows.append([nuisance.name, stages[nuisance.effect], cost, ratio(times, "kept", "whole")])
    return rows


def event_rows(path: Path, most: int) -> list[list[object]]:
    """Return per number of events: milliseconds an event, and highest memory in MiB of a process of its own."""
    rows: list[list[object]] = []
    count = 100
    while count <= most:
        rows.append([count, *_alone(_stream, path, count)])
        count *= 10
    return rows


def number_rows(path: Path) -> list[list[object]]:
    """Return per number of joint universes of one chunk: milliseconds an event and universe, and highest memory."""
    return [[count, *_alone(_universes, path, count)] for count in (2, 4, 16, 64)]


def _alone(what: Callable[[Path, int], tuple[float, float]], path: Path, count: int) -> tuple[float, float]:
    """Return what a fresh process finds."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(what, path, count).result()


def _stream(path: Path, count: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    chamber, deposits = detector("pixel_lar"), sample(path)
    chamber.image(deposits.take(range(16)))
    start = time.perf_counter()
    for chunk in chunks(deposits, count):
        chamber.image(chunk)
    return (time.perf_counter() - start) / count * 1e3, peak()


def _universes(path: Path, count: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    chamber = detector("pixel_lar")
    prepared = chamber.prepare(next(chunks(sample(path), CHUNK)))
    chamber.image(prepared, NOMINAL)
    universes = multisim(chamber, count, seed=1)
    start = time.perf_counter()
    for universe in universes:
        chamber.image(prepared, universe)
    return (time.perf_counter() - start) / len(universes) / CHUNK * 1e3, peak()


def peak() -> float:
    """Return the highest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says begins with the memory of the process that started this one.
        return next(float(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
