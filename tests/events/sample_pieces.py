"""Made-up events of every level with every optional column, and their comparison bit for bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from shiftlab.events import Deposits, EventTable, Image, ParticleTable, Tokens


def offsets(counts: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def table(random: np.random.Generator, count: int, first: int = 0) -> EventTable:
    return EventTable(
        key=torch.arange(first, first + count) * 7919 - 5,
        vertex=torch.arange(first, first + count) // 2,
        weight=torch.from_numpy(random.random(count)),
        sample=tuple(f"sample {i % 3}" for i in range(first, first + count)),
        truth={
            "visible_energy": torch.from_numpy(random.random(count) * 1000),
            "neutrino_energy": torch.from_numpy(np.where(random.random(count) < 0.3, np.nan, 1234.5)),
        },
        selected=torch.from_numpy(random.random(count) < 0.8),
        dataset="made-up/r1",
    )


def deposits(count: int, *, first: int = 0, mean: float = 4.0, seed: int = 1, side: float = 230.0) -> Deposits:
    """Events with deposits anywhere in a cube, some without any, with electrons, instances and particles."""
    random = np.random.default_rng((seed, first))
    number, particles = random.poisson(mean, count), random.integers(0, 3, count)
    total, tracks = int(number.sum()), int(particles.sum())
    return Deposits(
        offsets=offsets(number),
        position=torch.from_numpy((random.random((total, 3)) * side).astype(np.float32)),
        energy=torch.from_numpy(random.exponential(0.5, total).astype(np.float32)),
        length=torch.from_numpy((random.random(total) * (random.random(total) < 0.8)).astype(np.float32)),
        semantic=torch.from_numpy(random.integers(-1, 5, total).astype(np.int8)),
        particle=torch.from_numpy(random.integers(-1, 6, total).astype(np.int8)),
        events=table(random, count, first),
        electrons=torch.from_numpy(random.exponential(2e4, total).astype(np.float32)),
        instance=torch.from_numpy(random.integers(-1, 9, total).astype(np.int32)),
        particles=ParticleTable(
            offsets(particles),
            {
                "number": torch.arange(tracks, dtype=torch.float64),
                "pdg": torch.full((tracks,), 2212.0, dtype=torch.float64),
                "kinetic": torch.from_numpy(np.where(random.random(tracks) < 0.5, np.nan, 0.1)),
            },
        ),
        missing=("semantic",),
    )


def images(count: int, *, first: int = 0) -> Image:
    random = np.random.default_rng((2, first))
    number = random.poisson(5.0, count)
    total, shape = int(number.sum()), (70, 60, 50)
    return Image(
        offsets=offsets(number),
        cell=torch.from_numpy(random.integers(0, 70 * 60 * 50, total)),
        charge=torch.from_numpy(random.exponential(1e4, total).astype(np.float32)),
        energy=torch.from_numpy(random.exponential(0.5, total).astype(np.float32)),
        shape=shape,
        events=table(random, count, first),
    )


def tokens(count: int, *, first: int = 0, most: int = 5, features: int = 3, numbers: int = 2) -> Tokens:
    random = np.random.default_rng((3, first))
    many = random.integers(0, most + 1, count)
    total = int(many.sum())
    return Tokens(
        offsets=offsets(many),
        features=torch.from_numpy(random.normal(size=(total, features)).astype(np.float32)),
        columns=tuple(f"column {i}" for i in range(features)),
        units=(("log(MeV)", "cm", "1") * 9)[:features],
        valid=torch.from_numpy(random.random((total, features)) < 0.9),
        particle=torch.from_numpy(random.integers(0, 2, total)),
        kinds=("muon", "blob"),
        globals=torch.from_numpy(random.normal(size=(count, numbers)).astype(np.float32)),
        global_columns=tuple(f"global {i}" for i in range(numbers)),
        global_units=(("GeV", "1") * 9)[:numbers],
        global_valid=torch.from_numpy(random.random((count, numbers)) < 0.9),
        events=table(random, count, first),
        truth={"energy": torch.from_numpy(random.random(total))},
    )


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return the names of the fields whose values or types differ; NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape
        return [] if same and one.numpy().tobytes() == other.numpy().tobytes() else [where]
    if isinstance(one, dict):
        if not isinstance(other, dict) or one.keys() != other.keys():
            return [where]
        return [name for key in one for name in differences(one[key], other[key], f"{where}[{key}]")]
    if hasattr(one, "__dataclass_fields__"):
        names = [field.name for field in fields(one)]
        return [n for f in names for n in differences(getattr(one, f), getattr(other, f, None), f"{where}.{f}")]
    return [] if one == other else [where]
