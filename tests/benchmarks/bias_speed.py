"""Speed and memory of the bias step for linear statistics, beside the bare matrix product of the same size.

$ OMP_NUM_THREADS=1 python tests/benchmarks/bias_speed.py --events 20000 --file-tasks 2

One arm and seed, tasks of one output each, 1 + universes, weights of 1 + replicas. All times are processor time, so
that other programs do not count; bare product and whole step are taken in turn. The step draws the weights, turns
float32 into terms, checks and multiplies. Reading is timed apart, from a compressed file as ``Responses.save`` writes
it. Time and memory are measured for two numbers of events and extrapolated by the straight line through them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from shiftlab.bias import Mean
from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.design import read_design
from shiftlab.bias.measure import measure
from shiftlab.bias.reading import event_blocks, read_outputs, universe_blocks
from shiftlab.bias.sample import read_sample
from shiftlab.responses import Responses
from shiftlab.responses.lazy import open_responses

TARGET: Final = 1_000_000
"""Events, of 10 tasks, 500 universes and 200 replicas, that are to be measured with less than 4 GB."""


def store(events: int, tasks: int, universes: int) -> dict[str, xr.Dataset]:
    """Return synthetic responses; all tasks share one array, which is larger than any cache."""
    half = universes // 2
    value = np.concatenate([np.zeros((1, half)), np.eye(half), -np.eye(half)])
    rng = np.random.default_rng(0)
    nominal = rng.standard_normal(events, dtype=np.float32)
    output = nominal + np.float32(0.1) * rng.standard_normal((1, 1, len(value), events), dtype=np.float32)
    names = [f"n{k}" for k in range(half)]
    data = xr.Dataset(
        {
            "output": (("arm", "seed", "universe", "event", "output"), output[..., None]),
            "observable": (("arm", "seed", "universe", "event"), output),
            "selected": (("arm", "seed", "universe", "event"), np.ones(output.shape, dtype=np.bool_)),
            "truth": (("event", "truth_column"), np.zeros((events, 1))),
            "evaluated": (("event",), np.ones(events, dtype=np.bool_)),
        },
        coords={
            "arm": ["foundation"],
            "seed": [0],
            "universe": ["nominal", *(f"{n}+1" for n in names), *(f"{n}-1" for n in names)],
            "event": np.arange(events),
            "nuisance": names,
            "vertex_uid": (("event",), np.arange(events)),
            "weight": (("event",), np.ones(events)),
            "sample": (("event",), ["numu_cc"] * events),
            "group": (("universe",), ["nominal"] + ["unisim"] * (len(value) - 1)),
            "throw": (("universe",), np.zeros(len(value), dtype=np.int64)),
            "recalibrate": (("universe",), ["none"] * len(value)),
            "nuisance_value": (("universe", "nuisance"), value),
        },
    )
    return {f"t{t}": data for t in range(tasks)}


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the smallest processor time of each call over some rounds, all called once a round."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def step(datasets: Mapping[str, xr.Dataset], replicas: int) -> None:
    """Do what ``bias`` does of this: every statistic in every universe and replica."""
    statistics = {name: Mean() for name in datasets}
    measure(datasets, statistics, read_design(datasets), replicas=replicas, seed=0, exposure={})


def read(datasets: Mapping[str, xr.Dataset]) -> None:
    """Read all outputs as the step does, and do nothing with them."""
    design = read_design(datasets)
    for name, data in datasets.items():
        sample = read_sample(name, data)
        for events in event_blocks(data, sample):
            for universes in universe_blocks(data, events.stop - events.start):
                read_outputs(data, sample, 0, 0, design, universes, events)


def compare(events: int, tasks: int, universes: int, replicas: int, rounds: int) -> dict[str, float]:
    """Return the times of the bare product of all tasks and of the step, from memory."""
    datasets = store(events, tasks, universes)
    weights = poisson_weights(np.arange(events), range(replicas + 1), 0)
    output = datasets["t0"]["output"].values[0, 0, :, :, 0].astype(np.float64)

    def product() -> None:
        for _ in range(tasks):
            _ = output @ weights.T

    return in_turn({"product": product, "step": lambda: step(datasets, replicas)}, rounds)


def from_file(path: Path, replicas: int) -> None:
    """Print the processor time of the step and of reading alone, and the largest memory, of one file."""
    with open_responses(path) as responses:
        start = time.process_time()
        step(responses.datasets, replicas)
        whole = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        start = time.process_time()
        read(responses.datasets)
        print(whole, time.process_time() - start, memory)


def measured_file(events: int, tasks: int, universes: int, replicas: int) -> tuple[float, float, float]:
    """Return seconds of the step, seconds of reading alone and bytes, of a file of its own in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "responses.h5"
        Responses(store(events, tasks, universes)).save(path)
        words = [sys.executable, __file__, "--replicas", str(replicas), "--read", str(path)]
        found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(found[0]), float(found[1]), float(found[2])


def line(small: float, large: float, events: int, at: int = TARGET) -> float:
    """Return the value at ``at`` events on the straight line through those at ``events`` and at twice as many."""
    return small + (large - small) * (at - events) / events


def show(options: argparse.Namespace) -> None:
    """Print the two tables."""
    events, sizes = options.events, (options.tasks, options.universes, options.replicas)
    print("{} tasks x {} universes x {} replicas; processor seconds, one thread".format(*sizes))
    times = {n: compare(n, *sizes, options.rounds) for n in (events, 2 * events)}
    for n, found in times.items():
        ratio = found["step"] / found["product"]
        print(f"{n:9,d} events: product {found['product']:.2f}, step {found['step']:.2f}, ratio {ratio:.2f}")
    product, whole = (line(times[events][key], times[2 * events][key], events) for key in ("product", "step"))
    print(f"{TARGET:9,d} events: product {product:.0f}, step {whole:.0f}, ratio {whole / product:.2f} (extrapolated)")
    if not options.file_tasks:
        return
    tasks = options.file_tasks
    files = {n: measured_file(n, tasks, *sizes[1:]) for n in (events, 2 * events)}
    print(f"from a file of {tasks} tasks:")
    for n, (whole, reading, memory) in files.items():
        print(f"{n:9,d} events: step {whole:.2f}, of which reading {reading:.2f}; at most {memory / 1e9:.2f} GB")
    memory = line(files[events][2], files[2 * events][2], events)
    per_event = (files[2 * events][2] - files[events][2]) / events / tasks
    print(f"{TARGET:9,d} events: {memory / 1e9:.2f} GB (extrapolated); {per_event:.0f} bytes per event and task more")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--universes", type=int, default=500)
    parser.add_argument("--replicas", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file-tasks", type=int, default=0, help="tasks of the file to be read; 0 for no file")
    parser.add_argument("--read", type=Path, help="a file whose times to print; made by the other options")
    options = parser.parse_args()
    if options.read is None:
        show(options)
    else:
        from_file(options.read, options.replicas)


if __name__ == "__main__":
    main()
