"""Straight tracks in polystyrene with the particles that made them, and a few Geant4 events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from shiftlab.events import read
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.particles import ParticleTable

STEP = 0.25
SPECIES = {22: 0, 11: 1, 13: 2, 211: 3, 2212: 4}
MASS = {22: 0.0, 11: 0.511, 13: 105.658, 211: 139.57, 2212: 938.272}


@dataclass(frozen=True)
class Ray:
    """A straight line of energy: particle, momentum (MeV/c), place (cm), direction, length (cm), dE/dx (MeV/cm)."""

    pdg: int
    momentum: float
    start: tuple[float, float, float] = (115.3, 114.6, 100.0)
    way: tuple[float, float, float] = (0.0, 0.0, 1.0)
    length: float = 30.0
    dedx: float = 2.052
    semantic: int = 1


def draw(events: Sequence[Sequence[Ray]], first_key: int = 7) -> Deposits:
    """Deposits in steps of 0.25 cm along each ray; the vertex is where the event's first ray starts."""
    columns: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("position", "energy", "semantic", "particle", "number")
    }
    counts, table = [], []
    for rays in events:
        total = 0
        for number, ray in enumerate(rays):
            way = torch.nn.functional.normalize(torch.tensor(ray.way, dtype=torch.float64), dim=0)
            steps = round(ray.length / STEP)
            along = (torch.arange(steps, dtype=torch.float64) + 0.5) * STEP
            columns["position"].append(torch.tensor(ray.start, dtype=torch.float64) + along[:, None] * way)
            columns["energy"].append(torch.full((steps,), ray.dedx * STEP))
            columns["semantic"].append(torch.full((steps,), ray.semantic))
            columns["particle"].append(torch.full((steps,), SPECIES[abs(ray.pdg)]))
            columns["number"].append(torch.full((steps,), number))
            mass = MASS[abs(ray.pdg)]
            kinetic = (ray.momentum**2 + mass**2) ** 0.5 - mass
            table.append((number, 1.0, ray.pdg, kinetic, *(ray.momentum * way).tolist()))
            total += steps
        counts.append(total)
    count = len(events)
    ends = torch.tensor([0, *counts]).cumsum(0)
    primaries = torch.tensor([0, *(len(rays) for rays in events)]).cumsum(0)
    names = ("number", "primary", "pdg", "kinetic", "momentum_x", "momentum_y", "momentum_z")
    values = torch.tensor(table, dtype=torch.float64).reshape(-1, len(names))
    vertex = torch.tensor([rays[0].start if rays else (115.0, 115.0, 100.0) for rays in events], dtype=torch.float64)

    def joined(name: str, width: tuple[int, ...] = ()) -> torch.Tensor:
        return torch.cat(columns[name]) if columns[name] else torch.zeros((0, *width))

    energy = joined("energy").float()
    key = (torch.arange(count) + first_key) * 1_000_003
    return Deposits(
        offsets=ends,
        position=joined("position", (3,)).float(),
        energy=energy,
        length=torch.full_like(energy, STEP),
        semantic=joined("semantic").to(torch.int8),
        particle=joined("particle").to(torch.int8),
        events=EventTable(
            key=key,
            vertex=key,
            weight=torch.ones(count, dtype=torch.float64),
            sample=("drawn",) * count,
            truth={
                "visible_energy": torch.zeros(count, dtype=torch.float64),
                **{f"vertex_{axis}": vertex[:, i] for i, axis in enumerate("xyz")},
            },
            selected=torch.ones(count, dtype=torch.bool),
        ),
        instance=joined("number").to(torch.int32),
        particles=ParticleTable(primaries, {name: values[:, i] for i, name in enumerate(names)}),
    )


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Deposits]:
    """The function that draws rays."""
    return draw


@pytest.fixture(scope="session")
def ray() -> type[Ray]:
    """The record of a ray."""
    return Ray


@pytest.fixture(scope="session")
def neutrinos() -> Deposits:
    """Sixteen composed neutrino events in polystyrene, carried by Geant4."""
    return read(Path(__file__).parents[2] / "data" / "ch_neutrino.h5")
