"""Synthetic stores whose responses to nuisances are known functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr

from shiftlab.detector import Universe
from shiftlab.responses import Responses

NUISANCES = ("gain", "lifetime", "noise")
EVENTS = 120


@dataclass(frozen=True)
class MeanOf:
    """A task whose statistic is the mean of its first output."""

    output_scale: str = "real"

    def score(self, outputs, truth, weights):
        return outputs[..., 0] @ weights.T / weights.sum(axis=1)

    def observable(self, outputs):
        return outputs[..., 0]


def universe(value: Mapping[str, float], *, name: str = "", group: str = "multisim", throw: int = 0) -> Universe:
    label = name or "_".join(f"{key}{z:+g}" for key, z in value.items()) + (f"_throw{throw}" if throw else "")
    return Universe(label, tuple(value.items()), throw=throw, group=group)


def unisims(strengths: Sequence[float] = (-1.0, 1.0), names: Sequence[str] = NUISANCES) -> list[Universe]:
    return [universe({name: z}, group="unisim") for name in names for z in strengths]


def joints(n: int, seed: int = 0, names: Sequence[str] = NUISANCES) -> list[Universe]:
    z = np.random.default_rng(seed).standard_normal((n, len(names)))
    return [universe(dict(zip(names, row.tolist(), strict=True)), name=f"joint_{i}") for i, row in enumerate(z)]


def store(
    answer, rows: Sequence[Universe], *, names: Sequence[str] = NUISANCES, one_sided=(), arms=("a",)
) -> Responses:
    """Responses of ``answer(z by nuisance, throw) -> (event, output)`` in nominal and the given universes."""
    every = [Universe("nominal"), *rows]
    outputs = np.stack([answer({name: one.value(name) for name in names}, one.throw) for one in every])
    grid = np.broadcast_to(outputs, (len(arms), 1, *outputs.shape)).astype(np.float32)
    over = ("arm", "seed", "universe", "event")
    return Responses({"energy": dataset(grid, every, over, names, one_sided, arms)}, {"plan": "direct"})


def dataset(grid, every, over, names, one_sided, arms) -> xr.Dataset:
    events = grid.shape[3]
    return xr.Dataset(
        {
            "output": ((*over, "output"), grid),
            "observable": (over, grid[..., 0]),
            "selected": (over, grid[..., 0] > np.median(grid[..., 0])),
            "truth": (("event", "truth_column"), np.ones((events, 1))),
            "evaluated": ("event", np.arange(events) % 4 > 0),
        },
        coords={
            "arm": list(arms),
            "seed": [0],
            "universe": [one.name for one in every],
            "event": np.arange(events, dtype=np.int64),
            "nuisance": list(names),
            "one_sided": ("nuisance", np.array([name in one_sided for name in names])),
            "vertex_uid": ("event", np.arange(events, dtype=np.int64) // 2),
            "weight": ("event", np.ones(events)),
            "sample": ("event", ["numu_cc"] * events),
            "group": ("universe", [one.group for one in every]),
            "throw": ("universe", np.array([one.throw for one in every], dtype=np.int64)),
            "recalibrate": ("universe", [one.recalibrate for one in every]),
            "nuisance_value": (("universe", "nuisance"), np.array([[u.value(n) for n in names] for u in every])),
        },
        attrs={"statistic": "mean", "unit": "1", "observable_label": "x"},
    )


def quadratic(outputs: int = 2, seed: int = 1):
    """An answer that is exactly odd z + even z^2, event by event and output by output."""
    rng = np.random.default_rng(seed)
    base, odd, even = rng.normal(size=(3, len(NUISANCES), EVENTS, outputs))

    def answer(z, throw):
        moved = sum(odd[i] * z[name] + 0.3 * even[i] * z[name] ** 2 for i, name in enumerate(NUISANCES))
        return 5.0 + base[0] + 0.2 * moved

    return answer


@dataclass(frozen=True)
class Toys:
    """What the tests of this room make synthetic stores of."""

    nuisances: tuple[str, ...] = NUISANCES
    events: int = EVENTS
    mean_of: type[MeanOf] = MeanOf
    tasks: Mapping[str, Any] = field(default_factory=lambda: {"energy": MeanOf()})
    universe: Callable[..., Universe] = universe
    unisims: Callable[..., list[Universe]] = unisims
    joints: Callable[..., list[Universe]] = joints
    store: Callable[..., Responses] = store
    quadratic: Callable[..., Any] = quadratic


@pytest.fixture(scope="session")
def toys() -> Toys:
    """The makers of synthetic stores."""
    return Toys()
