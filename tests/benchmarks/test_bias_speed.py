"""Speed of the bias step: the time of a linear statistic against the bare matrix product of the same size."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias import Mean
from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.bias.design import read_design
from shiftlab.bias.measure import measure

EVENTS, TASKS, SEEDS, NUISANCES, REPLICAS = 20_000, 2, 2, 125, 200


def _store() -> SimpleNamespace:
    """One arm, two seeds, 1 + 2 x 125 universes, one output per task."""
    names = [f"n{k}" for k in range(NUISANCES)]
    value = np.concatenate([np.zeros((1, NUISANCES)), np.eye(NUISANCES), -np.eye(NUISANCES)])
    universes = len(value)
    output = np.random.default_rng(0).standard_normal((1, SEEDS, universes, EVENTS, 1)).astype(np.float32)
    data = xr.Dataset(
        {
            "output": (("arm", "seed", "universe", "event", "output"), output),
            "truth": (("event", "truth_column"), np.zeros((EVENTS, 1))),
            "evaluated": (("event",), np.ones(EVENTS, dtype=np.bool_)),
        },
        coords={
            "arm": ["foundation"],
            "seed": np.arange(SEEDS),
            "universe": ["nominal", *(f"{n}+1" for n in names), *(f"{n}-1" for n in names)],
            "event": np.arange(EVENTS),
            "nuisance": names,
            "vertex_uid": (("event",), np.arange(EVENTS)),
            "weight": (("event",), np.ones(EVENTS)),
            "sample": (("event",), ["numu_cc"] * EVENTS),
            "group": (("universe",), ["nominal"] + ["unisim"] * (universes - 1)),
            "throw": (("universe",), np.zeros(universes, dtype=np.int64)),
            "recalibrate": (("universe",), ["none"] * universes),
            "nuisance_value": (("universe", "nuisance"), value),
        },
    )
    return SimpleNamespace(datasets={f"t{t}": data for t in range(TASKS)})


def _best(step: Callable[[], Any], times: int = 3) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.mark.slow
def test_linear_statistics_cost_little_more_than_their_matrix_product() -> None:
    """Drawing the weights, reading and checking included: at most 3 times, twice on an idle machine."""
    datasets = _store().datasets
    design = read_design(datasets)
    weights = poisson_weights(np.arange(EVENTS), range(REPLICAS + 1), 0)
    outputs = datasets["t0"]["output"].values[0, 0, :, :, 0].astype(np.float64)
    bare = TASKS * SEEDS * _best(lambda: outputs @ weights.T)
    tasks = {name: Mean() for name in datasets}
    whole = _best(lambda: measure(datasets, tasks, design, replicas=REPLICAS, seed=0, exposure={}))
    print(f"matrix product {bare:.3f} s, all of it {whole:.3f} s, ratio {whole / bare:.2f}")
    assert whole < 3.0 * bare
