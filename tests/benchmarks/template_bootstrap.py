"""Times the event bootstrap of templates beside the bare matrix product of weights and bin indicators.

6 observables x 61 universes = 366 templates, 20 bins each, 20,000 events, 200 replicas. The matrix product is
W (replica, event) @ one-hot (event, template * bin) with the one-hot matrix given; the bootstrap draws its weights,
finds all bins and returns all histograms. Run as ``OMP_NUM_THREADS=1 python tests/benchmarks/template_bootstrap.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.templates.replicate import REPLICAS_AT_ONCE, migrations

Floats = npt.NDArray[np.float64]

TASKS, UNIVERSES, EVENTS, BINS = 6, 61, 20_000, 20


def observables(events: int, spread: float) -> Floats:
    """Return float32 (task, universe, event): universes move values by ``spread`` of a bin on average."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.0, BINS, size=(TASKS, 1, events)).astype(np.float32)
    shift = rng.normal(size=(TASKS, UNIVERSES, events)).astype(np.float32) * np.float32(spread * np.sqrt(np.pi / 2))
    shift[:, 0] = 0.0
    return base + shift


def numbers(values: Floats) -> npt.NDArray[np.int32]:
    """Return the bin of each value."""
    return np.searchsorted(np.arange(1.0, BINS), values, side="right").astype(np.int32)


def bootstrap(values: Floats, vertex: npt.NDArray[np.int64], replicas: int) -> Floats:
    """Return (task, universe, bin, replica): weights, bins and histograms, all of it."""
    events = values.shape[2]
    weight, order = np.ones(events), np.arange(events, dtype=np.int32)
    tasks = [
        migrations(lambda u, some, of=of: numbers(of[u, some]), UNIVERSES - 1, weight, order, (BINS, events))
        for of in values
    ]
    found = np.empty((TASKS, UNIVERSES, BINS, replicas))
    for start in range(0, replicas, REPLICAS_AT_ONCE):
        some = range(start, min(start + REPLICAS_AT_ONCE, replicas))
        drawn = np.ascontiguousarray(poisson_weights(vertex, some, 0).T, dtype=np.float32)
        for task, of in enumerate(tasks):
            found[task, ..., some.start : some.stop] = of.replicas(drawn)
    return found


def dense(values: Floats, drawn: Floats, dtype: Any) -> tuple[float, Floats]:
    """Return the seconds of the products alone, one-hot matrices given, and (task, universe, bin, replica)."""
    weights = drawn.astype(dtype)
    parts, spent = [], 0.0
    for task in range(TASKS):
        for first in range(0, UNIVERSES, 16):
            some = values[task, first : first + 16]
            onehot = np.zeros((values.shape[2], len(some) * BINS), dtype=dtype)
            for u, one in enumerate(some):
                onehot[np.arange(values.shape[2]), u * BINS + numbers(one)] = 1.0
            start = time.process_time()
            product = weights @ onehot
            spent += time.process_time() - start
            parts.append(product.T.reshape(len(some), BINS, -1).astype(np.float64))
    return spent, np.concatenate(parts).reshape(TASKS, UNIVERSES, BINS, -1)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return processor seconds and the result."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def main() -> None:
    """Take both in turn and print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    vertex = np.random.default_rng(1).integers(0, 2**62, size=EVENTS)
    print(f"{TASKS * UNIVERSES} templates x {chosen.replicas} replicas x {EVENTS} events x {BINS} bins, seconds")
    print(f"{'migrating':>10}{'bootstrap':>11}{'product f32':>13}{'product f64':>13}{'ratio f32':>11}{'ratio f64':>11}")
    for spread in (0.0, 0.05, 0.3, 100.0):
        values = observables(EVENTS, spread)
        moved = np.mean([(numbers(one[1:]) != numbers(one[:1])).mean() for one in values])
        drawn = poisson_weights(vertex, range(chosen.replicas), 0)
        times = []
        for _ in range(chosen.rounds):
            single, _ = dense(values, drawn, np.float32)
            taken, ours = timed(lambda values=values: bootstrap(values, vertex, chosen.replicas))
            double, theirs = dense(values, drawn, np.float64)
            np.testing.assert_array_equal(ours, theirs)
            times.append((taken, single, double))
        best = np.array(times).min(axis=0)
        ratios = [float(np.median([t[0] / t[i] for t in times])) for i in (1, 2)]
        print(
            f"{moved:>10.1%}{best[0]:>11.2f}{best[1]:>13.2f}{best[2]:>13.2f}{ratios[0]:>11.2f}{ratios[1]:>11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
