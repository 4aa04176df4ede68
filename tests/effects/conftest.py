"""States that every effect of the registry is tried on: tracks, blobs, one point, and an event with nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from shiftlab.detector import Cells, Charge, Detector, Effect, Geometry, Prepared, Stream, WireGeometry, effects
from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES
from shiftlab.events.deposits import Deposits, EventTable

COUNTS = (300, 0, 1, 120, 40)


@pytest.fixture(scope="session")
def small() -> Geometry:
    """A cube of 48 cm, so that noise-only cells stay few."""
    return Geometry(size=(48.0, 48.0, 48.0))


@pytest.fixture(scope="session")
def deposits() -> Deposits:
    """Five events: a track, nothing, one point, a spread-out blob, a short track at the cathode."""
    generator = torch.Generator().manual_seed(7)
    along = [torch.linspace(0, 1, max(count, 1))[:count, None] for count in COUNTS]
    start = torch.tensor([[5.0, 5, 5], [0, 0, 0], [30, 20, 20], [24, 24, 24], [40, 10, 10]])
    stop = torch.tensor([[30.0, 40, 45], [0, 0, 0], [30, 20, 20], [24, 24, 24], [47.9, 12, 14]])
    spread = (0.02, 0.0, 0.0, 4.0, 0.02)
    position = torch.cat(
        [
            a + (b - a) * part + width * torch.randn(len(part), 3, generator=generator)
            for part, a, b, width in zip(along, start, stop, spread, strict=True)
        ]
    ).clamp(0.0, 47.99)
    total = sum(COUNTS)
    offsets = torch.zeros(len(COUNTS) + 1, dtype=torch.int64)
    torch.cumsum(torch.tensor(COUNTS), 0, out=offsets[1:])
    key = torch.tensor([11, 22, 33, 44, 55]) * 7919**3
    length = torch.full((total,), 0.15)
    length[::5] = 0.0
    table = EventTable(
        key=key,
        vertex=key,
        weight=torch.ones(5, dtype=torch.float64),
        sample=("single_muon",) * 5,
        truth={"visible_energy": torch.zeros(5, dtype=torch.float64)},
        selected=torch.ones(5, dtype=torch.bool),
    )
    return Deposits(
        offsets=offsets,
        position=position,
        energy=0.05 + 0.6 * torch.rand(total, generator=generator),
        length=length,
        semantic=torch.ones(total, dtype=torch.int8),
        particle=torch.full((total,), 2, dtype=torch.int8),
        events=table,
    )


@pytest.fixture
def bare(request: pytest.FixtureRequest, small: Geometry) -> Detector:
    """A detector without effects; one of wires where the effect at hand is one of wires."""
    wires = "effect" in request.fixturenames and request.getfixturevalue("effect").readout == "wires"
    return Detector("bare", WireGeometry(size=small.size) if wires else small, ())


def state(effect: Effect[Any], prepared: Prepared, floor: float = float("-inf")) -> Charge | Cells:
    """Return the state that the effect's stage works on."""
    if effect.stage in DEPOSIT_STAGES:
        return prepared.charge
    electrons = prepared.footprint.collect(prepared.charge.electrons * 0.7)
    mev = torch.full((prepared.cells.geometry.shape[0],), 3.3e-5, dtype=torch.float64, device=electrons.device)
    return replace(prepared.cells, electrons=electrons, floor=torch.full_like(prepared.cells.floor, floor), mev=mev)


@pytest.fixture(scope="session", name="state")
def state_of() -> Callable[..., Charge | Cells]:
    """The function that gives an effect's state."""
    return state


@pytest.fixture(params=[kind.name for kind in effects() if kind.stage in (*DEPOSIT_STAGES, *LATTICE_STAGES)])
def effect(request: pytest.FixtureRequest) -> Effect[Any]:
    """Every effect of the argon detectors in turn; those of scintillators have a suite of their own."""
    return effects().get(request.param)()


@pytest.fixture
def stream(effect: Effect[Any]) -> Stream:
    return Stream(seed=3, effect=effect.name, throw=2)


@pytest.fixture
def events(effect: Effect[Any], bare: Detector, deposits: Deposits) -> Charge | Cells:
    """The state before the effect."""
    return state(effect, bare.prepare(deposits))


@pytest.fixture
def nominal(effect: Effect[Any]) -> dict[str, float]:
    """The effect's nominal values."""
    return {parameter.name: parameter.nominal for parameter in effect.parameters}


@pytest.fixture(scope="session", name="lattice")
def lattice_of() -> Callable[..., Cells]:
    """The function that makes equal events with charge in given cells, for physics that a few numbers show."""

    def made(
        geometry: Geometry,
        cell: torch.Tensor,
        electrons: torch.Tensor | float,
        events: int = 1,
        floor: float = -math.inf,
    ) -> Cells:
        key = torch.arange(1, events + 1) * 7919**3
        weight, selected = torch.ones(events, dtype=torch.float64), torch.ones(events, dtype=torch.bool)
        table = EventTable(key, key, weight, ("single_muon",) * events, {}, selected)
        event = torch.repeat_interleave(torch.arange(events), len(cell))
        charge = torch.as_tensor(electrons, dtype=torch.float64).expand(len(cell)).repeat(events)
        least = torch.full((events,), floor, dtype=torch.float64)
        return Cells(geometry, table, event, key[event], cell.repeat(events), charge, least)

    return made
