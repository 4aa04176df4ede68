"""Speed and memory of the bias step for linear statistics, beside the bare matrix product of the same size.

$ OMP_NUM_THREADS=1 python tests/benchmarks/bias_speed.py --events 20000 --file-tasks 2

One arm and seed, tasks of one output each, 1 + universes, weights of 1 + replicas. All times are processor time, so
that other programs do not count; bare product and whole step are taken in turn. The step draws the weights, turns
float32 into terms, checks and multiplies. Reading is timed apart, from a compressed file as ``Responses.save`` writes
it. Time and memory are measured for two numbers of events and extrapolated by the straight line through them.

$ OMP_NUM_THREADS=1 python tests/benchmarks/bias_speed.py --whole FOLDER --events 1000000

Nothing is extrapolated: a file of that many events is written to the folder (20 GB; in the chunks of
``Responses.save`` but not compressed, tasks of different numbers, without what the bias step does not read), ``bias``
reads it as a run does, and the bare product of the same size is timed before and after. Reading is timed where it
happens and taken off. The file is removed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import h5netcdf
import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm import tqdm
from xarray.backends import H5NetCDFStore

from shiftlab.bias import Mean, bias, reading
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
        used = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        start = time.process_time()
        read(responses.datasets)
        print(used, time.process_time() - start, memory)


def measured_file(events: int, tasks: int, universes: int, replicas: int) -> tuple[float, float, float]:
    """Return seconds of the step, seconds of reading alone and bytes, of a file of its own in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "responses.h5"
        Responses(store(events, tasks, universes)).save(path)
        words = [sys.executable, __file__, "--replicas", str(replicas), "--read", str(path)]
        found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(found[0]), float(found[1]), float(found[2])


def write_file(path: Path, events: int, tasks: int, universes: int) -> None:
    """Write responses that do not fit into memory, a piece of the events after another."""
    small = store(2, 1, universes)["t0"].drop_vars(["output", "observable", "selected"])
    with h5netcdf.File(path, "w") as file:
        file.attrs["shiftlab"], file.attrs["tasks"] = "{}", json.dumps([f"t{t}" for t in range(tasks)])
        for t in range(tasks):
            own = small.isel(event=np.arange(events) % 2).assign_coords(
                event=np.arange(events), vertex_uid=("event", np.arange(events))
            )
            own.dump_to_store(H5NetCDFStore(file, group=f"t{t}"))
            group = file[f"t{t}"]
            group.dimensions["output"] = 1
            dims = ("arm", "seed", "universe", "event", "output")
            output = group.create_variable("output", dims, np.float32, chunks=True)
            rng = np.random.default_rng(t)
            step = 8 * output.chunks[3]
            for start in tqdm(range(0, events, step), desc=f"task {t}", mininterval=10):
                noise = rng.standard_normal((small.sizes["universe"], min(step, events - start)), dtype=np.float32)
                noise[1:] *= np.float32(0.1)
                noise[1:] += noise[0]
                output[0, 0, :, start : start + noise.shape[1], 0] = noise


def bare(events: int, tasks: int, universes: int, replicas: int) -> float:
    """Return the processor time of the bare products of all tasks, in pieces of events that are read at once."""
    piece = 2**14
    rng = np.random.default_rng(0)
    output, weights = rng.standard_normal((universes + 1, piece)), rng.standard_normal((replicas + 1, piece))
    total = np.zeros((universes + 1, replicas + 1))
    start = time.process_time()
    for _ in range(tasks):
        for first in range(0, events, piece):
            few = slice(0, min(piece, events - first))
            total += output[:, few] @ weights[:, few].T
    return time.process_time() - start


def timed_reading() -> list[float]:
    """Time the reading of arrays from now on; the list holds processor seconds, one for each piece."""
    plain, seconds = reading._array, []

    def array(heads: xr.DataArray) -> npt.NDArray[np.floating]:
        start = time.process_time()
        values = plain(heads)
        seconds.append(time.process_time() - start)
        return values

    reading._array = array
    return seconds


def whole(folder: Path, events: int, tasks: int, universes: int, replicas: int) -> None:
    """Print time and memory of ``bias`` on a file of its own beside the bare product."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "responses.h5"
        words = ["--write", str(path), "--events", str(events), "--tasks", str(tasks), "--universes", str(universes)]
        subprocess.run([sys.executable, __file__, *words], check=True)
        print(f"{events:,} events, {tasks} tasks, {universes} universes, {replicas} replicas; ", end="")
        print(f"file of {path.stat().st_size / 1e9:.1f} GB; processor seconds, one thread", flush=True)
        before = bare(events, tasks, universes, replicas)
        print(f"bare product {before:.1f}", flush=True)
        seconds = timed_reading()
        with open_responses(path) as responses:
            start, wall = time.process_time(), time.perf_counter()
            bias(responses, tasks={name: Mean() for name in responses.datasets}, replicas=replicas)
            used, wall = time.process_time() - start, time.perf_counter() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        after = bare(events, tasks, universes, replicas)
    print(f"bias {used:.1f} ({wall:.0f} by the clock), of which reading {sum(seconds):.1f}")
    print(f"bare product again {after:.1f}")
    print(f"computing / product {(used - sum(seconds)) / ((before + after) / 2):.2f}; at most {memory / 1e9:.2f} GB")


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
    product, used = (line(times[events][key], times[2 * events][key], events) for key in ("product", "step"))
    print(f"{TARGET:9,d} events: product {product:.0f}, step {used:.0f}, ratio {used / product:.2f} (extrapolated)")
    if not options.file_tasks:
        return
    tasks = options.file_tasks
    files = {n: measured_file(n, tasks, *sizes[1:]) for n in (events, 2 * events)}
    print(f"from a file of {tasks} tasks:")
    for n, (used, read_in, memory) in files.items():
        print(f"{n:9,d} events: step {used:.2f}, of which reading {read_in:.2f}; at most {memory / 1e9:.2f} GB")
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
    parser.add_argument("--write", type=Path, help="a file to write; used by --whole")
    parser.add_argument("--whole", type=Path, help="a folder for a file of all events, which bias reads")
    options = parser.parse_args()
    sizes = (options.events, options.tasks, options.universes)
    if options.whole is not None:
        whole(options.whole, *sizes, options.replicas)
    elif options.write is not None:
        write_file(options.write, *sizes)
    elif options.read is None:
        show(options)
    else:
        from_file(options.read, options.replicas)


if __name__ == "__main__":
    main()
